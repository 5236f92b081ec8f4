"""Promises of all attacks: bounds, any shape, independence, nothing changed."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from networks import AnyWidth, BatchNormNet, images, seeded, two_classes
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.utils.data import TensorDataset

from skgrad import LODA, ConfoundingGradientTransformer
from skgrad.attacks import (
    adaptive_pgd,
    bim,
    carlini_wagner,
    cosine_similarity_attack,
    fgsm,
    foolbox_attack,
    fooling_images,
    iterative_least_likely,
    jsma,
    pgd,
    random_noise,
    rotate,
    semantic,
)

X = images(6, (2, 6, 6))
LOW, HIGH = np.array([-2.0, -1.5])[:, None, None], np.array([3.0, 2.0])[:, None, None]


def adaptive(model, X, y=None, **options):
    """Run adaptive PGD against a detector that is fitted for the model."""
    gradients = ConfoundingGradientTransformer(model, log=True)
    detector = make_pipeline(gradients, LODA(random_state=0))
    detector.fit(np.random.default_rng(0).uniform(size=(120, *np.shape(X)[1:])))
    return adaptive_pgd(model, X, y, detector=detector, n_steps=3, **options)


FEW_STEPS = {"n_steps": 3, "random_state": 0}
BY_GRADIENT = {
    "fgsm": fgsm,
    "bim": partial(bim, target="random", random_state=0),
    "bim, to success": partial(bim, stop_at_success=True),
    "pgd": partial(pgd, **FEW_STEPS),
    "pgd, l2": partial(pgd, norm="l2", loss="mse", **FEW_STEPS),
    "least likely": iterative_least_likely,
    "csa": partial(cosine_similarity_attack, **FEW_STEPS),
    "adaptive": partial(adaptive, random_state=0),
}
WITH_EPS = BY_GRADIENT | {
    "noise": partial(random_noise, random_state=0),
    "noise, l2": partial(random_noise, norm="l2", random_state=0),
}


def without_eps(attack):
    """Let an attack without eps be called as the others are."""
    return lambda model, X, y=None, *, eps=None, **options: attack(
        model, X, y, **options
    )


ATTACKS = {
    **WITH_EPS,
    "semantic": without_eps(semantic),
    "rotate": without_eps(partial(rotate, random_state=0)),
    "fooling": without_eps(
        partial(fooling_images, n_generations=4, n_children=2, random_state=0)
    ),
    "carlini wagner": without_eps(
        partial(carlini_wagner, n_steps=5, binary_search_steps=2, random_state=0)
    ),
    "jsma": without_eps(partial(jsma, target=1, gamma=0.1)),
}
RANDOM = ("pgd", "noise", "noise, l2", "rotate", "csa", "adaptive", "fooling")


def each(attacks):
    return pytest.mark.parametrize("attack", attacks.values(), ids=attacks)


@each(ATTACKS)
def test_bounds_per_channel_hold(attack):
    inputs = (LOW + (HIGH - LOW) * X).astype(np.float32)
    result = attack(seeded(BatchNormNet), inputs, eps=1.5, bounds=(LOW, HIGH))
    assert result.X_adv.shape == X.shape
    assert result.X_adv.dtype == np.float32
    assert (result.X_adv >= LOW - 1e-6).all()
    assert (result.X_adv <= HIGH + 1e-6).all()


@each(WITH_EPS)
def test_eps_holds_and_sizes_are_those_of_the_change(attack):
    result = attack(seeded(BatchNormNet), X, eps=0.3)
    change = (result.X_adv.astype(float) - X).reshape(6, -1)
    assert result.linf.max() <= 0.3 + 1e-6
    assert result.linf.max() > 0.01
    assert_allclose(result.linf, np.abs(change).max(axis=1), atol=1e-6)
    assert_allclose(result.l2, np.sqrt((change**2).sum(axis=1)), rtol=1e-5)
    assert_array_equal(result.l0, (change != 0).sum(axis=1))


@each(ATTACKS)
def test_batch_size_changes_nothing(attack):
    net = seeded(BatchNormNet).double()
    expected = attack(net, X[:5], eps=0.1, batch_size=5)
    for batch_size in (1, 3):
        result = attack(net, X[:5], eps=0.1, batch_size=batch_size)
        assert_allclose(result.X_adv, expected.X_adv, atol=1e-5)
        assert_array_equal(result.success, expected.success)


@each({name: ATTACKS[name] for name in RANDOM})
def test_same_seed_same_result(attack):
    net = seeded(BatchNormNet)
    first, second, other = (
        attack(net, X, eps=0.1, random_state=seed).X_adv for seed in (4, 4, 5)
    )
    assert_array_equal(first, second)
    assert not np.array_equal(first, other)


@each(ATTACKS)
def test_model_data_and_global_generators_are_unchanged(attack):
    net = seeded(BatchNormNet).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    tensor = torch.from_numpy(X.copy())
    attack(net, tensor, eps=0.1)
    assert all(part.training for part in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert_array_equal(tensor, X)


@each({name: attack for name, attack in ATTACKS.items() if name != "rotate"})
def test_rows_in_double_precision(attack):
    rows = np.random.default_rng(0).uniform(size=(5, 9))
    result = attack(AnyWidth(), rows, np.array([0, 1, 2, 0, 1]), eps=0.1)
    assert result.X_adv.dtype == np.float64
    assert result.X_adv.shape == (5, 9)


def test_kinds_of_inputs_and_labels_agree():
    rows = np.random.default_rng(0).uniform(size=(5, 4))
    y, attack = np.array([0, 1, 2, 0, 1]), partial(fgsm, AnyWidth(), eps=0.1)
    expected = attack(rows, y).X_adv
    for data in (rows.tolist(), torch.from_numpy(rows), pd.DataFrame(rows)):
        assert_array_equal(attack(data, y).X_adv, expected)
    for labels in (y.tolist(), torch.from_numpy(y), pd.Series(y), y.astype(np.uint8)):
        assert_array_equal(attack(rows, labels).X_adv, expected)


def test_bounds_in_any_memory_layout():
    low, high = (np.array(b)[:, None, None] for b in ([0, -0.5], [1.0, 1.5]))
    low, high = low.astype(">f8"), np.flip(np.flip(high).copy())
    low.flags.writeable = False
    result = fgsm(seeded(BatchNormNet), X, eps=2, bounds=(low, high))
    assert_array_equal(result.X_adv.max(axis=(0, 2, 3)), [1, 1.5])


def test_length_of_a_change_beyond_half_precision():
    net = nn.Linear(90_000, 2).half()
    result = semantic(net, np.zeros((1, 90_000)), bounds=(0, 255))
    assert result.X_adv.dtype == np.float16
    assert_allclose(result.l2, 255 * 300, rtol=1e-4)


def test_model_that_writes_into_its_input():
    class InPlace(nn.Linear):
        def forward(self, x):
            return super().forward(x.mul_(2).sub_(1))

    rows = images(5, (4,))
    for attack in (bim, random_noise):
        result = attack(seeded(lambda: InPlace(4, 3)), rows, eps=0.1)
        assert_allclose(result.linf, np.abs(result.X_adv - rows).max(axis=1), atol=1e-6)
        assert result.linf.max() <= 0.1 + 1e-6


def test_rounding_beyond_the_bounds_does_not_break_eps():
    rows = np.array([[1.000005, 0.5], [-0.000005, 0.5]])
    result = fgsm(two_classes(), rows, eps=1e-7)
    assert np.abs(result.X_adv - rows.astype(np.float32)).max() <= 2e-7


class SmallMemory(nn.Linear):
    """A network that has no memory for more than three samples."""

    def forward(self, x):
        if len(x) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(x)


def test_smaller_batches_where_memory_is_short():
    X, y = np.random.default_rng(0).uniform(size=(8, 4)), np.arange(8) % 3
    net = seeded(lambda: SmallMemory(4, 3))
    with pytest.warns(RuntimeWarning, match="Out of memory"):
        result = bim(net, X, y, eps=0.1, batch_size=8)
    expected = bim(net, X, y, eps=0.1, batch_size=3)
    assert_allclose(result.X_adv, expected.X_adv, atol=1e-6)
    assert_array_equal(result.success, expected.success)


def test_gradients_that_are_not_finite():
    class Root(nn.Linear):
        def forward(self, x):
            return super().forward(x.sqrt())

    for attack in (fgsm, bim, partial(cosine_similarity_attack, random_start=False)):
        with pytest.raises(ValueError, match="NaN or infinite gradients at X"):
            attack(seeded(lambda: Root(2, 3)), [[0.0, 0.5]], eps=0.1)


class Stepped(nn.Module):
    """Logits of rounded inputs: no gradient anywhere."""

    def __init__(self, function=torch.round):
        super().__init__()
        self.function, self.head = function, nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.function(x))


def linf_pgd_of_foolbox(model, X, **options):
    return foolbox_attack(model, X, attack="LinfPGD", **options)


@each({"fgsm": fgsm, "pgd, l2": BY_GRADIENT["pgd, l2"], "foolbox": linf_pgd_of_foolbox})
def test_models_without_a_gradient(attack):
    rows = np.random.default_rng(0).uniform(size=(5, 2))
    for batch_size in (1, 5):
        with pytest.raises(ValueError, match=r"differentiable.*exactly zero at every"):
            attack(Stepped(), rows, eps=0.1, batch_size=batch_size)
    # No gradient was needed where all inputs are misclassified from the start.
    with torch.no_grad():
        y = Stepped()(torch.from_numpy(rows).float()).argmax(dim=1).numpy()
    assert random_noise(Stepped(), rows, y, eps=0.1).linf[0] > 0
    detached = Stepped(lambda x: torch.eye(2)[x.argmax(dim=1)])
    with pytest.raises(ValueError, match=r"autograd reach its input.*argmax"):
        attack(detached, [[0.2, 0.5]], eps=0.1)


@each({name: BY_GRADIENT[name] for name in ("fgsm", "bim", "least likely")})
def test_a_few_samples_without_a_gradient_stay_where_they_are(attack):
    # The logits are relu(x - 1/2), without gradient where x is smaller.
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.weight.copy_(torch.eye(2))
            layer.bias.fill_(-0.5 if layer is net[0] else 0)
    rows = [[0.1, 0.1], [0.2, 0.2], [0.9, 0.7]]
    result = attack(net, rows, eps=0.3)
    assert_array_equal(result.linf[:2], 0)
    assert result.linf[2] > 0.1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": X[:, :1]}, r"model cannot take X: .*\(1, 6, 6\)"),
        ({"X": np.array(0.5)}, "at least one sample"),
        ({"X": X - 0.5}, r"X must lie within bounds; it spans \["),
        ({"X": X * 2}, r"X must lie within bounds; it spans \["),
        ({"X": X * np.nan}, "X must be finite"),
        ({"bounds": (1, 0)}, "bounds must have lowest < highest"),
        ({"bounds": (0, np.nan)}, "bounds must have lowest < highest"),
        ({"bounds": 1}, "bounds must be a pair"),
        ({"bounds": (np.zeros((3, 1, 1)), 1)}, r"broadcast to one sample of shape"),
        ({"y": [0]}, r"y must hold one value for each of the 6 samples"),
        ({"y": [7] * 6}, "y must hold classes 0 to 2.*got 7 to 7"),
        ({"target": "likely"}, "target must be None, one class.*'random'.*'likely'"),
        ({"target": 3}, "target must hold classes 0 to 2.*got 3 to 3"),
        ({"target": [1]}, "target must hold one value for each of the 6 samples"),
        ({"device": "abacus"}, "device must be None"),
    ],
)
def test_invalid_inputs(change, message):
    arguments = {"X": X, "eps": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        fgsm(seeded(BatchNormNet), **arguments)


def test_no_model_and_no_array():
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module"):
        fgsm("resnet", X, eps=0.1)
    with pytest.raises(TypeError, match="array or tensor; got the Dataset"):
        fgsm(two_classes(), TensorDataset(torch.ones(2, 2)), eps=0.1)


@each({"fgsm": fgsm, "bim": bim, "pgd": partial(pgd, n_steps=8)})
def test_targets_are_reached(attack):
    net = seeded(lambda: nn.Linear(5, 3), dtype=torch.float64)
    rows = np.random.default_rng(0).uniform(size=(30, 5))
    with torch.no_grad():
        logits = net(torch.from_numpy(rows))
    clean, least = logits.argmax(dim=1).numpy(), logits.argmin(dim=1).numpy()
    call = partial(attack, net, rows, eps=40, bounds=(-50, 50), random_state=3)
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
