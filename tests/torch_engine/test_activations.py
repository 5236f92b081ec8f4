"""Layer outputs: what is kept, and what is rejected."""

import pytest
import torch
from networks import LeNet, images, layer_activations, lenet_and_images, seeded
from numpy.testing import assert_allclose
from torch import nn

from skgrad.torch_engine.activations import check_layers
from skgrad.torch_engine.layer_outputs import find_outputs
from skgrad.torch_engine.layers import candidate_layers
from skgrad.torch_engine.model_state import frozen
from skgrad.torch_engine.probe import Probe


def activations_of(module, x, layers, pooling="mean", **options):
    with frozen(module):
        return layer_activations(module, x, layers, pooling=pooling, **options)


def test_lenet_channel_means_by_hand_made_forward():
    net, x = lenet_and_images(3)
    conv1, fc1, logits = activations_of(net, x, ["conv1", "fc1", "logits"])
    # LeNet's ReLU works in place on the output of conv1: the means must be older.
    maps = nn.functional.conv2d(x, net.conv1.weight, net.conv1.bias, padding=2)
    assert_allclose(conv1, maps.detach().numpy().mean(axis=(2, 3)), rtol=1e-9)
    assert (conv1 < 0).any()
    assert fc1.shape == (3, 120)
    assert (fc1 < 0).any()
    assert_allclose(logits, net(x).detach(), rtol=1e-9)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[1.5, 5.5]]),
        ("max", [[3.0, 7.0]]),
        ("none", [[0.0, 1, 2, 3, 4, 5, 6, 7]]),
    ],
)
def test_poolings(pooling, expected):
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(8, 2))
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    (pooled,) = activations_of(net, x, ["0"], pooling)
    assert_allclose(pooled, expected)


def test_pass_ends_with_the_deepest_layer():
    called = []
    net = seeded(LeNet)
    for name, layer in net.named_children():
        layer.register_forward_hook(lambda *_, name=name: called.append(name))
    x = torch.from_numpy(images(2, (1, 28, 28)))
    early = activations_of(net, x, ["fc1", "conv1"])
    assert called[-1] == "fc1"
    assert {"fc2", "fc3"}.isdisjoint(called)
    *whole, _ = activations_of(net, x, ["fc1", "conv1", "logits"])
    assert called[-1] == "fc3"
    for one, other in zip(early, whole, strict=True):
        assert_allclose(one, other)


def test_model_that_catches_errors_does_not_catch_the_end_of_the_pass():
    class Catching(nn.Sequential):
        def forward(self, x):
            try:
                return super().forward(x)
            except Exception as error:
                raise AssertionError("caught what was no error") from error

    net = Catching(nn.Linear(2, 3), nn.Linear(3, 3))
    assert activations_of(net, torch.ones(2, 2), ["0"])[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["conv3"], "got 'conv3'. Did you mean 'conv2' or 'conv1'"),
        (["conv1", "conv1"], "must not repeat a name; got 'conv1' twice"),
        ([], "must name at least one of 'logits', 'penultimate', 'conv1'"),
        ([""], "got ''. Valid are 'logits', 'penultimate', 'conv1'"),
        (["penultimat"], "Did you mean 'penultimate'"),
    ],
)
def test_unknown_layers_are_rejected(layers, message):
    with pytest.raises(ValueError, match=message):
        check_layers(LeNet(), layers)


class Named(nn.Linear):
    """A layer that returns no tensor."""

    def __init__(self):
        super().__init__(4, 4)

    def forward(self, x):
        return "no tensor"


class ManyKinds(nn.Module):
    """Layers of every kind that could be taken, or could not."""

    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(4, 3, 1)  # made first, called last
        self.block = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.relu = nn.ReLU(inplace=True)
        self.twice = nn.Conv2d(4, 4, 1)
        self.unused = nn.Linear(4, 4)
        self.named = Named()
        self.score = nn.Linear(4, 1)
        self.rows = nn.Linear(6, 6)
        self.overflowing = nn.PReLU()

    def forward(self, x):
        x = self.relu(self.block(x))
        x = self.twice(self.twice(x))
        self.named(x)
        self.rows(x.flatten(0, 2))  # more rows than samples
        self.overflowing(x / 0)
        return self.head(x.amax(dim=(2, 3), keepdim=True)).flatten(1)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("twice", "'twice' is called more than once"),
        ("unused", "'unused' was not called in the forward pass"),
        ("named", "'named' must return .* tensor .* returns a str"),
        ("rows", r"'rows' must return .* one row per sample.*; for 3 samples"),
    ],
)
def test_unusable_layers_are_rejected(layer, message):
    net, x = ManyKinds().eval(), torch.rand(3, 2, 6, 6)
    with pytest.raises(ValueError, match=message):
        activations_of(net, x, [layer, "logits"])
    with frozen(net):
        probe = Probe(net, x, layers=[layer])
        with pytest.raises(ValueError, match=message):
            find_outputs(probe, [layer], "mean")


def test_candidates_are_those_that_can_be_taken():
    net = seeded(ManyKinds)
    x = torch.from_numpy(images(2, (2, 6, 6)))
    with frozen(net):
        found = candidate_layers(Probe(net, x, every=True))
    assert found == ["block.0", "block.1"]
    # All of them can be.
    activations_of(net, x, ["block.0", "block.1", "logits"])
    hooks = [part._forward_hooks for part in net.modules()]
    assert not any(hooks)


def test_candidates_come_in_the_order_of_their_calls():
    net = seeded(LeNet)
    with frozen(net):
        x = torch.from_numpy(images(2, (1, 28, 28)))
        found = candidate_layers(Probe(net, x, every=True))
    assert found == ["conv1", "conv2", "fc1", "fc2"]


def test_children_without_parameters_do_not_hide_a_layer():
    class Padded(nn.Conv2d):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.padding_layer = nn.ZeroPad2d(1)

        def forward(self, x):
            return super().forward(self.padding_layer(x))

    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)]
    net = seeded(lambda: nn.Sequential(Padded(3, 4, 3), Padded(4, 5, 3), *head)).eval()
    with frozen(net):
        x = torch.from_numpy(images(3, (3, 8, 8)))
        found = candidate_layers(Probe(net, x, every=True))
    assert found == ["0", "1"]
