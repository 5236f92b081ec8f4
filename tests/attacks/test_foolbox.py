"""foolbox through the adapter: its own results, and the promises of all attacks."""

import os
import random
import sys
from functools import partial

import numpy as np
import pytest
import torch
from networks import AnyWidth, BatchNormNet, LeNet, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad.attacks import brendel_bethge, carlini_wagner, foolbox_attack
from skgrad.attacks._library import import_library

X = images(6, (2, 6, 6))
foolbox = import_library("foolbox")
bethge = sys.modules["foolbox.attacks.brendel_bethge"]


@pytest.fixture
def interpreted(monkeypatch):
    """Let the solver of Brendel and Bethge run uncompiled: compiling takes minutes."""
    for name in ("BFGSB", "LinfOptimizer", "L2Optimizer"):
        compiled = getattr(bethge, name)
        methods = compiled.class_type.jit_methods
        plain = {key: method.py_func for key, method in methods.items()}
        signatures = type("Constructor", (), {"signatures": ["not to be compiled"]})
        plain["_ctor"] = signatures
        monkeypatch.setattr(bethge, name, type(name, (), plain))


CARLINI_WAGNER = {
    "steps": 20,
    "stepsize": 0.2,
    "binary_search_steps": 2,
    "initial_const": 9.0,
}


def squares(n_features=4):
    """Two classes that meet where the sum of the values is half their number."""
    net = nn.Linear(n_features, 2).double()
    with torch.no_grad():
        net.weight.copy_(torch.stack([-torch.ones(n_features), torch.ones(n_features)]))
        net.bias.copy_(torch.tensor([n_features / 2, -n_features / 2]))
    return net


def directly(net, attack, X, eps=None, target=None, bounds=(0, 1)):
    """Call foolbox as its manual does."""
    x = torch.from_numpy(X)
    labels = net(x).argmax(dim=1)
    goal = foolbox.Misclassification(labels)
    if target is not None:
        goal = foolbox.TargetedMisclassification(torch.full_like(labels, target))
    model = foolbox.PyTorchModel(net.eval(), bounds=bounds, device="cpu")
    _, found, success = attack(model, x, goal, epsilons=eps)
    return found.detach().numpy(), success.numpy()


@pytest.mark.parametrize(
    ("name", "options", "eps"),
    [
        ("LinfDeepFoolAttack", {"steps": 5}, None),
        ("L2CarliniWagnerAttack", CARLINI_WAGNER, None),
        ("LinfFastGradientAttack", {}, 0.2),
        ("DDNAttack", {"steps": 10}, None),
        ("L0FMNAttack", {"steps": 10}, 9),
        ("LinfDeepFoolAttack", {"steps": 5}, 0.3),
    ],
)
def test_agrees_with_foolbox_itself(name, options, eps):
    net = seeded(BatchNormNet).eval()
    result = foolbox_attack(net, X, attack=name, options=options, eps=eps)
    attack = getattr(foolbox.attacks, name)(**options)
    X_adv, success = directly(net, attack, X, eps)
    assert_array_equal(result.success, success)
    assert success.any()
    assert_allclose(result.X_adv[success], X_adv[success], atol=1e-6)


def test_targets_are_reached():
    net = seeded(BatchNormNet).eval()
    attack = foolbox.attacks.LinfPGD(steps=10, random_start=False)
    result = foolbox_attack(net, X, attack=attack, eps=0.5, target=2)
    X_adv, success = directly(net, attack, X, 0.5, target=2)
    assert_allclose(result.X_adv, X_adv, atol=1e-6)
    assert_array_equal(result.success, success)
    assert_array_equal(result.success, result.predicted == 2)


def test_carlini_wagner_finds_the_nearest_point():
    x = np.array([[0.4, 0.4, 0.4, 0.4], [0.7, 0.7, 0.7, 0.6]])
    result = carlini_wagner(squares(), x, n_steps=100, step_size=0.02)
    assert result.success.all()
    # The sum of the values is off by 0.4 and 0.7, and has a gradient of length 2.
    assert_allclose(result.l2, [0.2, 0.35], rtol=0.02)


def test_confidence_leads_farther():
    x = np.array([[0.4, 0.4, 0.4, 0.4]])
    attack = partial(carlini_wagner, squares(), x, n_steps=100, step_size=0.02)
    # The logits differ by twice the sum's excess over 2.
    assert_allclose(attack(confidence=0.8).l2, 0.4, rtol=0.03)
    assert_allclose(attack(target=1, confidence=0.8).l2, 0.4, rtol=0.03)


