"""The examples run."""

import runpy
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("plot_*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_draws(path, monkeypatch):
    mpl.use("Agg")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    try:
        runpy.run_path(str(path))
    finally:
        plt.close("all")
    assert shown
    assert shown[0]


def test_there_are_examples():
    assert EXAMPLES
