"""Outlier exposure: the loss by hand, the effect of training, wrong arguments."""

import json
import pickle

import numpy as np
import pytest
import torch
from networks import BatchNormNet, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from skgrad import make_uniform_detector
from skgrad.baselines import fine_tune_with_outliers
from skgrad.baselines._outlier_exposure import _MixedBatches, _OutlierExposureLoss


def test_loss_by_hand():
    logits = torch.tensor([[np.log(3.0), 0.0], [0.0, 0.0], [np.log(3.0), 0.0]])
    loss = _OutlierExposureLoss(weight=2.0)
    known, flat, sharp = -np.log(3 / 4), np.log(2), -np.log(3 / 16) / 2
    assert_allclose(loss(logits, torch.tensor([0, -1, -1])), known + flat + sharp)
    assert_allclose(loss(logits[:1], torch.tensor([0])), known, rtol=1e-6)
    assert_allclose(loss(logits[2:], torch.tensor([-1])), 2 * sharp, rtol=1e-6)


def test_loss_is_least_for_equal_probabilities():
    logits = torch.randn(4, 5, dtype=torch.float64).requires_grad_()
    target = torch.tensor([-1, -1, 0, 2])
    loss = _OutlierExposureLoss(weight=0.5)(logits, target)
    (gradient,) = torch.autograd.grad(loss, logits)
    p = logits.softmax(dim=1)
    assert_allclose(gradient[:2], (p[:2] - 1 / 5).detach() / 4)
    assert_allclose(gradient[2:], (p - torch.eye(5)[target])[2:].detach() / 2)


class Small(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Linear(2, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Dropout(0.1)
        )
        self.append(nn.Linear(32, 3))


CENTERS = np.array([[3.0, 0.0], [-2.0, 3.0], [-2.0, -3.0]])


def draw(n_samples, seed):
    """Draw points of three classes."""
    generator = np.random.default_rng(seed)
    y = np.arange(n_samples) % 3
    return (CENTERS[y] + generator.normal(size=(n_samples, 2))).astype("float32"), y


def outliers(n_samples, seed):
    """Draw points on a ring around all of them."""
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, size=n_samples)
    ring = 9 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return ring.astype("float32")


def trained():
    net = seeded(Small)
    X, y = map(torch.from_numpy, draw(300, seed=0))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(80):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(X), y).backward()
            optimizer.step()
    optimizer.zero_grad()
    return net


NET = trained()
X, Y = draw(300, seed=1)
TUNING = {"max_epochs": 20, "learning_rate": 0.05, "batch_size": 50, "random_state": 0}


def tune(**options):
    options = {"model": NET, "X": X, "y": Y, "X_outliers": outliers(200, 2), **options}
    first = [options.pop(name) for name in ("model", "X", "y", "X_outliers")]
    return fine_tune_with_outliers(*first, **{**TUNING, **options})


def test_confidence_falls_on_outliers_and_accuracy_stays():
    before = {k: v.clone() for k, v in NET.state_dict().items()}
    state = torch.random.get_rng_state()
    net = tune()
    assert torch.equal(torch.random.get_rng_state(), state)
    X_test, y_test = draw(300, seed=3)
    with torch.no_grad():
        old = NET.eval()(torch.from_numpy(np.concatenate([X_test, outliers(200, 4)])))
    NET.train()
    confidence = old.softmax(dim=1).amax(dim=1).numpy()
    accuracy = (old[:300].argmax(dim=1).numpy() == y_test).mean()
    assert confidence[300:].mean() > 0.9
    assert net.predict_proba(outliers(200, 4)).max(axis=1).mean() < 0.6
    assert net.score(X_test, y_test) > accuracy - 0.02
    assert accuracy > 0.95
    assert_allclose(net.predict_proba(X_test).sum(axis=1), 1, rtol=1e-5)
    assert_array_equal(net.classes_, [0, 1, 2])
    # The user's network is unchanged.
    assert all(torch.equal(v, before[k]) for k, v in NET.state_dict().items())
    assert all(part.training for part in NET.modules())
    assert all(p.grad is None and p.requires_grad for p in NET.parameters())
    # The net can be pickled and trained further.
    again = pickle.loads(pickle.dumps(net)).partial_fit(X, Y)
    assert again.score(X_test, y_test) > accuracy - 0.02
    # Detectors take it as their model.
    detector = make_uniform_detector(net, "0", random_state=0).fit(X)
    assert (detector.predict(outliers(200, 4)) == -1).mean() > 0.9


