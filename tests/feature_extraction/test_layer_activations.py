"""Outputs of chosen layers as features."""

import warnings

import numpy as np
import pytest
import torch
from networks import LeNet, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad import LayerActivationTransformer, MostDiscriminativeLayer

X = images(7, (2, 6, 6))


def test_penultimate_is_the_input_of_the_last_layer():
    net = seeded(LeNet)
    data = images(3, (1, 28, 28))
    transformer = LayerActivationTransformer(net, ["conv1", "penultimate", "logits"])
    features = np.asarray(transformer.fit_transform(data))
    assert transformer.layers_ == ["conv1", "penultimate", "logits"]
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
    assert transformer.layers_ == ["net.head", "logits"]


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


@pytest.mark.parametrize("make", [torch.jit.script, torch.jit.trace])
def test_models_of_jit_have_their_logits_alone(make):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()
    X = np.random.default_rng(0).normal(size=(5, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is going out of use
        example = (torch.ones(1, 3),) if make is torch.jit.trace else ()
        compiled = make(net, *example)
    with pytest.warns(UserWarning, match="the features are its logits alone"):
        transformer = LayerActivationTransformer(compiled).fit(X)
    assert transformer.layers_ == ["logits"]
    expected = LayerActivationTransformer(net, "logits").fit_transform(X)
    assert_allclose(transformer.transform(X), expected, rtol=1e-5)
    for wrong in (
        LayerActivationTransformer(compiled, ["0", "logits"]),
        LayerActivationTransformer(compiled, "penultimate"),
        MostDiscriminativeLayer(compiled),
        MostDiscriminativeLayer(compiled, ["0"]),
    ):
        with pytest.raises(ValueError, match="layers: give the module that it was mad"):
            wrong.fit(X)
    # Others around a compiled part can be watched.
    outer = nn.Sequential(nn.Linear(3, 3), compiled)
    assert LayerActivationTransformer(outer).fit(X).layers_ == ["0", "logits"]
