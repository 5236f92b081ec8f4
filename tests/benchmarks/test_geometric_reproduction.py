"""The experiment on paper B runs on digits, and its parts are right."""

import importlib
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def experiment(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    state = torch.get_rng_state()
    yield runpy.run_path(str(FOLDER / "geometric_reproduction.py"))
    torch.set_rng_state(state)


def test_quick_run_writes_its_tables(experiment, tmp_path, capsys):
    sections = ["--sections", "gradients"]
    experiment["main"](["--quick", "--output", str(tmp_path), *sections])
    records = pd.read_csv(tmp_path / "records.csv")
    assert records.auroc.between(0, 1).all()
    assert records.tnr.between(0, 1).all()
    assert set(records.variation) == set(experiment["GRADIENTS"])
    assert (tmp_path / "tables.md").read_text().strip() in capsys.readouterr().out


def test_naive_matrices_are_exact_where_nothing_saturates(experiment):
    naive_matrices = importlib.import_module(
        "geometric_reproduction_detectors"
    ).naive_matrices
    features_of = experiment["features_of"]
    torch.manual_seed(0)
    net = experiment["parts"].make_network(8).eval()
    X = np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)
    exact = features_of(net, X, sign=False)
    naive = naive_matrices(net, X, sign=False, dtype=torch.float64)
    np.testing.assert_allclose(exact.matrices, naive, atol=1e-4)
    # A saturated one loses its gradient altogether.
    with torch.no_grad():
        net[-1].bias[0] = 200.0
    naive = naive_matrices(net, X)
    assert (naive[:, 0, 0] == 0).all()
    exact = features_of(net, X)
    np.testing.assert_allclose(exact.matrices[:, 0, 0], 1, rtol=1e-6)