# Uncompiled, the solver warns of 0 times infinity, exactly on the boundary.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize(("norm", "size"), [("linf", 0.1), ("l2", 0.2)])
def test_brendel_bethge_finds_the_nearest_point(norm, size):
    x = np.array([[0.4, 0.4, 0.4, 0.4], [0.6, 0.6, 0.6, 0.6]])
    attack = partial(
        brendel_bethge, squares(), norm=norm, n_steps=100, learning_rate=0.05
    )
    result = attack(x, random_state=0)
    assert result.success.all()
    assert_allclose(getattr(result, norm), size, rtol=0.05)
    # Alone as in company, and only what is within eps counts.
    alone = attack(x, batch_size=1, random_state=0)
    assert_allclose(alone.X_adv, result.X_adv, atol=1e-5)
    assert not attack(x, eps=size * 0.8, random_state=0).success.any()
    assert attack(x, eps=size * 1.2, random_state=0).success.all()


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("name", ["LinfinityBrendelBethge", "L2BrendelBethge"])
def test_brendel_bethge_agrees_with_foolbox_itself(name):
    init_attack = foolbox.attacks.BinarySearchContrastReductionAttack(target=1.0)
    attack = getattr(bethge, f"{name}Attack")(
        init_attack=init_attack, steps=20, lr=0.01
    )
    net = squares().float()
    x = np.array([[0.4, 0.3, 0.2, 0.4], [0.1, 0.3, 0.4, 0.2]], dtype=np.float32)
    result = foolbox_attack(net, x, attack=attack)
    assert_allclose(result.X_adv, directly(net, attack, x)[0], atol=1e-6)
    assert result.success.all()


@pytest.mark.usefixtures("interpreted")
def test_inputs_without_a_start_stay_clean():
    net = squares()
    with torch.no_grad():
        # Only the first value counts, and class 1 lies beyond the bounds.
        net.bias.copy_(torch.tensor([9.0, -9.0]))
    x = np.array([[0.4, 0.4, 0.4, 0.4]])
    result = brendel_bethge(net, x, n_steps=2, random_state=0)
    assert_array_equal(result.X_adv, x)
    assert not result.success.any()
    mixed = foolbox_attack(
        squares(), x, [1], attack="HopSkipJumpAttack", options={"steps": 1}
    )
    assert mixed.success.all()


@pytest.mark.usefixtures("interpreted")
def test_starts_are_found_by_gradient_where_noise_is_of_one_class():
    net = squares(40)
    with torch.no_grad():
        net.bias.copy_(torch.tensor([35.0, -35.0]))  # the sum must exceed 35 of 40
    x = np.full((2, 40), 0.5)
    result = brendel_bethge(net, x, n_steps=5, random_state=0)
    assert result.success.all()


def test_failures_stay_clean():
    net = squares()
    with torch.no_grad():
        net.bias.copy_(torch.tensor([9.0, -9.0]))
    x = np.array([[0.4, 0.3, 0.2, 0.1]])
    result = carlini_wagner(net, x, n_steps=5, binary_search_steps=2)
    assert_array_equal(result.X_adv, x)
    assert result.l0.tolist() == [0]
    assert not result.success.any()


def test_numbers_that_an_attack_breaks_are_dropped():
    class Breaker(foolbox.attacks.LinfFastGradientAttack):
        def run(self, model, inputs, criterion, *, epsilon, **kwargs):
            found = inputs + 0.1
            found.raw[1] = torch.nan if hasattr(found, "raw") else 0
            model(found)
            return found

    x = np.full((3, 4), 0.4)
    result = foolbox_attack(squares(), x, attack=Breaker(), eps=0.3)
    assert np.isfinite(result.X_adv).all()
    assert_array_equal(result.X_adv[1], x[1])


def test_bounds_of_one_width_keep_the_units_of_x():
    low = np.array([-1.0, 2.0])[:, None, None]
    shifted = (X + low).astype(np.float32)
    net = seeded(BatchNormNet)
    result = foolbox_attack(net, shifted, attack="FGSM", eps=0.1, bounds=(low, low + 1))
    assert_allclose(result.linf, 0.1, atol=1e-5)
    assert (result.X_adv >= low - 1e-6).all()
    assert (result.X_adv <= low + 1 + 1e-6).all()


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


