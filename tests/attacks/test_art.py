"""ART through the adapter: equal results, seeds, targets, messages."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import AnyWidth, BatchNormNet, LeNet, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad.attacks import art_attack, jsma
from skgrad.attacks._library import import_library

X = images(6, (2, 6, 6))
evasion = import_library("art.attacks.evasion")
slow = partial(pytest.param, marks=pytest.mark.slow)
classification = import_library("art.estimators.classification")


def mirror(n_classes=4):
    """Make a network whose logits are its inputs."""
    net = nn.Linear(n_classes, n_classes, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.eye(n_classes))
    return net


def directly(net, make, y):
    """Call ART as its manual does."""
    classifier = classification.PyTorchClassifier(
        net.eval(),
        loss=nn.CrossEntropyLoss(),
        input_shape=X.shape[1:],
        nb_classes=3,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    return make(classifier, verbose=False).generate(X.copy(), y=y)


@pytest.mark.parametrize(
    ("name", "options", "target"),
    [
        ("BasicIterativeMethod", {"eps": 0.3, "max_iter": 5}, 2),
        slow("BasicIterativeMethod", {"eps": 0.3, "max_iter": 5}, None),
        slow("DeepFool", {"max_iter": 5, "batch_size": 6}, None),
        slow("SaliencyMapMethod", {"theta": 0.5}, 1),
    ],
)
def test_adapter_equals_art(name, options, target):
    net = seeded(BatchNormNet).eval()
    result = art_attack(net, X, attack=name, options=options, target=target)
    with torch.no_grad():
        y = net(torch.from_numpy(X)).argmax(dim=1).numpy()
    labels = y if target is None else np.full(6, target)
    if name == "BasicIterativeMethod":
        options = {**options, "targeted": target is not None}
    expected = directly(net, partial(getattr(evasion, name), **options), labels)
    assert_allclose(result.X_adv, expected, atol=1e-6)
    assert (result.l2 > 0).any()
    with torch.no_grad():
        predicted = net(torch.from_numpy(expected)).argmax(dim=1).numpy()
    assert_array_equal(result.predicted, predicted)
    assert_array_equal(result.success, (predicted == labels) == (target is not None))


def test_jsma_by_hand():
    # Of class 1 only the second value has a gradient; the other of the pair is any.
    attack = partial(jsma, mirror(), target=1)
    result = attack([[0.75, 0.5, 0.25, 0.0]], theta=0.3)
    assert_allclose(result.X_adv[0, 1], 0.8, atol=1e-6)
    assert result.success.all()
    assert result.l0.tolist() == [2]
    limited = attack([[0.9, 0.0, 0.0, 0.0]], theta=0.1, gamma=0.25)
    assert not limited.success.any()
    assert limited.l0.tolist() == [2]


def test_jsma_without_target_draws_one_for_each():
    # The fifth value has a small gradient for all classes: it completes each pair.
    net = nn.Linear(5, 4, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.eye(4, 5))
        net.weight[:, 4] = 0.1
    x = np.tile([0.51, 0.5, 0.5, 0.5, 0.5], (40, 1))
    attack = partial(jsma, net, x, theta=0.3)
    result = attack(random_state=0)
    assert result.success.all()
    assert set(result.predicted.tolist()) == {1, 2, 3}
    assert_array_equal(attack(random_state=0, batch_size=7).X_adv, result.X_adv)
    assert not np.array_equal(attack(random_state=1).X_adv, result.X_adv)
    # Any class but y counts where no target was given.
    other = attack(random_state=0, y=[3] * 40, gamma=0.01, theta=1e-6)
    assert other.success.all()


def test_unchanged_values_stay_exact():
    rows = np.random.default_rng(0).uniform(-1, 1, size=(5, 9))
    result = jsma(AnyWidth(), rows, bounds=(-1, 1), gamma=0.3, random_state=0)
    assert_array_equal(result.l0, (result.X_adv != rows).sum(axis=1))
    assert (result.l0 < 9).any()


def test_seeds_repeat():
    options = {"max_iter": 3, "eps": 0.3}
    call = {"attack": "SquareAttack", "options": options}
    attack = partial(art_attack, seeded(BatchNormNet), X, **call)
    first, second, other = (attack(random_state=s) for s in (4, 4, 5))
    assert_array_equal(first.X_adv, second.X_adv)
    assert not np.array_equal(first.X_adv, other.X_adv)


def test_attack_that_takes_one_input_at_a_time():
    rows = np.random.default_rng(0).uniform(size=(3, 4))
    options = {"use_resize": False, "use_importance": False, "nb_parallel": 4}
    options |= {"initial_const": 100, "learning_rate": 0.3}
    attack = partial(art_attack, AnyWidth(), rows, attack="ZooAttack", random_state=0)
    assert (attack(options={**options, "batch_size": 1}).l2 > 0).any()
    with pytest.raises(ValueError, match="batch_size=1"):
        attack(options=options)


def test_in_place_and_recurrent_networks():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(3, 4, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    for net, x in (
        (seeded(LeNet, seed=1), images(2, (1, 28, 28))),
        (seeded(Recurrent), images(2, (5, 3))),
    ):
        result = art_attack(net, x, attack="FastGradientMethod", options={"eps": 0.2})
        assert_allclose(result.linf, 0.2, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"attack": "DepFool"}, ValueError, "Did you mean .*DeepFool"),
        ({"attack": 3}, TypeError, "attack must be the name or the class of an"),
        ({"options": {"stes": 3}}, TypeError, "'stes'"),
        ({"options": {"targeted": True}}, ValueError, "must not hold 'targeted'"),
        ({"target": 1}, ValueError, "target must be None for DeepFool"),
        ({"bounds": (-np.inf, 1)}, ValueError, "bounds must be finite"),
        ({"y": [9] * 6}, ValueError, "y must hold classes 0 to 2"),
    ],
)
def test_invalid_arguments(change, error, message):
    arguments = {"X": X, "attack": "DeepFool", **change}
    with pytest.raises(error, match=message):
        art_attack(seeded(BatchNormNet), **arguments)