def test_seeds_and_input_containers():
    few = {"max_epochs": 2}
    expected = tune(**few).predict_proba(X)
    assert_array_equal(tune(**few).predict_proba(X), expected)
    assert (tune(**few, random_state=1).predict_proba(X) != expected).any()
    Z = torch.from_numpy(outliers(200, 2))
    for kind in (torch.from_numpy, list, lambda a: TensorDataset(torch.from_numpy(a))):
        net = tune(X=kind(X), y=torch.from_numpy(Y), X_outliers=TensorDataset(Z), **few)
        assert_allclose(net.predict_proba(X), expected, rtol=1e-5)


def test_weight_zero_is_plain_fine_tuning():
    net = tune(weight=0.0)
    assert net.predict_proba(outliers(200, 4)).max(axis=1).mean() > 0.8


def test_frozen_parameters_stay():
    net = seeded(Small)
    net[0].requires_grad_(False)
    tuned = tune(model=net, max_epochs=1).module_
    assert torch.equal(tuned[0].weight, net[0].weight)
    assert not torch.equal(tuned[4].weight, net[4].weight)


def test_batches_hold_samples_and_outliers():
    order = _MixedBatches(10, 7, batch_size=4, random_state=np.random.RandomState(0))
    got = list(order)
    assert [len(batch) for batch in got] == [12, 12, 6]
    assert len(order) == 3
    known = [[i for i in batch if i < 10] for batch in got]
    assert sorted(i for batch in known for i in batch) == list(range(10))
    others = [i for batch in got for i in batch if i >= 10]
    assert sorted(others[:7]) == sorted(others[7:14]) == list(range(10, 17))
    assert list(order) != got


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.from_numpy(X))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"X_outliers": X[:0]},
            ValueError,
            "X_outliers must be .* at least one sample",
        ),
        ({"X_outliers": X[:, :1]}, ValueError, r"X_outliers .* \(2,\), .* \(1,\)"),
        ({"X_outliers": X * np.nan}, ValueError, "X_outliers must be finite"),
        ({"X": X * np.inf}, ValueError, "X must be finite"),
        ({"X": Stream()}, TypeError, "X must allow reading .* the stream Stream"),
        ({"y": Y + 1}, ValueError, "y must hold classes 0 to 2, .* got 1 to 3"),
        ({"learning_rate": 0.0}, ValueError, "'learning_rate' parameter"),
        ({"learning_rate": 1e30}, ValueError, r"learning_rate=1e\+30"),
        (
            {"learning_rate": 3e38, "weight": 50.0, "max_epochs": 1, "batch_size": 300},
            ValueError,
            "learning_rate must be lower: the model has NaN or infinite weights",
        ),
        ({"device": "abacus"}, ValueError, "device must be None"),
        ({"model": "net"}, TypeError, r"model must be a torch\.nn\.Module"),
        ({"model": seeded(BatchNormNet)}, ValueError, "model cannot take X"),
        (
            {"model": seeded(Small).requires_grad_(False)},
            ValueError,
            "model must have parameters that require gradients",
        ),
    ],
)
def test_wrong_arguments_raise(options, error, message):
    with pytest.raises(error, match=message):
        tune(**options)


class Broken(Dataset):
    """Raises an error whose constructor takes three arguments."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return json.loads("{")


def test_errors_of_a_data_set_come_as_they_are():
    with pytest.raises(json.JSONDecodeError):
        tune(X_outliers=Broken())


class Stopped(Small):
    """Is interrupted in the third pass of its training."""

    n_passes = 0

    def forward(self, x):
        self.n_passes += self.training
        if self.n_passes == 3:
            raise KeyboardInterrupt
        return super().forward(x)


def test_an_interrupt_ends_the_call():
    with pytest.raises(KeyboardInterrupt):
        tune(model=seeded(Stopped))
