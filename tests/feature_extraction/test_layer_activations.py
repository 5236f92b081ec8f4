"""Outputs of chosen layers as features."""

import warnings

import numpy as np
import pytest
import torch
from networks import LeNet, images, layer_names, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad import LayerActivationTransformer, MostDiscriminativeLayer

X = images(7, (2, 6, 6))


def test_penultimate_is_the_input_of_the_last_layer():
    net = seeded(LeNet)
    data = images(3, (1, 28, 28))
    transformer = LayerActivationTransformer(net, ["conv1", "penultimate", "logits"])
    features = np.asarray(transformer.fit_transform(data))
    assert layer_names(transformer) == ["conv1", "penultimate", "logits"]
    names = transformer.get_feature_names_out()
    assert names[[6, -11]].tolist() == ["penultimate_00", "penultimate_83"]
    with torch.no_grad():
        last = features[:, 6:-10] @ net.fc3.weight.numpy().T + net.fc3.bias.numpy()
    assert_allclose(last, features[:, -10:], rtol=1e-4, atol=1e-5)
    alone = LayerActivationTransformer(net, "penultimate").fit(data)
    assert_array_equal(alone.transform(data), features[:, 6:-10])


def test_without_a_last_layer_penultimate_is_the_last_candidate(model):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, x):
            return 2 * self.net(x)

    transformer = LayerActivationTransformer(Scaled(), ["penultimate", "logits"]).fit(X)
    assert layer_names(transformer) == ["net.head", "logits"]


def test_pooling_none_copies_before_an_inplace_layer():
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(inplace=True), nn.Flatten())
    net.append(nn.Linear(108, 3))
    with torch.no_grad():
        net[0].bias.fill_(-1.0)
        maps = net[0](torch.from_numpy(X)).flatten(1).numpy()
    assert (maps < 0).any()
    # With the logits asked for, the pass goes on through the activation.
    layers = ["0", "logits"]
    kept = LayerActivationTransformer(net, layers, pooling="none").fit_transform(X)
    assert_allclose(kept[:, :108], maps, rtol=1e-5)


def test_features_must_be_finite():
    class Log(nn.Module):
        def forward(self, x):
            return x.log()

    net = nn.Sequential(Log(), nn.Hardtanh(-3, 3), nn.Linear(3, 3))
    with pytest.raises(ValueError, match="layers: '0' returns NaN or infinite values"):
        LayerActivationTransformer(net, "0").fit(np.zeros((2, 3)))


def exported(net, x):
    any_number = ({0: torch.export.Dim("n")},)
    return torch.export.export(net, (x,), dynamic_shapes=any_number).module()


