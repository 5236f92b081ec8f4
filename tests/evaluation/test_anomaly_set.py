"""Anomalies of one kind: valid and invalid forms."""

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from skgrad.attacks import fgsm
from skgrad.evaluation import AnomalySet
from skgrad.evaluation._anomaly_set import as_anomaly_sets

X = np.arange(12.0).reshape(6, 2)


def test_forms():
    tensor = torch.from_numpy(X)
    labelled = TensorDataset(tensor, torch.zeros(6))
    for given in (X.tolist(), tensor, labelled, AnomalySet(X)):
        found = as_anomaly_sets({"kind": given}, 6)["kind"]
        assert isinstance(found.X, np.ndarray)
        np.testing.assert_array_equal(found.X, X)
        assert found.sources is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": [[1.0], [2.0, 3.0]]}, r"anomalies\['kind'\] must be rectangular"),
        ({"kind": None}, r"anomalies\['kind'\]"),
        (X, "anomalies must be a dict of at least one"),
        ({}, "anomalies must be a dict of at least one"),
    ],
)
def test_wrong_anomalies(given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        as_anomaly_sets(given, 6)


def test_wrong_group():
    for group in (None, "", 3):
        with pytest.raises(
            TypeError, match='group must be a name, such as "near data"'
        ):
            AnomalySet(X, group=group)


def test_wrong_sources():
    for sources in ([0], [[0]] * 6, [0.0] * 6, [True] * 6):
        with pytest.raises(ValueError, match="one row number per anomaly, 6"):
            AnomalySet(X, sources=sources)
    for sources in ([0, 1, 2, 3, 4, 6], [-1, 0, 0, 0, 0, 0]):
        with pytest.raises(ValueError, match=r"rows of X_test, 0 to 5; got -?\d to \d"):
            as_anomaly_sets({"kind": AnomalySet(X, sources=sources)}, 6)


def test_successful_attacks_with_their_sources():
    model = torch.nn.Linear(2, 2)
    inputs = np.random.default_rng(0).random((30, 2)).astype(np.float32)
    result = fgsm(model, inputs, eps=0.2)
    assert 0 < result.success.sum() < 30
    sources = np.arange(30)[::-1]
    found = AnomalySet.from_attack(result, sources=sources, group="attacks")
    assert found.group == "attacks"
    np.testing.assert_array_equal(found.X, result.X_adv[result.success])
    np.testing.assert_array_equal(found.sources, sources[result.success])
    assert found.success_rate == result.success.mean()
    bare = as_anomaly_sets({"fgsm": result}, 30)["fgsm"]
    np.testing.assert_array_equal(bare.X, found.X)
    assert bare.sources is None
