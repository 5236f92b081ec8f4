"""The attacks of foolbox: equal results, seeds, starting points, messages."""

import random
import sys
from functools import partial

import numpy as np
import pytest
import torch
from networks import AnyWidth, BatchNormNet, LeNet, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad.attacks import (
    bim,
    brendel_bethge,
    carlini_wagner,
    fgsm,
    foolbox_attack,
    pgd,
)
from skgrad.attacks._library import import_library

X = images(6, (2, 6, 6))
foolbox = import_library("foolbox")
theirs = foolbox.attacks
slow = partial(pytest.param, marks=pytest.mark.slow)


def squares(n_features=4):
    """Make a model of two classes that meet where the sum is half the number."""
    net = nn.Linear(n_features, 2).double()
    with torch.no_grad():
        net.weight.copy_(torch.stack([-torch.ones(n_features), torch.ones(n_features)]))
        net.bias.copy_(torch.tensor([n_features / 2, -n_features / 2]))
    return net


def one_class():
    """Make the same model with class 1 beyond the bounds."""
    net = squares()
    with torch.no_grad():
        net.bias.copy_(torch.tensor([9.0, -9.0]))
    return net


def directly(net, attack, X, eps=None, target=None):
    """Call foolbox as its manual does."""
    x = torch.from_numpy(X)
    labels = net(x).argmax(dim=1)
    goal = foolbox.Misclassification(labels)
    if target is not None:
        target = torch.as_tensor(target).expand(len(labels))
        goal = foolbox.TargetedMisclassification(target)
    model = foolbox.PyTorchModel(net.eval(), bounds=(0, 1), device="cpu")
    _, found, success = attack(model, x, goal, epsilons=eps)
    return found.detach().numpy(), success.numpy()


STEPS = {"rel_stepsize": 0.2, "steps": 8, "random_start": False}
WALK = {"step_size": 0.01, "n_steps": 8, "eps": 0.05}
L2_WALK = {"step_size": 0.2, "n_steps": 8, "eps": 1.0, "norm": "l2"}
PAIRS = {
    "pgd, l2": (
        partial(pgd, random_start=False, **L2_WALK),
        theirs.L2PGD(**STEPS),
    ),
    "fgsm": (partial(fgsm, eps=0.05), theirs.LinfFastGradientAttack()),
    "bim": (partial(bim, **WALK), theirs.LinfBasicIterativeAttack(**STEPS)),
    "pgd": (partial(pgd, random_start=False, **WALK), theirs.LinfPGD(**STEPS)),
}


@pytest.mark.parametrize(
    ("name", "targeted"),
    [
        ("pgd, l2", True),
        slow("pgd, l2", False),
        slow("pgd", False),
        slow("pgd", True),
        slow("bim", False),
        slow("bim", True),
        slow("fgsm", False),
    ],
)
def test_own_attacks_equal_those_of_foolbox(name, targeted):
    # In float64, so that rounding turns no sign.
    net = seeded(LeNet, seed=2, dtype=torch.float64).eval()
    clean = images(16, (1, 28, 28), seed=1).astype(float)
    attack, other = PAIRS[name]
    target = None
    if targeted:  # the runner-up
        target = net(torch.from_numpy(clean)).argsort(dim=1)[:, -2]
    eps = attack.keywords["eps"]
    result = attack(net, clean, target=target)
    expected, success = directly(net, other, clean, eps, target)
    assert np.abs(result.X_adv - expected).max() < 1e-9
    assert_array_equal(result.success, success)
    assert result.success.any()
    assert result.linf.max() > 0.01


CARLINI_WAGNER = {"steps": 20, "stepsize": 0.2, "initial_const": 9.0}


@pytest.mark.parametrize(
    ("name", "options", "eps", "target"),
    [
        ("LinfDeepFoolAttack", {"steps": 5}, 0.3, None),
        slow("LinfDeepFoolAttack", {"steps": 5}, None, None),
        slow("L2CarliniWagnerAttack", CARLINI_WAGNER, None, None),
        slow("LinfFastGradientAttack", {}, 0.2, None),
        slow("LinfPGD", {"steps": 10, "random_start": False}, 0.5, 2),
        slow("DDNAttack", {"steps": 10}, None, None),
        slow("L0FMNAttack", {"steps": 10}, 9, None),
    ],
)
def test_adapter_equals_foolbox(name, options, eps, target):
    net = seeded(BatchNormNet).eval()
    call = {"attack": name, "options": options, "eps": eps, "target": target}
    result = foolbox_attack(net, X, **call)
    attack = getattr(theirs, name)(**options)
    X_adv, success = directly(net, attack, X, eps, target)
    assert_array_equal(result.success, success)
    assert success.any()
    assert_allclose(result.X_adv[success], X_adv[success], atol=1e-6)


