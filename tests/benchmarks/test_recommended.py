"""The benchmark that chose the recommended detector judges that detector."""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from skgrad import make_recommended_detector

pytest.importorskip("torchvision")

FOLDER = Path(__file__).parents[2] / "benchmarks"
N_FIT = 120


def tiny_setting(root, n, seed, cache):
    """Return a random network of grey images, with two kinds of anomalies."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 5, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)]
    model = nn.Sequential(*layers).eval()
    x = torch.rand(N_FIT + 60, 1, 16, 16)
    y = model(x[N_FIT:]).argmax(1)
    y[::4] = (y[::4] + 1) % 3
    anomalies = {"Gaussian": 5 * torch.randn(n, 1, 16, 16), "misclassified": x[-15:]}
    return model, {"fit": x[:N_FIT]}, x[N_FIT:], y, anomalies


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    features = importlib.import_module("recommended_features")
    monkeypatch.setitem(features.SETTINGS, "tiny", tiny_setting)
    monkeypatch.setattr(features, "WITH_GRADIENTS", {"tiny"})
    benchmark = importlib.import_module("recommended")
    monkeypatch.setattr(benchmark, "WITH_GRADIENTS", {"tiny"})
    return benchmark


# The network is random, and noise may be too much for it.
@pytest.mark.filterwarnings("ignore:X. stability__log_odds:UserWarning")
def test_the_third_edition_is_the_recommended_detector(benchmark):
    setting = benchmark.features_of("tiny", "", 10, N_FIT, None)
    assert setting["right"].sum() == 45
    scores = benchmark.scores_of(setting, benchmark.VARIANTS, 0)
    model, fit, x, _, anomalies = tiny_setting(None, 10, 0, None)
    for effort in ("low", "medium", "high"):
        detector = make_recommended_detector(model, effort=effort, random_state=0)
        detector.fit(fit["fit"])
        variant = f"third edition, {effort}"
        n_parts = len(benchmark.VARIANTS[variant])
        for kind, part in {"id": x, **anomalies}.items():
            mean = scores[variant][kind] / n_parts
            assert_allclose(mean, detector.score_samples(part), rtol=1e-4, atol=1e-4)


def test_areas_and_regrets_are_right(benchmark):
    scores = {"id": np.arange(1, 5), "Gaussian": [0, 2.5], "misclassified": [2.5]}
    areas = benchmark.areas_by_kind(scores, np.arange(4) > 0)
    # Of "id" the last three are judged beside "misclassified".
    assert areas == {"Gaussian": 75, "misclassified": pytest.approx(200 / 3)}
    # Other variants are no rivals.
    figures = {"DeepKNN": [80.0, 60], "one": [70.0, 90], "other": [99.0, 55]}
    regrets = benchmark.regrets_of(pd.DataFrame(figures))
    assert regrets["one"].tolist() == [10, 0]
    assert regrets["other"].tolist() == [0, 5]


# The network is random, and noise may be too much for it.
@pytest.mark.filterwarnings("ignore:X. stability__log_odds:UserWarning")
def test_tables_have_a_row_for_each_variant_and_rival(benchmark, tmp_path, capsys):
    options = ["--settings", "tiny", "--seeds", "1", "--n", "10"]
    folders = ["--data-dir", str(tmp_path), "--cache", str(tmp_path)]
    benchmark.main([*folders, *options])
    first, second, worst = capsys.readouterr().out.strip().split("\n\n")
    names = [*benchmark.VARIANTS, *benchmark.RIVALS]
    for table in (first, second):
        rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
        assert [row[0] for row in rows] == names
    assert all(float(cell) <= 100 for row in rows for cell in row[1:])
    assert "tiny/misclassified" in worst
