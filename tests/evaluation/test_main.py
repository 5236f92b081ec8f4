"""The main job: its table, its files, its options."""

import csv
import sys
import warnings

import numpy as np
import pytest

import skgrad.__main__ as main_job
from skgrad.detectors import conformal_threshold
from skgrad.evaluation import Result, render_table

DETECTORS = [
    "max softmax",
    "A: MLP",
    "B: LODA",
    "C: SVDD",
    "combined",
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Run the whole job once; return its folder and what it printed."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        shown = []
        patch.setattr("builtins.print", lambda *args, **_: shown.append(args[0]))
        assert main_job.main(["--output", str(folder), "--seed", "1"]) == 0
    return folder, "\n".join(shown)


def rows_of(folder):
    with (folder / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_table_has_all_detectors_and_anomalies(report):
    folder, shown = report
    rows = rows_of(folder)
    assert list(dict.fromkeys(row["detector"] for row in rows)) == DETECTORS
    assert len({row["anomaly"] for row in rows}) == 7
    assert len(rows) == 35
    for row in rows:
        assert row["anomaly"] in shown
        assert row["seed"] == "1"
        assert 0 <= float(row["auroc"]) <= 1
        assert int(row["n_anomalies"]) >= 20
    assert all(name in shown for name in DETECTORS)
    assert "table.csv and" in shown
    assert max(map(len, shown.split("n: anomalies")[0].splitlines())) < 80


def test_numbers_are_those_of_working_detectors(report):
    rows = rows_of(report[0])
    auroc = {(r["detector"], r["anomaly"]): float(r["auroc"]) for r in rows}
    for kind in ("photo patches", "Gaussian noise", "uniform noise"):
        assert auroc["combined", kind] > 0.97
        assert auroc["C: SVDD", kind] > 0.95
        assert auroc["A: MLP", kind] > 0.8
    # Confidence is what an attack raises.
    assert auroc["max softmax", "PGD, eps 0.3"] < 0.6
    assert auroc["combined", "PGD, eps 0.3"] > 0.85


def test_false_alarms_are_near_the_promise(report):
    rates = {r["detector"]: float(r["realised_fpr"]) for r in rows_of(report[0])}
    # 450 test digits and about 90 held out: three standard errors are some 8 %.
    assert all(rate < 0.13 for rate in rates.values())


def test_figure_is_a_picture(report):
    content = (report[0] / "scores.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000


def test_help_and_bad_options(capsys):
    for arguments, message in (
        (["--help"], "--target-fpr RATE"),
        (["--seed", "-1"], "must be a whole number from 0"),
        (["--target-fpr", "5"], "strictly between 0 and 1, such as 0.05, got '5'"),
        (["--target-fpr", "x"], "strictly between 0 and 1"),
    ):
        with pytest.raises(SystemExit) as stop:
            main_job.main(arguments)
        out, err = capsys.readouterr()
        assert message in out + err
        assert stop.value.code == (0 if arguments == ["--help"] else 2)


def test_options_that_cannot_be_met(tmp_path, capsys):
    occupied = tmp_path / "occupied"
    occupied.write_text("a file")
    blocked = tmp_path / "blocked"
    (blocked / "table.csv").mkdir(parents=True)
    for folder in (occupied, blocked):
        assert main_job.main(["--output", str(folder)]) == 2
        assert (
            "--output must be a folder that can be written" in capsys.readouterr().err
        )
    assert main_job.main(["--output", str(tmp_path), "--device", "abacus"]) == 2
    assert "--device must be" in capsys.readouterr().err
    assert occupied.read_text() == "a file"


def test_missing_matplotlib_costs_the_figure_only(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert not main_job._draw([], tmp_path / "scores.png")
    assert 'pip install "skgrad[plot]"' in capsys.readouterr().err


def test_rates_that_cannot_be_promised_are_told_once(capsys):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            conformal_threshold([0.0], 0.001)
    main_job._pass_on(caught, 0.001)
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "--target-fpr 0.001 is less than can be promised" in shown


def test_rendered_table_lines_up():
    ones, zeros = np.ones(4), np.zeros(2)
    results = [
        Result(detector, kind, ones, zeros, 0.5)
        for detector in ("first", "a longer name")
        for kind in ("noise", "attack")
    ]
    table = render_table(results).splitlines()
    assert table[0].split() == ["anomaly", "n", "first", "a", "longer", "name"]
    assert "100.0/100" in table[2]
    assert "false alarms" in table[-1]
    assert "0.0 %" in table[-1]
    assert len({len(line) for line in table}) == 1