def test_carlini_wagner_finds_the_nearest_point():
    x = np.array([[0.4, 0.4, 0.4, 0.4], [0.7, 0.7, 0.7, 0.6]])
    attack = partial(carlini_wagner, squares(), n_steps=100, learning_rate=0.02)
    result = attack(x)
    assert result.success.all()
    # The sum of the values is off by 0.4 and 0.7, and has a gradient of length 2.
    assert_allclose(result.l2, [0.2, 0.35], rtol=0.02)
    # The logits differ by twice the sum's excess over 2.
    assert_allclose(attack(x[:1], target=1, confidence=0.8).l2, 0.4, rtol=0.03)


@pytest.mark.slow  # numba compiles the solver
@pytest.mark.filterwarnings("ignore:At the first initialisation:UserWarning")
@pytest.mark.parametrize(("norm", "size"), [("linf", 0.1), ("l2", 0.2)])
def test_brendel_bethge_finds_the_nearest_point(norm, size):
    x = np.array([[0.4, 0.4, 0.4, 0.4], [0.6, 0.6, 0.6, 0.6]])
    attack = partial(brendel_bethge, squares(), norm=norm, learning_rate=0.05)
    result = attack(x, random_state=0)
    assert result.success.all()
    assert_allclose(getattr(result, norm), size, rtol=0.05)
    # The same alone, and only what is within eps counts.
    alone = attack(x, batch_size=1, random_state=0)
    assert_allclose(alone.X_adv, result.X_adv, atol=1e-5)
    assert not attack(x, eps=size * 0.8, random_state=0).success.any()
    assert attack(x, eps=size * 1.2, random_state=0).success.all()


def test_starting_points():
    call = {"attack": "HopSkipJumpAttack", "options": {"steps": 1}, "random_state": 0}
    x = np.array([[0.4, 0.4, 0.4, 0.4]])
    assert foolbox_attack(squares(), x, **call).success.all()
    # There is none: inputs stay clean.
    none = foolbox_attack(one_class(), x, **call)
    assert_array_equal(none.X_adv, x)
    assert not none.success.any()
    # Noise hardly ever sums up to 35 of 40, so it is found by gradient.
    net = squares(40)
    with torch.no_grad():
        net.bias.copy_(torch.tensor([35.0, -35.0]))
    assert foolbox_attack(net, np.full((2, 40), 0.5), **call).success.all()
    # The attack finds its start itself.
    start = theirs.BinarySearchContrastReductionAttack(target=1.0)
    call["options"]["init_attack"] = start
    assert foolbox_attack(squares(), x, **call).success.all()


def test_inputs_that_carlini_wagner_fails_on_stay_clean():
    x = np.array([[0.4, 0.3, 0.2, 0.1]])
    result = carlini_wagner(one_class(), x, n_steps=5, binary_search_steps=2)
    assert_array_equal(result.X_adv, x)
    assert result.l0.tolist() == [0]
    assert not result.success.any()


def test_values_that_an_attack_makes_nan_stay_clean():
    class Broken(theirs.LinfFastGradientAttack):
        def run(self, model, inputs, criterion, *, epsilon, **kwargs):
            found = inputs + 0.1
            found.raw[1] = torch.nan
            model(found)
            return found

    x = np.full((3, 4), 0.4)
    result = foolbox_attack(squares(), x, attack=Broken, eps=0.3)
    assert_array_equal(result.X_adv[1], x[1])
    assert_allclose(result.X_adv[[0, 2]], 0.5, atol=1e-6)


def test_bounds_of_one_width_keep_the_units_of_x():
    low = np.array([-1.0, 2.0])[:, None, None]
    shifted = (X + low).astype(np.float32)
    net = seeded(BatchNormNet)
    result = foolbox_attack(net, shifted, attack="FGSM", eps=0.1, bounds=(low, low + 1))
    assert_allclose(result.linf, 0.1, atol=1e-5)
    wide = foolbox_attack(net, X * 4, attack="FGSM", eps=0.1, bounds=(-1, 5))
    assert_allclose(wide.linf, 0.1, atol=1e-5)


