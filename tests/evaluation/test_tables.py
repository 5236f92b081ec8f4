"""Tables as text and Markdown, and files that are never half written."""

import os

import numpy as np
import pytest
from example_results import make, many, no_anomalies

from skgrad._files import replacing
from skgrad.evaluation import Evaluation, render_table
from skgrad.evaluation._tables import percent, write_markdown


def test_rendered_table_averages_seeds_and_shows_gaps():
    results = [
        make("d", "noise", 1.0, seed=0),
        make("d", "noise", 0.5, seed=1),
        make("a longer name", "noise", 0.5, n=4),
        no_anomalies("d", "attack"),
    ]
    lines = render_table(results).splitlines()
    assert lines[0].split() == ["anomaly", "n", "d", "a", "longer", "name"]
    assert lines[2].split() == ["noise", "10", "75.0/", "75", "50.0/", "50"]
    assert lines[3].split() == ["attack", "0", "-", "-"]
    assert lines[5].split() == ["mean", "75.0/", "75", "50.0/", "50"]
    assert lines[6].split() == ["false", "alarms", "0.0", "%", "0.0", "%"]
    assert len({len(line) for line in lines}) == 1


def test_means_are_those_of_the_summary():
    evaluation = Evaluation(many())
    *_, mean, _ = render_table(evaluation).splitlines()
    area, tnr = (
        100 * evaluation.summary(name).loc["mean"] for name in ("auroc", "tnr_at_95tpr")
    )
    expected = [f"{area[d]:.1f}/{tnr[d]:3.0f}" for d in evaluation.detectors]
    assert [text for text in expected if text not in mean] == []


def test_markdown_cells(tmp_path):
    results = [
        make(d, "kind", area, seed=seed, offset=offset)
        for d, offset in (("a|b_<i>", 0.5), ("good", 1.5))
        for seed, area in ((0, 0.8), (1, 0.6))
    ]
    results.append(no_anomalies("good", "failed", seed=0, offset=1.5))
    notes = {"data": "MNIST *raw*"}
    path = tmp_path / "t.md"
    write_markdown(Evaluation(results), path, title="A & B", notes=notes)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# A &amp; B\n\n")
    assert "- data: MNIST \\*raw\\*" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    spread = "70.0 ± 14.1 / 70 ± 14"
    assert rows[0] == ["anomaly", "a\\|b\\_&lt;i&gt;", "good"]
    assert rows[2] == ["kind", spread, spread]
    assert rows[3] == ["failed", "-", "-"]
    assert rows[4] == ["mean", spread, spread]
    assert rows[5] == ["false alarms", "0.0 ± 0.0", "100.0 ± 0.0"]


@pytest.mark.parametrize(
    ("value", "spread", "digits", "text"),
    [
        (0.9734, np.nan, 1, "97.3"),
        (0.9734, 0.004, 1, "97.3 ± 0.4"),
        (1.0, 0.0, 0, "100 ± 0"),
        (np.nan, np.nan, 1, "-"),
    ],
)
def test_percent(value, spread, digits, text):
    assert percent(value, spread, digits) == text


def test_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "t.md"
    path.write_text("old")

    def stop_halfway():
        with replacing(path) as part:
            part.write_text("new")
            assert path.read_text() == "old"
            assert part.suffix == ".md"
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        stop_halfway()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["t.md"]


def test_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link.txt", tmp_path / "folder" / "target.txt"
    target.write_text("old")
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("links cannot be made here")
    with replacing(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
