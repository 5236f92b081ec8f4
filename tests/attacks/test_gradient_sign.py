"""FGSM and PGD: by hand, within bounds, any shape, nothing left changed."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from networks import AnyWidth, BatchNormNet, LeNet, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.utils.data import TensorDataset

from skgrad.attacks import fgsm, pgd

ATTACKS = {
    "fgsm": fgsm,
    "pgd": partial(pgd, n_steps=5, random_state=0),
}
X = images(6, (2, 6, 6))


@pytest.fixture(params=ATTACKS.values(), ids=ATTACKS)
def attack(request):
    return request.param


def linear():
    """Two classes with z = (x0 - x1, 0): class 0 where x0 is larger."""
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
        net.bias.zero_()
    return net


def test_fgsm_by_hand():
    result = fgsm(linear(), [[0.6, 0.5], [0.9, 0.1]], eps=0.25)
    # Leaving class 0 means less x0 and more x1; the second stays in class 0.
    assert_allclose(result.X_adv, [[0.35, 0.75], [0.65, 0.35]], atol=1e-6)
    assert result.success.tolist() == [True, False]
    assert_allclose(result.linf, 0.25, atol=1e-6)
    assert_allclose(result.l2, 0.25 * np.sqrt(2), atol=1e-6)


def test_pgd_walks_to_the_corner_of_the_ball():
    result = pgd(linear(), [[0.6, 0.5]], eps=0.25, random_start=False, n_steps=4)
    assert_allclose(result.X_adv, [[0.35, 0.75]], atol=1e-6)
    short = pgd(
        linear(), [[0.6, 0.5]], eps=0.25, random_start=False, n_steps=2, step_size=0.1
    )
    assert_allclose(short.X_adv, [[0.4, 0.7]], atol=1e-6)


def test_eps_and_bounds_hold(attack):
    result = attack(seeded(BatchNormNet), X, eps=0.3, bounds=(0.0, 1.0))
    assert result.X_adv.shape == X.shape
    assert result.X_adv.dtype == np.float32
    assert result.X_adv.min() >= 0
    assert result.X_adv.max() <= 1
    assert np.abs(result.X_adv - X).max() <= 0.3 + 1e-6
    assert_allclose(
        result.linf, np.abs(result.X_adv - X).max(axis=(1, 2, 3)), atol=1e-6
    )


def test_bounds_per_channel_of_normalised_images(attack):
    mean, std = np.array([0.4, 0.6])[:, None, None], np.array([0.2, 0.3])[:, None, None]
    low, high = (0 - mean) / std, (1 - mean) / std
    normalised = ((X - mean) / std).astype(np.float32)
    result = attack(seeded(BatchNormNet), normalised, eps=0.5, bounds=(low, high))
    assert (result.X_adv >= low - 1e-5).all()
    assert (result.X_adv <= high + 1e-5).all()


def test_attacks_succeed_and_report_it():
    net = seeded(LeNet, seed=1)
    clean = images(8, (1, 28, 28))
    with torch.no_grad():
        before = net(torch.from_numpy(clean)).argmax(dim=1).numpy()
    result = pgd(net, clean, eps=0.3, n_steps=20, random_state=0)
    with torch.no_grad():
        after = net(torch.from_numpy(result.X_adv)).argmax(dim=1).numpy()
    assert_array_equal(result.success, after != before)
    assert result.success.mean() > 0.5
    # Towards given labels: an input that is already elsewhere counts as a success.
    wrong = (before + 1) % 10
    assert fgsm(net, clean, wrong, eps=1e-9).success.all()


def test_saturated_networks_are_attacked_too():
    # The softmax rounds to (1, 0) in float32, so the loss has no gradient.
    net = linear()
    with torch.no_grad():
        net.weight.mul_(1e6)
    assert fgsm(net, [[0.6, 0.5]], eps=0.25).success.all()


def test_series_and_rows(attack):
    net = AnyWidth()
    rows = np.random.default_rng(0).uniform(-1, 1, size=(5, 9))
    result = attack(net, rows, eps=0.1, bounds=(-1, 1))
    assert result.X_adv.dtype == np.float64
    assert result.X_adv.shape == (5, 9)


def test_kinds_of_input_and_labels_agree(attack):
    net = AnyWidth()
    rows = np.random.default_rng(0).uniform(size=(5, 4))
    y = np.array([0, 1, 2, 0, 1])
    expected = attack(net, rows, y, eps=0.1).X_adv
    for data in (rows.tolist(), torch.from_numpy(rows), pd.DataFrame(rows)):
        assert_array_equal(attack(net, data, y, eps=0.1).X_adv, expected)
    for labels in (y.tolist(), torch.from_numpy(y), pd.Series(y), y.astype(np.uint8)):
        assert_array_equal(attack(net, rows, labels, eps=0.1).X_adv, expected)


def test_batch_size_changes_nothing(attack):
    net = seeded(BatchNormNet).double()
    expected = attack(net, X, eps=0.1, batch_size=6).X_adv
    for batch_size in (1, 4):
        result = attack(net, X, eps=0.1, batch_size=batch_size)
        assert_allclose(result.X_adv, expected, atol=1e-12)


def test_same_seed_same_result_and_global_generators_untouched():
    net = seeded(BatchNormNet)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (pgd(net, X, eps=0.1, random_state=4, n_steps=2) for _ in range(2))
    assert_array_equal(first.X_adv, second.X_adv)
    other = pgd(net, X, eps=0.1, random_state=5, n_steps=2)
    assert not np.array_equal(first.X_adv, other.X_adv)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_model_that_writes_into_its_input(attack):
    class Careless(nn.Linear):
        def forward(self, x):
            return super().forward(x.mul_(2).sub_(1))

    net = seeded(lambda: Careless(4, 3))
    rows = images(5, (4,))
    result = attack(net, rows, eps=0.1)
    assert np.abs(result.X_adv - rows).max() <= 0.1 + 1e-6
    assert_allclose(result.linf, np.abs(result.X_adv - rows).max(axis=1), atol=1e-6)


def test_rounding_beyond_the_bounds_costs_no_eps(attack):
    rows = np.array([[1.000005, 0.5], [-0.000005, 0.5]])
    result = attack(linear(), rows, eps=1e-7)
    assert np.abs(result.X_adv - rows.astype(np.float32)).max() <= 2e-7


def test_gradients_that_are_no_numbers_are_told(attack):
    class Root(nn.Linear):
        def forward(self, x):
            return super().forward(x.sqrt())

    net = seeded(lambda: Root(2, 2))
    with pytest.raises(ValueError, match="NaN or infinite gradients at X"):
        fgsm(net, [[0.0, 0.5]], eps=0.1)


def test_model_and_data_are_left_as_they_were(attack):
    net = seeded(BatchNormNet).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    tensor = torch.from_numpy(X.copy())
    attack(net, tensor, eps=0.1)
    assert all(part.training for part in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert_array_equal(tensor, X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": 0}, "'eps' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"X": X[:, :1]}, r"model cannot take X: .*\(1, 6, 6\)"),
        ({"X": X[:0]}, "at least one sample"),
        ({"X": X * 2}, r"X must lie within bounds; it spans \["),
        ({"X": X * np.nan}, "X must be finite"),
        ({"bounds": (1, 0)}, "bounds must have lowest < highest"),
        ({"bounds": 1}, "bounds must be a pair"),
        ({"bounds": (0, "b")}, "bounds must be a pair"),
        (
            {"bounds": (np.zeros((3, 1, 1)), 1)},
            r"broadcast to one sample of shape \(2,",
        ),
        ({"y": [0]}, "y must be None or 6 integer classes"),
        ({"y": [0.5] * 6}, "y must be None or 6 integer classes"),
        ({"y": [7] * 6}, "y must hold classes 0 to 2.*got 7 to 7"),
        ({"device": "abacus"}, "device must be None"),
    ],
)
def test_bad_input(attack, change, message):
    arguments = {"model": seeded(BatchNormNet), "X": X, "eps": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        attack(arguments.pop("model"), arguments.pop("X"), **arguments)


def test_what_is_no_model_or_no_array(attack):
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module"):
        attack("resnet", X, eps=0.1)
    with pytest.raises(TypeError, match=r"X must be an array or tensor; got a Dataset"):
        attack(linear(), TensorDataset(torch.ones(2, 2)), eps=0.1)


def test_bad_steps():
    for options in ({"n_steps": 0}, {"step_size": 0}, {"random_start": 2}):
        with pytest.raises(ValueError, match=next(iter(options))):
            pgd(linear(), [[0.5, 0.5]], eps=0.1, **options)
