"""Settings for the tests of pictures."""

import matplotlib
import matplotlib.pyplot as plt
import pytest


@pytest.fixture(autouse=True)
def figures():
    """Open no windows, and close all figures."""
    matplotlib.use("Agg")
    yield
    plt.close("all")
