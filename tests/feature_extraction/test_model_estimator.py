"""A network that is changed after fit, and rows of X that are not finite."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from networks import BatchNormNet, images, seeded
from torch import nn
from torch.utils.data import TensorDataset

import skgrad
from skgrad.baselines import ODIN

X = images(12, (2, 6, 6))


def trained(net):
    # A small step, after which units are alive.
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
    net(torch.as_tensor(X)).square().sum().backward()
    optimizer.step()


def loaded(net):
    net.load_state_dict(seeded(BatchNormNet, seed=1).state_dict())


def another_layer(net):
    net.head = nn.Linear(net.head.in_features, net.head.out_features)


def odin(net, **options):
    options |= {"target_fpr": 0.5, "calibration_fraction": 0.5, "random_state": 0}
    return ODIN(net, **options)


def answers(estimator):
    """Return whether answers come with the warning; any other is raised."""
    answer = estimator.score_samples if isinstance(estimator, ODIN) else None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (answer or estimator.transform)(X)
    assert all("model has changed since fit" in str(w.message) for w in caught)
    return len(caught) == 1


@pytest.mark.parametrize("change", [trained, loaded, another_layer])
def test_a_change_since_fit_is_noticed_once(make, model, change):
    for estimator in (make(model), make(model, device="cpu"), odin(model)):
        estimator.fit(X)
        copied = pickle.loads(pickle.dumps(estimator))
        assert not answers(estimator)
        change(model)
        assert answers(estimator)
        assert not answers(estimator)
        # It has a network of its own.
        assert not answers(copied)
        assert not answers(estimator.fit(X))


def test_a_change_before_a_block_that_holds(make, model):
    estimator = make(model).fit(X)
    loaded(model)
    with skgrad.hold(model):
        assert answers(estimator)
        assert not answers(estimator)


class LooksUp(nn.Module):
    """A network that writes to its own parameters, as a ``max_norm`` does."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 4, max_norm=1.0)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.embedding(x.flatten(1).abs().long() % 9).mean(1))


def test_a_network_that_writes_to_itself_is_not_checked():
    transformer = skgrad.LayerActivationTransformer(LooksUp(), "logits").fit(9 * X)
    assert not answers(transformer)
    assert not answers(transformer)


def test_rows_that_are_not_finite_are_named(make, model):
    rows = np.concatenate([X] * 3).astype(np.float64)
    rows[3, 0, 1], rows[17], rows[19, 1] = np.nan, np.inf, 1e200
    for estimator in (make(model, batch_size=8), odin(model, batch_size=8)):
        estimator.fit(X)
        scored = getattr(estimator, "score_samples", None) or estimator.transform
        for given, named in (
            (rows, "are in row 3 of X"),
            (rows[4:], "are in rows 13, 15 of X"),
            (TensorDataset(torch.as_tensor(rows[4:])), "are in rows 13, 15 of X"),
            (np.full_like(rows, np.nan), "rows 0, 1, 2, 3, 4 and 3 more of X"),
        ):
            with pytest.raises(ValueError, match=f"X must be finite.*{named}"):
                scored(given)
        with pytest.raises(ValueError, match="are in row 1 of X"):
            estimator.fit(rows[2:])
