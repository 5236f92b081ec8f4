"""The demo: its table, its files, its options."""

import csv
import sys
from argparse import Namespace

import pytest

import skgrad.__main__ as program
from skgrad.datasets import load_digits_images
from skgrad.evaluation import train_digits_network

DETECTORS = ["max softmax", "A: MLP", "B: LODA", "C: SVDD", "combined"]


@pytest.mark.slow
def test_the_whole_demo(tmp_path, capsys):
    assert program.main(["--output", str(tmp_path), "--seed", "1"]) == 0
    shown = capsys.readouterr().out
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(row["detector"] for row in rows)) == DETECTORS
    assert len(rows) == 35
    for row in rows:
        assert row["anomaly"] in shown
        assert row["seed"] == "1"
        assert int(row["n_anomalies"]) >= 20
        # 450 test digits and about 90 held out: three standard errors are some 8 %.
        assert float(row["realised_fpr"]) < 0.13
    auroc = {(r["detector"], r["anomaly"]): float(r["auroc"]) for r in rows}
    for kind in ("photo patches", "Gaussian noise", "uniform noise"):
        assert auroc["combined", kind] > 0.97
        assert auroc["C: SVDD", kind] > 0.95
        assert auroc["A: MLP", kind] > 0.8
    # Confidence is what an attack raises.
    assert auroc["max softmax", "PGD, eps 0.3"] < 0.6
    assert auroc["combined", "PGD, eps 0.3"] > 0.85
    assert (tmp_path / "scores.png").stat().st_size > 20_000


def test_wrong_options_are_rejected_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        program.main(["--target-fpr", "5"])
    assert stop.value.code == 2
    assert "strictly between 0 and 1" in capsys.readouterr().err
    assert program.main(["--output", str(tmp_path), "--device", "abacus"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "abacus" in line


def test_missing_matplotlib_costs_the_figure_only(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert program._draw([], Namespace(output=tmp_path)) == []
    assert 'pip install ".[plot]"' in capsys.readouterr().err


def test_the_digits_network_is_reproducible():
    digits = load_digits_images()
    X, y = digits.X_train[:100], digits.y_train[:100]
    first, again, other = (
        train_digits_network(X, y, random_state=s) for s in (0, 0, 1)
    )
    weights = [net.module_.fc2.weight for net in (first, again, other)]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])
