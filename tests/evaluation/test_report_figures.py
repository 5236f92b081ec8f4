"""What the figures show."""

import sys

import numpy as np
import pytest
from judged import make, many, no_anomalies
from numpy.testing import assert_allclose
from scipy.integrate import trapezoid

from skgrad.evaluation import (
    plot_heat_map,
    plot_roc_curves,
    plot_score_distributions,
)


def texts(axes):
    return {
        (round(text.get_position()[1]), round(text.get_position()[0])): text.get_text()
        for text in axes.texts
    }


def test_heat_map_has_every_number():
    results = [
        make("d", "a", 0.9, seed=0),
        make("d", "a", 0.7, seed=1),
        make("d", "b", 1.0),
        make("e", "b", 0.3),
        no_anomalies("e", "a"),
    ]
    axes = plot_heat_map(results).axes[0]
    # Rows d, e; columns a, b, a gap, mean.
    assert texts(axes) == {
        (0, 0): "80.0",
        (0, 1): "100",
        (0, 3): "90.0",
        (1, 1): "30.0",
        (1, 3): "30.0",
    }
    assert [label.get_text() for label in axes.get_yticklabels()] == ["d", "e"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["a", "b", "mean"]
    image = axes.images[0]
    assert image.get_clim() == (50, 100)
    # Worse than chance has a colour of its own.
    assert_allclose(image.cmap(image.norm(30.0)), image.cmap.get_under())


def test_heat_map_does_not_round_up_to_perfection():
    results = [make(area=1 - 1e-4, n=10_000)]
    assert texts(plot_heat_map(results).axes[0]) == {(0, 0): "99.9", (0, 2): "99.9"}


def test_heat_map_of_another_metric():
    figure = plot_heat_map([make(area=0.7)], metric="tnr_at_95tpr")
    assert texts(figure.axes[0])[0, 0] == "70.0"
    assert figure.axes[0].images[0].get_clim() == (0, 100)
    assert figure.axes[1].get_ylabel() == "TNR@95TPR, percent"
    with pytest.raises(ValueError, match=r"metric must be one of \['auroc'.*'x'"):
        plot_heat_map([make()], metric="x")


def test_numbers_can_be_read_on_their_colors():
    axes = plot_heat_map(
        [make(str(i), "a", area, n=100) for i, area in enumerate(np.linspace(0, 1, 21))]
    ).axes[0]
    image = axes.images[0]
    for text in axes.texts:
        column, row = map(round, text.get_position())
        rgb = image.cmap(image.norm(image.get_array()[row, column]))[:3]
        brightness = np.dot((0.299, 0.587, 0.114), rgb)
        assert abs(brightness - (text.get_color() == "white")) > 0.45


def test_roc_curves_enclose_the_area():
    results = many()
    figure = plot_roc_curves(results)
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(panels) == list(dict.fromkeys(r.anomaly for r in results))
    colors = {
        text.get_text(): line.get_color()
        for text, line in zip(
            figure.legends[0].get_texts(), figure.legends[0].get_lines(), strict=True
        )
    }
    # The legend is in the order of the mean area.
    assert list(colors) == ["good", "<b>&|*", "poor"]
    first = {}
    for result in results:
        first.setdefault((result.detector, result.anomaly), result)
    curves = {
        (detector, kind): line
        for kind, panel in panels.items()
        for line in panel.lines
        for detector, color in colors.items()
        if line.get_color() == color
    }
    assert set(curves) == {key for key, r in first.items() if len(r.scores_anomaly)}
    for key, line in curves.items():
        area = trapezoid(line.get_ydata(), line.get_xdata())
        assert area == pytest.approx(first[key].metrics["auroc"])


def test_roc_curves_of_many_detectors_and_inputs():
    rng = np.random.default_rng(0)
    results = [make(f"d{i}", "a", 1 - i / 20) for i in range(13)]
    known, strange = rng.normal(size=(2, 5000))
    results.append(type(results[0])("d13", "a", known, strange, 0.0))
    figure = plot_roc_curves(results)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [*(f"d{i}" for i in range(10)), "4 others"]
    assert max(len(line.get_xdata()) for line in figure.axes[0].lines) <= 200
    assert sum(line.get_color() == "0.75" for line in figure.axes[0].lines) == 4


def test_distributions_of_gaps_and_of_no_threshold(tmp_path):
    results = [
        make("d", "a"),
        make("d", "b", offset=None),
        no_anomalies("e", "a"),
        make("a very long name of a detector with all its settings", "b", 0.6),
    ]
    path = tmp_path / "scores.png"
    figure = plot_score_distributions(results, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["scores.png"]
    panels = np.array(figure.axes).reshape(2, 3)
    assert [[len(p.patches) for p in row] for row in panels] == [[2, 1, 0], [2, 0, 2]]
    assert [[len(p.lines) for p in row] for row in panels] == [[1, 1, 0], [0, 0, 1]]
    assert [t.get_text() for t in panels[0, 1].texts] == ["no anomalies"]
    assert [t.get_text() for t in panels[0, 2].texts] == ["not run"]
    assert "\n" in panels[0, 2].get_title()
    assert len(figure.legends[0].get_texts()) == 3


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ""])
def test_distributions_in_other_formats(tmp_path, suffix):
    path = tmp_path / f"scores{suffix}"
    plot_score_distributions([make()], path)
    start = {".svg": b"<?xml", ".pdf": b"%PDF", "": b"\x89PNG"}[suffix]
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize(
    "plot", [plot_heat_map, plot_roc_curves, plot_score_distributions]
)
def test_what_figures_need(plot, monkeypatch):
    with pytest.raises(ValueError, match="at least one Result"):
        plot([])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "skgrad\[plot\]"'):
        plot([make()])
