"""The examples run."""

import ast
import runpy
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
GALLERY = sorted(EXAMPLES.glob("plot_*.py"))


@pytest.mark.slow
def test_first_page_of_the_gallery_runs_and_draws(monkeypatch):
    # The build of the documentation runs them all, in a process for each.
    mpl.use("Agg")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    try:
        runpy.run_path(str(EXAMPLES / "plot_quick_start.py"))
    finally:
        plt.close("all")
    assert shown
    assert shown[0]


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_gallery_page_is_a_story(path):
    text = path.read_text()
    title, line = ast.get_docstring(ast.parse(text)).splitlines()[:2]
    assert set(line) == {"="}
    assert len(line) == len(title)
    # Text between the code, pictures at the end at least, nothing from the network.
    assert text.count("\n# %%\n") >= 3
    assert "plt.show()" in text
    assert "download=True" not in text
