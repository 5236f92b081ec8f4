"""The attacks of foolbox: equal results, seeds, starting points, messages."""

import random
from functools import partial

import numpy as np
import pytest
import torch
from networks import AnyWidth, BatchNormNet, LeNet, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad.attacks import brendel_bethge, carlini_wagner, foolbox_attack, pgd
from skgrad.attacks._library import import_library

X = images(6, (2, 6, 6))
foolbox = import_library("foolbox")
theirs = foolbox.attacks
slow = partial(pytest.param, marks=pytest.mark.slow)


def two_sums(n_features=4, meet=2.0):
    """Make a model of two classes that meet where the sum of the values is ``meet``."""
    net = nn.Linear(n_features, 2).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[-1.0], [1.0]]).expand(2, n_features))
        net.bias.copy_(torch.tensor([meet, -meet]))
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


@pytest.mark.parametrize(
    ("norm", "eps", "targeted"),
    [("l2", 1.0, True), slow("l2", 1.0, False), slow("linf", 0.05, True)],
)
def test_pgd_equals_that_of_foolbox(norm, eps, targeted):
    # In float64, so that rounding turns no sign.
    net = seeded(LeNet, seed=2, dtype=torch.float64).eval()
    clean = images(16, (1, 28, 28), seed=1).astype(float)
    other = (theirs.L2PGD if norm == "l2" else theirs.LinfPGD)(**STEPS)
    target = None
    if targeted:  # the runner-up
        target = net(torch.from_numpy(clean)).argsort(dim=1)[:, -2]
    walk = {"step_size": eps / 5, "n_steps": 8, "random_start": False}
    result = pgd(net, clean, target=target, eps=eps, norm=norm, **walk)
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
        slow("L2CarliniWagnerAttack", CARLINI_WAGNER, None, None),
        slow("LinfPGD", {"steps": 10, "random_start": False}, 0.5, 2),
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
    attack = partial(carlini_wagner, two_sums(), n_steps=100, learning_rate=0.02)
    result = attack(x)
    assert result.success.all()
    # The sum of the values is off by 0.4 and 0.7, and has a gradient of length 2.
    assert_allclose(result.l2, [0.2, 0.35], rtol=0.02)
    # The logits differ by twice the sum's excess over 2.
    assert_allclose(attack(x[:1], target=1, confidence=0.8).l2, 0.4, rtol=0.03)
    # Class 1 is beyond the bounds: inputs stay clean.
    failed = carlini_wagner(two_sums(meet=9.0), x, n_steps=5, binary_search_steps=2)
    assert_array_equal(failed.X_adv, x)
    assert not failed.success.any()


@pytest.mark.slow  # numba compiles the solver
@pytest.mark.filterwarnings("ignore:At the first initialisation:UserWarning")
@pytest.mark.parametrize(("norm", "size"), [("linf", 0.1), ("l2", 0.2)])
def test_brendel_bethge_finds_the_nearest_point(norm, size):
    x = np.array([[0.4, 0.4, 0.4, 0.4], [0.6, 0.6, 0.6, 0.6]])
    attack = partial(brendel_bethge, two_sums(), norm=norm, learning_rate=0.05)
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
    assert foolbox_attack(two_sums(), x, **call).success.all()
    # There is none: inputs stay clean.
    none = foolbox_attack(two_sums(meet=9.0), x, **call)
    assert_array_equal(none.X_adv, x)
    assert not none.success.any()
    # Noise hardly ever sums up to 35 of 40, so it is found by gradient.
    net, x = two_sums(40, meet=35.0), np.full((2, 40), 0.5)
    assert foolbox_attack(net, x, **call).success.all()
    # The attack finds its start itself.
    start = theirs.BinarySearchContrastReductionAttack(target=1.0)
    call["options"]["init_attack"] = start
    assert foolbox_attack(net, x, **call).success.all()


def test_values_that_an_attack_makes_nan_stay_clean():
    class Broken(theirs.LinfFastGradientAttack):
        def run(self, model, inputs, criterion, *, epsilon, **kwargs):
            found = inputs + 0.1
            found.raw[1] = torch.nan
            model(found)
            return found

    x = np.full((3, 4), 0.4)
    result = foolbox_attack(two_sums(), x, attack=Broken, eps=0.3)
    assert_array_equal(result.X_adv[1], x[1])
    assert_allclose(result.X_adv[[0, 2]], 0.5, atol=1e-6)


def test_bounds_of_one_width_keep_the_units_of_x():
    low = np.array([-1.0, 2.0])[:, None, None]
    shifted = (X + low).astype(np.float32)
    net = seeded(BatchNormNet)
    result = foolbox_attack(net, shifted, attack="FGSM", eps=0.1, bounds=(low, low + 1))
    assert_allclose(result.linf, 0.1, atol=1e-5)
    # In float32 an upper bound of 0.3 is larger.
    x, net = np.array([[0.3, 0.2]]), two_sums(2, meet=1.0)
    result = foolbox_attack(net, x, attack="FGSM", eps=0.1, bounds=(0, 0.3))
    assert result.X_adv.max() <= 0.3


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
        ({"bounds": (0, np.inf)}, ValueError, "bounds must be finite"),
        ({"X": np.array(0.5)}, ValueError, "at least one sample"),
    ],
)
def test_invalid_arguments(change, error, message):
    arguments = {"X": X, "attack": "LinfDeepFoolAttack", **change}
    with pytest.raises(error, match=message):
        foolbox_attack(seeded(BatchNormNet), **arguments)


def test_errors_of_foolbox_have_a_note():
    with pytest.raises(ValueError, match="criterion") as caught:
        foolbox_attack(seeded(BatchNormNet), X, attack="NewtonFoolAttack", target=1)
    (note,) = caught.value.__notes__
    assert "Raised while NewtonFoolAttack attacked inputs of shape (2, 6, 6)" in note