MAKERS = {
    "script": ("torch.jit", lambda net, x: torch.jit.script(net)),
    "trace": ("torch.jit", torch.jit.trace),
    "freeze": ("torch.jit", lambda net, x: torch.jit.freeze(torch.jit.script(net))),
    "export": ("torch.export", exported),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_layers_that_are_hidden(kind):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()
    X = np.random.default_rng(0).normal(size=(5, 3))
    maker, make = MAKERS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is going out of use
        compiled = make(net, torch.ones(2, 3))
    alone = f"made by {maker}, which hides its layers: the features are its logits alon"
    with pytest.warns(UserWarning, match=alone):
        transformer = LayerActivationTransformer(compiled).fit(X)
    assert layer_names(transformer) == ["logits"]
    expected = LayerActivationTransformer(net, "logits").fit_transform(X)
    assert_allclose(transformer.transform(X), expected, rtol=1e-5)
    wrong = [
        LayerActivationTransformer(compiled, "penultimate"),
        MostDiscriminativeLayer(compiled),
    ]
    if kind != "freeze":  # which has no names of layers
        wrong += [
            LayerActivationTransformer(compiled, ["0", "logits"]),
            MostDiscriminativeLayer(compiled, ["0"]),
        ]
    for transformer in wrong:
        with pytest.raises(ValueError, match="layers: give the module that it was mad"):
            transformer.fit(X)
    # Others around a compiled part can be watched.
    outer = nn.Sequential(nn.Linear(3, 3), compiled)
    with pytest.warns(UserWarning, match=f"parts made by {maker}.*: '1'"):
        transformer = LayerActivationTransformer(outer).fit(X)
    assert layer_names(transformer) == ["0", "logits"]
    before_head = nn.Sequential(compiled, nn.Linear(2, 2))
    with pytest.warns(UserWarning, match=r"'0'.*the features are its logits alone"):
        transformer = LayerActivationTransformer(before_head).fit(X)


def test_graphs_of_fx_show_their_layers():
    net = nn.Sequential(nn.Flatten(), nn.Linear(18, 4), nn.Tanh(), nn.Linear(4, 2))
    transformer = LayerActivationTransformer(torch.fx.symbolic_trace(net))
    assert layer_names(transformer.fit(X[:, 0, :, :3])) == ["1", "logits"]


def tokens(n_samples=5):
    return np.random.default_rng(0).normal(size=(n_samples, 6, 3)).astype(np.float32)


def token_net():
    """Make a network whose layer "0" returns six tokens of four channels."""
    layers = nn.Linear(3, 4), nn.Tanh(), nn.Flatten(), nn.Linear(24, 2)
    return seeded(lambda: nn.Sequential(*layers)).eval()


def test_layers_show_what_was_taken_for_their_channels():
    net, data = seeded(LeNet), images(3, (1, 28, 28))
    layers = LayerActivationTransformer(net, ["conv2", "logits"]).fit(data).layers_
    assert [tuple(layer) for layer in layers] == [
        ("conv2", (16, 10, 10), 1, 16),
        ("logits", (10,), 1, 10),
    ]
    assert str(layers[0]) == (
        "conv2: 16 columns, of outputs (16, 10, 10) with channel axis 1"
    )
    (layer,) = LayerActivationTransformer(token_net(), "0").fit(tokens()).layers_
    assert layer == ("0", (6, 4), 2, 4)


@pytest.mark.parametrize(
    ("pooling", "by_hand"),
    [
        ("mean", lambda maps: maps.mean(axis=1)),
        ("max", lambda maps: maps.max(axis=1)),
        ("first", lambda maps: maps[:, 0]),
        ("last", lambda maps: maps[:, -1]),
        ("none", lambda maps: maps.reshape(len(maps), -1)),
    ],
)
def test_poolings_of_tokens(pooling, by_hand):
    net, data = token_net(), tokens()
    with torch.no_grad():
        maps = net[0](torch.from_numpy(data)).numpy()
    found = LayerActivationTransformer(net, "0", pooling=pooling).fit_transform(data)
    assert_allclose(found, by_hand(maps), rtol=1e-6)


def test_given_axes_of_channels():
    net, data = token_net(), tokens()
    with torch.no_grad():
        maps = net[0](torch.from_numpy(data)).numpy()
    for axis, by_hand in ((1, maps.mean(axis=2)), (-1, maps.mean(axis=1))):
        for given in (axis, {"0": axis}):
            transformer = LayerActivationTransformer(net, "0", channel_axis=given)
            assert_allclose(transformer.fit_transform(data), by_hand, rtol=1e-6)
    given = {"0": 1, "3": 1}  # the other is not watched
    both = LayerActivationTransformer(net, ["0", "1"], channel_axis=given).fit(data)
    assert [layer.channel_axis for layer in both.layers_] == [1, 2]
    for given, message in (
        (0, r"one of \[1, 2\] for '0', whose output has the shape \(3, 6, 4\)"),
        (3, r"one of \[1, 2\] for '0'"),
        ({"head": 1}, "channel_axis must name layers of the model; got 'head'"),
    ):
        with pytest.raises(ValueError, match=message):
            LayerActivationTransformer(net, "0", channel_axis=given).fit(data)


def test_maps_have_no_first_position(model):
    with pytest.raises(ValueError, match="pooling='first' must be used for layers"):
        LayerActivationTransformer(model, "conv", pooling="first").fit(X)


def test_networks_without_layers_to_watch_give_a_warning():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.step = nn.Linear(3, 3)
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.step(self.step(x).tanh()))

    data = np.ones((4, 3))
    with pytest.warns(UserWarning, match="has no layer .* its logits alone"):
        LayerActivationTransformer(seeded(Twice)).fit(data)
    # Nothing is missed where the logits are all there is.
    assert layer_names(LayerActivationTransformer(nn.Linear(3, 2)).fit(data)) == [
        "logits"
    ]