def test_rows_in_float64_keep_what_is_not_changed():
    net = AnyWidth()
    rows = np.random.default_rng(0).uniform(-1, 1, size=(5, 9))
    result = foolbox_attack(
        net, rows, attack="L0FMNAttack", options={"steps": 5}, bounds=(-1, 1)
    )
    assert result.X_adv.dtype == np.float64
    assert_array_equal(result.l0, (result.X_adv != rows).sum(axis=1))
    assert (result.l0 < 9).any()


@pytest.mark.parametrize(
    "attack",
    [
        partial(foolbox_attack, attack="LinfPGD", options={"steps": 2}, eps=0.1),
        partial(
            foolbox_attack,
            attack="SaltAndPepperNoiseAttack",
            options={"steps": 3, "across_channels": True},
        ),
    ],
)
def test_seeds_repeat_and_global_generators_are_untouched(attack):
    net = seeded(BatchNormNet)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, second, other = (attack(net, X, random_state=s) for s in (4, 4, 5))
    assert_array_equal(first.X_adv, second.X_adv)
    assert not np.array_equal(first.X_adv, other.X_adv)
    assert random.getstate() == before[0]
    assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


def test_batch_size_changes_nothing():
    net = seeded(BatchNormNet).double()
    attack = partial(carlini_wagner, net, X, n_steps=10, binary_search_steps=2)
    expected = attack().X_adv
    for batch_size in (1, 4):
        assert_allclose(attack(batch_size=batch_size).X_adv, expected, atol=1e-5)


def test_model_and_data_are_left_as_they_were():
    net = seeded(BatchNormNet).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    tensor = torch.from_numpy(X.copy())
    carlini_wagner(net, tensor, n_steps=2, binary_search_steps=1)
    assert all(part.training for part in net.modules())
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert_array_equal(tensor, X)


def test_in_place_networks():
    net = seeded(LeNet, seed=1)
    result = foolbox_attack(net, images(3, (1, 28, 28)), attack="DDNAttack")
    assert result.success.all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"attack": "DeepFol"}, ValueError, "Did you mean .*DeepFoolAttack"),
        ({"attack": 3}, TypeError, "attack must be the name, the class or an inst"),
        ({"options": {"stes": 3}}, ValueError, "options must be .*'stes'"),
        ({"options": 3}, ValueError, "'options' parameter"),
        ({"attack": "FGSM"}, ValueError, "eps must be a positive number for LinfFast"),
        ({"eps": 0}, ValueError, "'eps' parameter"),
        ({"bounds": (0, np.inf)}, ValueError, "bounds must be finite"),
        ({"target": 7}, ValueError, "target must hold classes 0 to 2"),
        (
            {"attack": "NewtonFoolAttack", "target": 1},
            ValueError,
            "target must be None",
        ),
        ({"X": X * 2}, ValueError, "X must lie within bounds"),
        (
            {"attack": foolbox.attacks.DDNAttack(), "options": {"steps": 3}},
            ValueError,
            "options must be None for an instance",
        ),
    ],
)
def test_bad_input(change, error, message):
    arguments = {
        "model": seeded(BatchNormNet),
        "X": X,
        "attack": "LinfDeepFoolAttack",
        **change,
    }
    with pytest.raises(error, match=message):
        foolbox_attack(arguments.pop("model"), arguments.pop("X"), **arguments)


def test_bad_options_of_named_attacks():
    for options in ({"n_steps": 0}, {"confidence": -1}, {"step_size": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            carlini_wagner(squares(), [[0.4] * 4], **options)
    for options in ({"norm": "l0"}, {"learning_rate": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            brendel_bethge(squares(), [[0.4] * 4], **options)


@pytest.mark.parametrize("name", ["foolbox", "art"])
def test_missing_packages_are_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delenv("GIT_PYTHON_REFRESH", raising=False)
    with pytest.raises(ImportError, match=rf'needs {name}.*"skgrad\[attacks\]"'):
        import_library(name)
    assert "GIT_PYTHON_REFRESH" not in os.environ


def test_import_leaves_the_environment(monkeypatch):
    monkeypatch.delenv("GIT_PYTHON_REFRESH", raising=False)
    import_library("foolbox")
    assert "GIT_PYTHON_REFRESH" not in os.environ
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "raise")
    import_library("foolbox")
    assert os.environ["GIT_PYTHON_REFRESH"] == "raise"
