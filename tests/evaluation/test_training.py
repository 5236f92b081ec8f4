"""Training: reproducible, without a trace, by the schedule that was asked for."""

import copy
import pickle
from itertools import product

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn

from skgrad.evaluation import crop_and_flip, train_network


class Linear(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Dropout(0.2), nn.Linear(12, 3))


def data(n=40):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=n)
    return rng.random((n, 3, 2, 2)) + np.eye(3)[y][:, :, None, None], y


def weights(net):
    return net.module_.state_dict()["2.weight"]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_learns(optimizer):
    X, y = data(300)
    net = train_network(Linear, X, y, lr=0.05, optimizer=optimizer, random_state=0)
    assert net.score(X.astype(np.float32), y) > 0.9


def test_same_seed_same_weights_and_no_trace():
    X, y = data()
    state = torch.get_rng_state()
    first, again = (train_network(Linear, X, y, augment=crop_and_flip) for _ in "ab")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(weights(first), weights(again))
    other = train_network(Linear, X, y, augment=crop_and_flip, random_state=1)
    assert not torch.equal(weights(first), weights(other))
    drawn = (
        train_network(Linear, X, y, random_state=np.random.RandomState(3)) for _ in "ab"
    )
    assert torch.equal(weights(next(drawn)), weights(next(drawn)))


def test_matches_a_step_written_by_hand():
    X, y = data()
    # Dropout would draw what the loader leaves; without it, order is all that is drawn.
    start = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    how = {"max_epochs": 1, "batch_size": 40, "lr": 0.1, "optimizer": "sgd"}
    net = train_network(start, X, y, **how)
    loss = nn.functional.cross_entropy(
        start(torch.from_numpy(X).float()), torch.from_numpy(y)
    )
    (gradient,) = torch.autograd.grad(loss, start[1].weight)
    # One step with Nesterov momentum from rest: (1 + 0.9) times the gradient.
    expected = start[1].weight.detach() - 0.1 * 1.9 * gradient
    torch.testing.assert_close(net.module_[1].weight.detach(), expected)


def test_trains_a_copy_of_a_network():
    X, y = data()
    start = Linear().eval()
    before = copy.deepcopy(start.state_dict())
    net = train_network(start, X, y, max_epochs=1)
    assert not start.training
    assert all(torch.equal(start.state_dict()[k], before[k]) for k in before)
    assert all(p.grad is None for p in start.parameters())
    # From the weights that it had, not from new ones.
    assert (weights(net) - before["2.weight"]).abs().max() < 0.01


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (None, [1.0] * 10),
        ("steps", [1.0] * 3 + [0.2] * 3 + [0.04] * 2 + [0.008] * 2),
        ("cosine", (1 + np.cos(np.pi * np.arange(10) / 10)) / 2),
        # Four steps per epoch; the last epoch starts 36 of 40 steps in.
        ("smooth cosine", (1 + np.cos(np.pi * np.arange(0, 40, 4) / 40)) / 2),
    ],
)
def test_schedules(schedule, expected, monkeypatch):
    rates = []
    original = torch.optim.SGD.step

    def step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    X, y = data()
    how = {"batch_size": 10, "lr": 1.0, "optimizer": "sgd", "schedule": schedule}
    train_network(Linear, X, y, **how)
    np.testing.assert_allclose(rates[::4], expected, atol=1e-7)


def test_trained_nets_pickle():
    X, y = data()
    net = train_network(Linear, X, y, max_epochs=1, augment=crop_and_flip)
    again = pickle.loads(pickle.dumps(net))
    X = X.astype(np.float32)
    assert_array_equal(again.predict_proba(X), net.predict_proba(X))


def window(source, top, left, flipped):
    cut = source[:, top : top + 6, left : left + 6]
    return cut[..., ::-1] if flipped else cut


def test_crops_are_windows_of_the_padded_image():
    X = torch.arange(1.0, 2 * 3 * 6 * 6 + 1).reshape(2, 3, 6, 6).repeat(40, 1, 1, 1)
    out = crop_and_flip(X)
    assert out.shape == X.shape
    padded = np.pad(X.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)))
    kinds = set()
    for image, source in zip(out.numpy(), padded, strict=True):
        found = [
            (top, left, flipped)
            for top, left, flipped in product(range(9), range(9), (False, True))
            if np.array_equal(image, window(source, top, left, flipped))
        ]
        assert len(found) >= 1
        kinds.update(found)
    assert len(kinds) > 40
    assert {flipped for *_, flipped in kinds} == {False, True}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((0, 3))}, "X must hold inputs"),
        ({"X": np.full((40, 12), np.nan)}, "X must be finite"),
        ({"y": np.zeros(39, int)}, "y must hold one class for each of the 40 inputs"),
        ({"y": np.zeros(40)}, "y must hold classes numbered from 0; got float64"),
        ({"y": np.arange(40) - 1}, "y must hold classes numbered from 0"),
        ({"schedule": "linear"}, "The 'schedule' parameter of train_network"),
        ({"optimizer": "lbfgs"}, "The 'optimizer' parameter of train_network"),
        ({"lr": 0}, "The 'lr' parameter of train_network"),
        ({"max_epochs": 0}, "The 'max_epochs' parameter of train_network"),
        ({"network": "lenet"}, "The 'network' parameter of train_network"),
    ],
)
def test_bad_input(change, message):
    X, y = data()
    settings = {"network": Linear, "X": X, "y": y, **change}
    with pytest.raises(ValueError, match=message):
        train_network(**settings)