def test_bounds_of_several_widths_give_shares():
    # What a normalised net takes in normalised units, the whole net takes in [0, 1].
    mean = torch.tensor([0.4, 0.6])[:, None, None]
    std = torch.tensor([0.2, 0.3])[:, None, None]
    net = seeded(BatchNormNet).eval()

    class Whole(nn.Module):
        def forward(self, x):
            return net((x - mean) / std)

    expected = foolbox_attack(Whole(), X, attack="FGSM", eps=0.1)
    normalised = (X - mean.numpy()) / std.numpy()
    bounds = (-mean / std).numpy(), ((1 - mean) / std).numpy()
    result = foolbox_attack(net, normalised, attack="FGSM", eps=0.1, bounds=bounds)
    back = result.X_adv * std.numpy() + mean.numpy()
    assert_allclose(back, expected.X_adv, atol=1e-5)


def test_upper_bound_that_float32_rounds_up():
    x = np.array([[0.3, 0.2]])
    result = foolbox_attack(squares(2), x, attack="FGSM", eps=0.1, bounds=(0, 0.3))
    assert result.X_adv.max() <= 0.3


def test_unchanged_values_stay_exact():
    rows = np.random.default_rng(0).uniform(-1, 1, size=(5, 9))
    call = {"attack": "L0FMNAttack", "options": {"steps": 5}, "bounds": (-1, 1)}
    result = foolbox_attack(AnyWidth(), rows, **call)
    assert_array_equal(result.l0, (result.X_adv != rows).sum(axis=1))
    assert (result.l0 < 9).any()


def test_seeds_repeat_and_global_generators_are_unchanged():
    options = {"steps": 3, "across_channels": True}
    call = {"attack": "SaltAndPepperNoiseAttack", "options": options}
    attack = partial(foolbox_attack, seeded(BatchNormNet), X, **call)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, second, other = (attack(random_state=s) for s in (4, 4, 5))
    assert_array_equal(first.X_adv, second.X_adv)
    assert not np.array_equal(first.X_adv, other.X_adv)
    assert random.getstate() == before[0]
    assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"attack": "DeepFol"}, ValueError, "Did you mean .*DeepFoolAttack"),
        ({"attack": 3}, ValueError, "attack must be the name or the class of an att"),
        ({"options": {"stes": 3}}, TypeError, "'stes'"),
        ({"options": 3}, ValueError, "'options' parameter"),
        ({"attack": "FGSM"}, ValueError, "eps must be a positive number for LinfFast"),
        ({"eps": 0}, ValueError, "'eps' parameter"),
        ({"bounds": (0, np.inf)}, ValueError, "bounds must be finite"),
        ({"X": np.array(0.5)}, ValueError, "at least one sample"),
    ],
)
def test_invalid_arguments(change, error, message):
    arguments = {"X": X, "attack": "LinfDeepFoolAttack", **change}
    with pytest.raises(error, match=message):
        foolbox_attack(seeded(BatchNormNet), **arguments)


@pytest.mark.parametrize(
    ("attack", "target"), [("NewtonFoolAttack", 1), ("GenAttack", None)]
)
def test_errors_of_foolbox_have_a_note(attack, target):
    with pytest.raises(ValueError, match="criterion") as caught:
        foolbox_attack(seeded(BatchNormNet), X, attack=attack, eps=0.1, target=target)
    assert f"Raised while {attack} attacked inputs of shape (2, 6, 6)" in str(
        caught.value.__notes__
    )


def test_models_without_a_gradient():
    class Detached(nn.Linear):
        def forward(self, x):
            return super().forward(x.detach())

    class Rounded(nn.Linear):
        def forward(self, x):
            return super().forward(x.round())

    attack = partial(foolbox_attack, X=[[0.2, 0.4]], attack="LinfPGD", eps=0.1)
    with pytest.raises(ValueError, match="must let autograd reach its input"):
        attack(seeded(lambda: Detached(2, 2)))
    with pytest.raises(ValueError, match="must be differentiable"):
        attack(seeded(lambda: Rounded(2, 2)))


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(ImportError, match=r'needs foolbox.*"skgrad\[attacks\]"'):
        import_library("foolbox")
