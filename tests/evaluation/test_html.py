"""The report page and its figures: complete, escaped, without other files."""

import re
import sys
from html import unescape

import numpy as np
import pytest
from example_results import make, many, no_anomalies, two_groups
from scipy.integrate import trapezoid

from skgrad.evaluation import Evaluation, _html
from skgrad.evaluation._figures import (
    draw_distributions,
    draw_heat_map,
    draw_roc_curves,
)


def read_tables(text):
    """Return the cells of each table; what stands below follows in a bracket."""
    return [
        [
            [
                unescape(re.sub("<[^>]*>", "", cell.replace("<br>", " [")))
                for cell in re.findall("<t[dh][ >].*?</t[dh]>", row)
            ]
            for row in re.findall("<tr>.*?</tr>", table, re.DOTALL)
        ]
        for table in re.findall("<table>.*?</table>", text, re.DOTALL)
    ]


def write(results, folder, title="Evaluation", notes=None):
    path = folder / "report.html"
    _html.write_html(Evaluation(results), path, title=title, notes=notes or {})
    text = path.read_text(encoding="utf-8")
    return text, read_tables(text)


def test_page_is_complete_and_escaped_and_stands_alone(tmp_path):
    title, notes = "Digits <1> & more", {"torch": "<2>", "seeds": [0, 1]}
    text, tables = write(many(), tmp_path, title=title, notes=notes)
    assert "<title>Digits &lt;1&gt; &amp; more</title>" in text
    assert "<dd>&lt;2&gt;</dd>" in text
    assert "<script>alert" not in text
    assert not re.search(r"<(b|link|iframe|object|embed)[ >]|//[a-z]", text)
    sources = re.findall('<img [^>]*src="([^",]*),', text)
    assert sources == ["data:image/svg+xml;base64"] * 3
    # The best detector is first; no result has a time or a size.
    head, *rows = tables[0]
    assert (head[0], head[-1]) == ("detector", "kinds")
    ranked = [("good", "3"), ("<b>&|*", "3"), ("poor", "2")]
    assert [(row[0], row[-1]) for row in rows] == ranked
    area, tnr = (
        100 * Evaluation(many()).summary(name).loc["mean", "good"]
        for name in ("auroc", "tnr_at_95tpr")
    )
    assert rows[0][1].startswith(f"{area:.1f} ±")
    assert rows[0][head.index("mean TNR@95TPR")].startswith(f"{tnr:.1f} ±")
    _, *rows = tables[1]
    cells = {(row[0], row[1]): row for row in rows}
    assert len(cells) == len(rows) == 3 * 4
    both = [r for r in many() if (r.detector, r.anomaly) == ("good", "noise")]
    areas = [100 * r.metrics["auroc"] for r in both]
    ends = 100 * np.mean([r.intervals["auroc"] for r in both], axis=0)
    assert cells["good", "noise"][4] == (
        f"{np.mean(areas):.1f} ± {np.std(areas, ddof=1):.1f} "
        f"[{ends[0]:.1f} to {ends[1]:.1f}"
    )
    assert cells["poor", "noise"][2:] == ["-"] * 9
    assert cells["good", "never succeeded"][2:5] == ["20", "0", "-"]


def test_groups_and_regret_have_columns(tmp_path):
    text, tables = write(two_groups(), tmp_path)
    first = dict(zip(*tables[0][:2], strict=True))
    assert first["detector"] == "a"
    assert first["mean over groups"] == "77.5 ± 7.1"
    assert first["attacks"] == "75.0 ± 0.0"
    assert first["mean regret"] == "10.0 ± 4.7"
    assert first["largest regret"] == "30.0 ± 14.1 (FGSM)"
    assert "Mean over groups: of the means" in text
    text, tables = write([make()], tmp_path)
    assert {"mean over groups", "mean regret"}.isdisjoint(tables[0][0])
    assert "egret" not in text


def test_costs_and_a_missing_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    costs = {"fit_seconds": 0.0123, "peak_memory": 12345 * 2**20}
    text, tables = write([make("d", **costs), make("e")], tmp_path)
    head, *rows = tables[0]
    assert head[-2:] == ["fit, s", "memory, MB"]
    assert [row[-2:] for row in rows] == [["0.0123", "12345"], ["-", "-"]]
    assert "<img" not in text
    assert text.count("Not drawn. Figures need matplotlib") == 3


def test_many_detectors_are_capped_and_the_page_says_so(tmp_path, monkeypatch):
    drawn = {}
    # Drawing 63 panels takes seconds; here it matters which.
    monkeypatch.setattr(
        _html, "_image", lambda draw, found: drawn.update({draw.__name__: found})
    )
    results = [
        make(f"d{i}", f"k{j}", 1 - i / 20 - j / 100, n=100)
        for i in range(7)
        for j in range(9)
    ]
    text, tables = write(results, tmp_path)
    assert "Of 7 detectors and 9 kinds of anomaly, the 6" in " ".join(text.split())
    assert len(tables[1]) == 1 + 63
    shown = drawn["draw_distributions"]
    assert shown.detectors == [f"d{i}" for i in range(6)]
    assert shown.anomalies == [f"k{j}" for j in range(1, 9)]


def test_heat_map_has_the_means_over_seeds():
    results = [
        make("d", "a", 0.9, seed=0),
        make("d", "a", 0.7, seed=1),
        make("d", "b", 1.0),
        make("e", "b", 0.3),
        no_anomalies("e", "a"),
    ]
    axes = draw_heat_map(Evaluation(results)).axes[0]
    numbers = [text.get_text() for text in axes.texts]
    first, second = numbers[:5], numbers[5:]
    assert first == ["80.0", "100", "90.0", "0.0", "0.0"]
    assert second == ["30.0", "30.0", "70.0", "70.0"]


def test_roc_curves_enclose_the_area():
    evaluation = Evaluation(many())
    figure = draw_roc_curves(evaluation)
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    lines = zip(names, legend.get_lines(), strict=True)
    colors = {line.get_color(): name for name, line in lines}
    areas = {
        (colors[line.get_color()], panel.get_title()): trapezoid(
            line.get_ydata(), line.get_xdata()
        )
        for panel in figure.axes
        for line in panel.lines
        if line.get_color() in colors
    }
    assert areas == {
        key: pytest.approx(result.metrics["auroc"])
        for key, result in evaluation._first().items()
        if len(result.scores_anomaly)
    }


def test_distributions_of_gaps_and_of_no_threshold():
    results = [make("d", "a"), make("d", "b", offset=None)]
    results += [no_anomalies("e", "a"), make("f", "b", 0.6)]
    panels = np.array(draw_distributions(Evaluation(results)).axes).reshape(2, 3)
    assert [[len(p.lines) for p in row] for row in panels] == [[1, 1, 0], [0, 0, 1]]
    texts = [[t.get_text() for t in p.texts] for p in panels.flat]
    assert texts == [
        *(["100.0"], ["no anomalies"], ["not run"]),
        *(["100.0"], ["not run"], ["60.0"]),
    ]
