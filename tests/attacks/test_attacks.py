"""What holds for every attack: within bounds, any shape, nothing left changed."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from networks import AnyWidth, BatchNormNet, images, seeded, two_classes
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.utils.data import TensorDataset

from skgrad.attacks import (
    bim,
    fgsm,
    iterative_least_likely,
    pgd,
    random_noise,
    rotate,
    semantic,
)

PGD = partial(pgd, n_steps=5, random_state=0)
BY_GRADIENT = {
    "fgsm": fgsm,
    "fgsm, target": partial(fgsm, target="random", random_state=0),
    "bim": bim,
    "bim, to success": partial(bim, stop_at_success=True),
    "pgd": PGD,
    "pgd, target": partial(PGD, target="random"),
    "pgd, l2": partial(PGD, norm="l2"),
    "pgd, mse": partial(PGD, loss="mse"),
    "least likely": iterative_least_likely,
}
# Those with an eps.
WITHIN_EPS = {
    **BY_GRADIENT,
    "noise": partial(random_noise, random_state=0),
    "noise, l2": partial(random_noise, norm="l2", random_state=0),
}


def without_eps(attack):
    """Let an attack without eps be called as the others are."""

    def call(model, X, y=None, *, eps=None, **options):
        return attack(model, X, y, **options)

    return call


ATTACKS = {
    **WITHIN_EPS,
    "semantic": without_eps(semantic),
    "rotate": without_eps(partial(rotate, random_state=0)),
}
ANY_SHAPE = {name: attack for name, attack in ATTACKS.items() if name != "rotate"}
X = images(6, (2, 6, 6))


def attack_of(attack):
    """Return the function behind partial ones."""
    return getattr(attack, "func", attack)


def each(attacks):
    return pytest.mark.parametrize("attack", attacks.values(), ids=attacks)


@each(WITHIN_EPS)
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


@each(ATTACKS)
def test_bounds_per_channel_of_normalised_images(attack):
    mean, std = np.array([0.4, 0.6])[:, None, None], np.array([0.2, 0.3])[:, None, None]
    low, high = (0 - mean) / std, (1 - mean) / std
    normalised = ((X - mean) / std).astype(np.float32)
    result = attack(seeded(BatchNormNet), normalised, eps=0.5, bounds=(low, high))
    assert (result.X_adv >= low - 1e-5).all()
    assert (result.X_adv <= high + 1e-5).all()


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "form",
    [read_only, lambda a: np.flip(np.flip(a).copy()), lambda a: a.astype(">f8")],
    ids=["read-only", "negative strides", "big-endian"],
)
def test_bounds_in_any_memory(form):
    low, high = np.array([0, -0.5])[:, None, None], np.array([1.0, 1.5])[:, None, None]
    net = seeded(BatchNormNet)
    expected = fgsm(net, X, eps=2, bounds=(low.tolist(), high.tolist())).X_adv
    assert_array_equal(expected.max(axis=(0, 2, 3)), [1, 1.5])
    result = fgsm(net, X, eps=2, bounds=(form(low.copy()), form(high.copy())))
    assert_array_equal(result.X_adv, expected)


def test_length_of_a_change_beyond_half_precision():
    net = nn.Linear(90_000, 2).half()
    result = semantic(net, np.zeros((1, 90_000)), bounds=(0, 255))
    assert result.X_adv.dtype == np.float16
    assert_allclose(result.l2, 255 * 300, rtol=1e-4)


@each(ANY_SHAPE)
def test_series_and_rows(attack):
    net = AnyWidth()
    rows = np.random.default_rng(0).uniform(-1, 1, size=(5, 9))
    result = attack(net, rows, eps=0.1, bounds=(-1, 1))
    assert result.X_adv.dtype == np.float64
    assert result.X_adv.shape == (5, 9)


@each(ANY_SHAPE)
def test_kinds_of_input_and_labels_agree(attack):
    net = AnyWidth()
    rows = np.random.default_rng(0).uniform(size=(5, 4))
    y = np.array([0, 1, 2, 0, 1])
    expected = attack(net, rows, y, eps=0.1).X_adv
    for data in (rows.tolist(), torch.from_numpy(rows), pd.DataFrame(rows)):
        assert_array_equal(attack(net, data, y, eps=0.1).X_adv, expected)
    for labels in (y.tolist(), torch.from_numpy(y), pd.Series(y), y.astype(np.uint8)):
        assert_array_equal(attack(net, rows, labels, eps=0.1).X_adv, expected)


@each(ATTACKS)
def test_batch_size_changes_nothing(attack):
    net = seeded(BatchNormNet).double()
    expected = attack(net, X, eps=0.1, batch_size=6).X_adv
    for batch_size in (1, 4):
        result = attack(net, X, eps=0.1, batch_size=batch_size)
        assert_allclose(result.X_adv, expected, atol=1e-12)


@each(WITHIN_EPS)
def test_model_that_writes_into_its_input(attack):
    class Careless(nn.Linear):
        def forward(self, x):
            return super().forward(x.mul_(2).sub_(1))

    net = seeded(lambda: Careless(4, 3))
    rows = images(5, (4,))
    result = attack(net, rows, eps=0.1)
    assert np.abs(result.X_adv - rows).max() <= 0.1 + 1e-6
    assert_allclose(result.linf, np.abs(result.X_adv - rows).max(axis=1), atol=1e-6)


@each(WITHIN_EPS)
def test_rounding_beyond_the_bounds_costs_no_eps(attack):
    rows = np.array([[1.000005, 0.5], [-0.000005, 0.5]])
    result = attack(two_classes(), rows, eps=1e-7)
    assert np.abs(result.X_adv - rows.astype(np.float32)).max() <= 2e-7


@each(BY_GRADIENT)
def test_gradients_that_are_no_numbers_are_told(attack):
    class Root(nn.Linear):
        def forward(self, x):
            return super().forward(x.sqrt())

    net = seeded(lambda: Root(2, 2))
    # Where noise moves away from 0 first, the gradient is a number.
    options = {"random_start": False} if attack_of(attack) is pgd else {}
    with pytest.raises(ValueError, match="NaN or infinite gradients at X"):
        attack(net, [[0.0, 0.5]], eps=0.1, **options)


@each(ATTACKS)
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
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"X": X[:, :1]}, r"model cannot take X: .*\(1, 6, 6\)"),
        ({"X": X[:0]}, "at least one sample"),
        ({"X": X - 0.5}, r"X must lie within bounds; it spans \["),
        ({"X": X * 2}, r"X must lie within bounds; it spans \["),
        ({"X": X * np.nan}, "X must be finite"),
        ({"bounds": (1, 0)}, "bounds must have lowest < highest"),
        ({"bounds": 1}, "bounds must be a pair"),
        ({"bounds": (0, "b")}, "bounds must be a pair"),
        (
            {"bounds": (np.zeros((3, 1, 1)), 1)},
            r"broadcast to one sample of shape \(2,",
        ),
        ({"bounds": (0, np.nan)}, "bounds must have lowest < highest"),
        ({"y": [0]}, "y must be None or 6 integer classes"),
        ({"y": [0.5] * 6}, "y must be None or 6 integer classes"),
        ({"y": np.zeros((6, 1), int)}, r"y must be None.*shape \(6, 1\)"),
        ({"y": ["a"] * 6}, "y must be None or 6 integer classes"),
        (
            {"y": [[0], [0, 1], 0, 0, 0, 0]},
            "y must hold one value per sample; got a ragged",
        ),
        ({"y": [-1] * 6}, "y must hold classes 0 to 2.*got -1 to -1"),
        ({"y": [7] * 6}, "y must hold classes 0 to 2.*got 7 to 7"),
        ({"device": "abacus"}, "device must be None"),
    ],
)
@each(ATTACKS)
def test_bad_input(attack, change, message):
    arguments = {"model": seeded(BatchNormNet), "X": X, "eps": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        attack(arguments.pop("model"), arguments.pop("X"), **arguments)


@each(ATTACKS)
def test_what_is_no_model_or_no_array(attack):
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module"):
        attack("resnet", X, eps=0.1)
    with pytest.raises(TypeError, match=r"X must be an array or tensor; got a Dataset"):
        attack(two_classes(), TensorDataset(torch.ones(2, 2)), eps=0.1)


@pytest.mark.parametrize("eps", [0, -0.1, np.inf, np.nan, "small", None])
@each(WITHIN_EPS)
def test_bad_eps(attack, eps):
    with pytest.raises(ValueError, match="'eps' parameter"):
        attack(two_classes(), [[0.5, 0.5]], eps=eps)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("likely", r"target must be None, one class.*'random'.*got 'likely'"),
        (3, "target must hold classes 0 to 2.*got 3 to 3"),
        (-1, "target must hold classes 0 to 2.*got -1 to -1"),
        (1.0, "target must be None, one class.*got float64"),
        (True, "target must be None, one class.*got bool"),
        ([1], r"target must be None, one class.*shape \(1,\) for 6 samples"),
        ([0.5] * 6, "target must be None, one class.*got float64"),
        (["random"] * 6, "target must be None, one class"),
        ([0, 1, 2, 0, 1, 3], "target must hold classes 0 to 2.*got 0 to 3"),
    ],
)
@pytest.mark.parametrize("attack", [fgsm, bim, pgd])
def test_bad_targets(attack, target, message):
    with pytest.raises(ValueError, match=message):
        attack(seeded(BatchNormNet), X, eps=0.1, target=target)


@each({"fgsm": fgsm, "bim": bim, "pgd": PGD})
def test_targets_are_reached_and_told(attack):
    net = seeded(lambda: nn.Linear(5, 3), dtype=torch.float64)
    rows = np.random.default_rng(0).uniform(size=(30, 5))
    with torch.no_grad():
        logits = net(torch.from_numpy(rows))
    clean, least = logits.argmax(dim=1).numpy(), logits.argmin(dim=1).numpy()
    bounds = (-50, 50)
    call = partial(attack, net, rows, eps=40, bounds=bounds, random_state=3)
    for target in (least, torch.from_numpy(least), least.tolist()):
        result = call(target=target)
        assert_array_equal(result.success, result.predicted == least)
        assert_array_equal(result.X_adv, call(target="least_likely").X_adv)
    assert result.success.mean() > 0.9
    one = call(target=2)
    assert_array_equal(one.success, one.predicted == 2)
    assert_array_equal(one.X_adv, call(target=[2] * 30).X_adv)
    drawn = call(target="random")
    assert_array_equal(drawn.X_adv, call(target="random", batch_size=7).X_adv)
    assert drawn.success.mean() > 0.9
    # Both other classes are drawn, and never the one to leave.
    assert set((drawn.predicted - clean)[drawn.success] % 3) == {1, 2}


@each({"pgd": PGD, "noise": random_noise, "rotate": ATTACKS["rotate"]})
def test_same_seed_same_result_and_global_generators_untouched(attack):
    net = seeded(BatchNormNet)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second, other = (
        attack(net, X, eps=0.1, random_state=seed) for seed in (4, 4, 5)
    )
    assert_array_equal(first.X_adv, second.X_adv)
    assert not np.array_equal(first.X_adv, other.X_adv)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


class Stepped(nn.Module):
    """Logits of rounded inputs: no gradient anywhere."""

    def __init__(self, function):
        super().__init__()
        self.function, self.head = function, nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.function(x))


@pytest.mark.parametrize("function", [torch.round, torch.sign, torch.floor])
@each(BY_GRADIENT)
def test_models_without_a_gradient_are_refused(attack, function):
    rows = np.random.default_rng(0).uniform(size=(5, 2))
    for batch_size in (1, 5):
        with pytest.raises(ValueError, match=r"differentiable.*exactly zero at every"):
            attack(Stepped(function), rows, eps=0.1, batch_size=batch_size)


@each(BY_GRADIENT)
def test_models_that_detach_are_refused(attack):
    net = Stepped(lambda x: torch.eye(2)[x.argmax(dim=1)])
    with pytest.raises(ValueError, match=r"autograd reach its input.*argmax"):
        attack(net, [[0.2, 0.5]], eps=0.1)


@each({"noise": random_noise, "semantic": ATTACKS["semantic"]})
def test_attacks_without_gradients_take_models_without_them(attack):
    assert attack(Stepped(torch.round), [[0.2, 0.6]], eps=0.1).linf[0] > 0


@each(BY_GRADIENT)
def test_a_few_samples_without_a_gradient_are_left_where_they_are(attack):
    # Class 0 is at relu(x0 - 1/2): without gradient where x0 is smaller.
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        for layer, weight in ((net[0], torch.eye(2)), (net[2], torch.eye(2))):
            layer.weight.copy_(weight)
            layer.bias.fill_(-0.5 if layer is net[0] else 0)
    rows = [[0.1, 0.1], [0.2, 0.2], [0.9, 0.7]]
    for batch_size in (1, 3):
        result = attack(net, rows, eps=0.3, batch_size=batch_size)
        moved = np.abs(result.X_adv - np.float32(rows)).max(axis=1)
        assert moved[2] > 0.1
        if attack_of(attack) is not pgd:  # which starts elsewhere
            assert_array_equal(moved[:2], 0)
