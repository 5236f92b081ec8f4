"""ART through the adapter: its own results, and the promises of all attacks."""

import random
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
classification = import_library("art.estimators.classification")


def mirror(n_classes=4):
    """A net whose logits are its inputs."""
    net = nn.Linear(n_classes, n_classes, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.eye(n_classes))
    return net


def directly(net, make, y=None):
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
        ("DeepFool", {"max_iter": 5, "batch_size": 6}, None),
        ("BasicIterativeMethod", {"eps": 0.3, "max_iter": 5}, None),
        ("BasicIterativeMethod", {"eps": 0.3, "max_iter": 5}, 2),
        ("SaliencyMapMethod", {"theta": 0.5}, 1),
    ],
)
def test_agrees_with_art_itself(name, options, target):
    net = seeded(BatchNormNet).eval()
    result = art_attack(net, X, attack=name, options=options, target=target)
    if target is not None:
        y = np.full(6, target)
        if name == "BasicIterativeMethod":
            options = {**options, "targeted": True}
    else:
        y = net(torch.from_numpy(X)).argmax(dim=1).numpy()
    expected = directly(net, partial(getattr(evasion, name), **options), y)
    assert_allclose(result.X_adv, expected, atol=1e-6)
    assert (result.l2 > 0).any()
    with torch.no_grad():
        predicted = net(torch.from_numpy(expected)).argmax(dim=1).numpy()
    assert_array_equal(result.predicted, predicted)
    assert_array_equal(result.success, predicted == y if target else predicted != y)


def test_jsma_by_hand():
    # Of class 1 only the second value speaks; the other of the pair is arbitrary.
    result = jsma(mirror(), [[0.75, 0.5, 0.25, 0.0]], target=1, theta=0.3)
    assert_allclose(result.X_adv[0, 1], 0.8, atol=1e-6)
    assert result.success.all()
    assert result.l0.tolist() == [2]


def test_jsma_without_target_draws_one_for_each():
    # The fifth value speaks for all classes a little: it is the other of each pair.
    net = nn.Linear(5, 4, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.eye(4, 5))
        net.weight[:, 4] = 0.1
    x = np.tile([0.51, 0.5, 0.5, 0.5, 0.5], (40, 1))
    attack = partial(jsma, net, x, theta=0.3)
    result = attack(random_state=0)
    assert result.success.all()
    assert set(result.predicted.tolist()) == {1, 2, 3}
    assert_array_equal(attack(random_state=0).X_adv, result.X_adv)
    assert_array_equal(attack(random_state=0, batch_size=7).X_adv, result.X_adv)
    assert not np.array_equal(attack(random_state=1).X_adv, result.X_adv)


def test_jsma_gives_up_at_gamma():
    x = [[0.9, 0.0, 0.0, 0.0]]
    result = jsma(mirror(), x, target=1, theta=0.1, gamma=0.25)
    assert not result.success.any()
    assert result.l0.tolist() == [2]


def test_rows_in_float64_keep_what_is_not_changed():
    rows = np.random.default_rng(0).uniform(-1, 1, size=(5, 9))
    result = jsma(AnyWidth(), rows, bounds=(-1, 1), gamma=0.3, random_state=0)
    assert result.X_adv.dtype == np.float64
    assert_array_equal(result.l0, (result.X_adv != rows).sum(axis=1))
    assert (result.l0 < 9).any()


def test_bounds_of_several_widths_give_shares():
    mean = torch.tensor([0.4, 0.6])[:, None, None]
    std = torch.tensor([0.2, 0.3])[:, None, None]
    net = seeded(BatchNormNet).eval()

    class Whole(nn.Module):
        def forward(self, x):
            return net((x - mean) / std)

    attack = partial(art_attack, attack="FastGradientMethod", options={"eps": 0.1})
    expected = attack(Whole(), X)
    normalised = (X - mean.numpy()) / std.numpy()
    bounds = (-mean / std).numpy(), ((1 - mean) / std).numpy()
    result = attack(net, normalised, bounds=bounds)
    back = result.X_adv * std.numpy() + mean.numpy()
    assert_allclose(back, expected.X_adv, atol=1e-5)


def test_seeds_repeat_and_global_generators_are_untouched():
    net = seeded(BatchNormNet)
    options = {"max_iter": 3, "eps": 0.3}
    attack = partial(art_attack, net, X, attack="SquareAttack", options=options)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, second, other = (attack(random_state=s) for s in (4, 4, 5))
    assert_array_equal(first.X_adv, second.X_adv)
    assert not np.array_equal(first.X_adv, other.X_adv)
    assert random.getstate() == before[0]
    assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("name", ["DeepFool", "SaliencyMapMethod"])
def test_model_and_data_are_left_as_they_were(name):
    net = seeded(BatchNormNet).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    tensor = torch.from_numpy(X.copy())
    art_attack(net, tensor, attack=name)
    assert all(part.training for part in net.modules())
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert_array_equal(tensor, X)


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
        ({"options": {"stes": 3}}, ValueError, "options must be .*'stes'"),
        ({"options": {"targeted": True}}, ValueError, "must not hold 'targeted'"),
        ({"options": 3}, ValueError, "'options' parameter"),
        ({"target": 1}, ValueError, "target must be None for DeepFool"),
        ({"bounds": (-np.inf, 1)}, ValueError, "bounds must be finite"),
        ({"y": [9] * 6}, ValueError, "y must hold classes 0 to 2"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {
        "model": seeded(BatchNormNet),
        "X": X,
        "attack": "DeepFool",
        **change,
    }
    with pytest.raises(error, match=message):
        art_attack(arguments.pop("model"), arguments.pop("X"), **arguments)


def test_bad_options_of_jsma():
    for options in ({"gamma": 0}, {"theta": "big"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            jsma(mirror(), [[0.5] * 4], **options)
