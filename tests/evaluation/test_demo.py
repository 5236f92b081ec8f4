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
    assert len({row["anomaly"] for row in rows}) == 7
    assert len(rows) == 35
    for row in rows:
        assert row["anomaly"] in shown
        assert row["seed"] == "1"
        assert int(row["n_anomalies"]) >= 20
        # 450 test digits and about 90 held out: three standard errors are some 8 %.
        assert float(row["realised_fpr"]) < 0.13
    assert "table.csv and" in shown
    assert max(map(len, shown.split("n: anomalies")[0].splitlines())) < 80
    auroc = {(r["detector"], r["anomaly"]): float(r["auroc"]) for r in rows}
    for kind in ("photo patches", "Gaussian noise", "uniform noise"):
        assert auroc["combined", kind] > 0.97
        assert auroc["C: SVDD", kind] > 0.95
        assert auroc["A: MLP", kind] > 0.8
    # Confidence is what an attack raises.
    assert auroc["max softmax", "PGD, eps 0.3"] < 0.6
    assert auroc["combined", "PGD, eps 0.3"] > 0.85
    content = (tmp_path / "scores.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000


def test_help_and_wrong_options(tmp_path, capsys):
    for arguments, message in (
        (["--help"], "--target-fpr RATE"),
        (["--seed", "-1"], "must be a whole number from 0"),
        (["--target-fpr", "5"], "strictly between 0 and 1, such as 0.05; got '5'"),
    ):
        with pytest.raises(SystemExit) as stop:
            program.main(arguments)
        out, err = capsys.readouterr()
        assert message in out + err
        assert stop.value.code == (0 if arguments == ["--help"] else 2)
    (tmp_path / "taken").write_text("a file")
    for arguments in (
        ["--output", str(tmp_path / "taken")],
        ["--output", str(tmp_path), "--device", "abacus"],
    ):
        assert program.main(arguments) == 2
        err = capsys.readouterr().err
        assert arguments[-1] in err
        assert len(err.splitlines()) == 1


def test_missing_matplotlib_costs_the_figure_only(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert program._draw([], Namespace(output=tmp_path)) == []
    assert 'pip install "skgrad[plot]"' in capsys.readouterr().err


def test_the_digits_network_is_reproducible():
    digits = load_digits_images()
    X, y = digits.X_train[:100], digits.y_train[:100]
    first, again, other = (
        train_digits_network(X, y, random_state=s) for s in (0, 0, 1)
    )
    weights = [net.module_.fc2.weight for net in (first, again, other)]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])
    with pytest.raises(ValueError, match="y must hold classes"):
        train_digits_network(X, y + 1)
