"""Tables as text and Markdown, and files that are never half written."""

import os

import pytest
from example_results import make, many, no_anomalies, two_groups

from skgrad._files import replacing
from skgrad.evaluation import Evaluation, render_table
from skgrad.evaluation._tables import write_markdown


def test_rendered_table_averages_seeds_and_shows_gaps():
    results = [
        make("d", "noise", 1.0, seed=0),
        make("d", "noise", 0.5, seed=1),
        make("a longer name", "noise", 0.5, n=4),
        no_anomalies("d", "attack"),
    ]
    lines = [line.split() for line in render_table(results).splitlines()]
    assert lines[0] == ["anomaly", "n", "d", "a", "longer", "name"]
    assert lines[2] == ["noise", "10", "75.0/", "75", "50.0/", "50"]
    assert lines[3] == ["attack", "0", "-", "-"]
    assert lines[5] == ["mean", "75.0/", "75", "50.0/", "50"]
    assert lines[6] == ["mean", "regret", "0.0", "25.0"]
    assert lines[8] == ["false", "alarms", "0.0", "%", "0.0", "%"]
    evaluation = Evaluation(many())
    *_, mean, _, _, _ = render_table(evaluation).splitlines()
    for detector in evaluation.detectors:
        area, tnr = (
            100 * evaluation.summary(name).loc["mean", detector]
            for name in ("auroc", "tnr_at_95tpr")
        )
        assert f"{area:.1f}/{tnr:3.0f}" in mean


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
    assert rows[5] == ["mean regret", "0.0 ± 0.0", "0.0 ± 0.0"]
    assert rows[7] == ["false alarms", "0.0 ± 0.0", "100.0 ± 0.0"]


def test_groups_and_regret(tmp_path):
    lines = [line.split("  ") for line in render_table(two_groups()).splitlines()]
    assert [line[1] for line in lines[7:9]] == ["near data", "attacks"]
    rows = {line[0]: [c.strip() for c in line[1:] if c.strip()] for line in lines}
    areas = [cell.partition("/")[0] for cell in rows["mean over groups"]]
    assert areas == ["77.5", "72.5"]
    assert rows["mean regret"] == ["10.0", "10.0"]
    assert rows["largest regret"] == ["30.0", "20.0"]
    path = tmp_path / "t.md"
    write_markdown(Evaluation(two_groups()), path, title="t", notes={})
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert ["mean of near data", "80.0 ± 14.1 / 80 ± 14", "60.0 ± 0.0 / 60 ± 0"] in rows
    assert ["mean regret", "10.0 ± 4.7", "10.0 ± 4.7"] in rows
    largest = ["30.0 ± 14.1 (FGSM)", "20.0 ± 14.1 (photos)"]
    assert ["largest regret", *largest] in rows


def test_without_any_regret_no_kind_is_named(tmp_path):
    path = tmp_path / "t.md"
    best = Evaluation([make("a", "x", 0.9), make("b", "x", 0.4)])
    write_markdown(best, path, title="t", notes={})
    assert "| largest regret | 0.0 | 50.0 (x) |" in path.read_text(encoding="utf-8")


def test_old_file_stays_until_the_new_one_is_complete_and_a_link_a_link(tmp_path):
    target, link = tmp_path / "t.md", tmp_path / "link.md"
    target.write_text("old")
    try:
        link.symlink_to(target)
    except OSError:
        pytest.skip("links cannot be made here")

    def stop_halfway():
        with replacing(link) as part:
            part.write_text("new")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        stop_halfway()
    assert target.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["link.md", "t.md"]
    with replacing(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
