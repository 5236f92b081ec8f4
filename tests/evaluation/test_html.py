"""The report page and its figures: complete, escaped, without other files."""

import base64
import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from example_results import make, many, no_anomalies
from scipy.integrate import trapezoid

from skgrad.evaluation import Evaluation, _html
from skgrad.evaluation._figures import (
    draw_distributions,
    draw_heat_map,
    draw_roc_curves,
)

EMPTY = {"meta", "br", "img", "input"}


class Page(HTMLParser):
    """Collect tables, images and anchors; reject tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tables, self.images, self.keys = [], [], [], []
        self.ids, self.links, self.tags = set(), set(), set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.add(tag)
        if tag not in EMPTY:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.keys.append(attrs.get("data-value"))
        if tag == "br":
            self.handle_data(" [")
        if tag == "img":
            self.images.append(attrs)
        self.ids |= {attrs["id"]} if "id" in attrs else set()
        self.links |= {attrs["href"]} if "href" in attrs else set()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data


def write(results, folder, title="Evaluation", notes=None):
    path = folder / "report.html"
    _html.write_html(Evaluation(results), path, title=title, notes=notes or {})
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write(
        many(),
        tmp_path_factory.mktemp("report"),
        title="Digits <1> & more",
        notes={"torch": "<2>", "seeds": [0, 1]},
    )


def test_names_are_escaped(report):
    text, page = report
    assert "<title>Digits &lt;1&gt; &amp; more</title>" in text
    assert "<dd>&lt;2&gt;</dd>" in text
    assert "<dd>[0, 1]</dd>" in text
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert "b" not in page.tags
    assert text.count("<script>") == 1


def test_page_stands_alone_and_figures_are_pictures(report):
    text, page = report
    assert not re.search(r"(https?:)?//[a-z]", text)
    assert "@import" not in text
    assert not page.tags & {"link", "iframe", "object", "embed"}
    assert page.links == {f"#{name}" for name in page.ids}
    assert len(page.images) == 3
    for image in page.images:
        assert image["alt"]
        kind, content = image["src"].split(",")
        assert kind == "data:image/svg+xml;base64"
        assert ElementTree.fromstring(base64.b64decode(content)).tag.endswith("svg")


def test_summary_is_ranked(report):
    _, page = report
    head, *rows = page.tables[0]
    assert head[:4] == ["detector", "mean AUROC", "least AUROC", "at"]
    # No result has a time or a size.
    assert head[-1] == "kinds"
    assert [(row[0], row[-1]) for row in rows] == [
        *(("good", "3"), ("<b>&|*", "3"), ("poor", "2"))
    ]
    # Headings sort by these: names by themselves, gaps last, numbers by their value.
    assert {"good", "noise", "", "3.000000"} <= set(page.keys)


def test_all_numbers_are_there(report):
    _, page = report
    head, *rows = page.tables[1]
    assert len(rows) == 3 * 4
    assert {len(row) for row in rows} == {len(head)} == {11}
    cells = {(row[0], row[1]): row for row in rows}
    both = [r for r in many() if (r.detector, r.anomaly) == ("good", "noise")]
    areas = [100 * r.metrics["auroc"] for r in both]
    shown = cells["good", "noise"][4]
    assert shown.startswith(f"{np.mean(areas):.1f} ± {np.std(areas, ddof=1):.1f} [")
    ends = np.mean([r.intervals["auroc"] for r in both], axis=0)
    assert shown.endswith("[{:.1f} to {:.1f}".format(*(100 * ends)))
    assert cells["poor", "noise"][2:] == ["-", "-", *["-"] * 7]
    assert cells["good", "never succeeded"][2:5] == ["20", "0", "-"]


def test_costs_are_shown_where_there_are_some(tmp_path, monkeypatch):
    monkeypatch.setattr(_html, "_image", lambda draw, found: {})
    costs = {"fit_seconds": 0.0123, "peak_memory": 12345 * 2**20}
    _, page = write([make("d", **costs), make("e")], tmp_path)
    head, *rows = page.tables[0]
    assert head[-2:] == ["fit, s", "memory, MB"]
    assert [row[-2:] for row in rows] == [["0.0123", "12345"], ["-", "-"]]


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
    text, page = write(results, tmp_path)
    assert "Of 7 detectors and 9 kinds of anomaly, the 6" in " ".join(text.split())
    assert len(page.tables[1]) == 1 + 63
    shown = drawn["draw_distributions"]
    assert shown.detectors == [f"d{i}" for i in range(6)]
    assert shown.anomalies == [f"k{j}" for j in range(1, 9)]
    assert len(drawn["draw_heat_map"].results) == 63


def test_page_without_matplotlib_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    text, page = write([make()], tmp_path)
    assert page.images == []
    assert text.count("Not drawn. Figures need matplotlib") == 3


# Figures


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
    assert numbers == ["80.0", "100", "90.0", "30.0", "30.0"]


def test_roc_curves_enclose_the_area():
    evaluation = Evaluation(many())
    figure = draw_roc_curves(evaluation)
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    # The legend is in the order of the mean area.
    assert names == ["good", "<b>&|*", "poor"]
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
    results = [
        make("d", "a"),
        make("d", "b", offset=None),
        no_anomalies("e", "a"),
        make("a very long name of a detector with all its settings", "b", 0.6),
    ]
    figure = draw_distributions(Evaluation(results))
    panels = np.array(figure.axes).reshape(2, 3)
    assert [[len(p.patches) for p in row] for row in panels] == [[2, 1, 0], [2, 0, 2]]
    assert [[len(p.lines) for p in row] for row in panels] == [[1, 1, 0], [0, 0, 1]]
    texts = [[t.get_text() for t in p.texts] for p in panels.flat]
    assert texts == [
        *(["100.0"], ["no anomalies"], ["not run"]),
        *(["100.0"], ["not run"], ["60.0"]),
    ]
    assert "\n" in panels[0, 2].get_title()
    assert len(figure.legends[0].get_texts()) == 3
