"""Parameters that no gradient reaches, and those that take time."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from networks import images, layer_names
from numpy.testing import assert_allclose
from sklearn.exceptions import EfficiencyWarning
from torch import nn

from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
    predict_logits,
)
from skgrad.torch_engine.fingerprint import network_identity

X = images(12, (1, 6, 6))
GRADIENTS = ConfoundingGradientTransformer, CosineSimilarityMatrixTransformer
UNREACHED = "model lets no gradient reach 2 of its 6 parameters"


class Net(nn.Module):
    """A network whose first half passes through a function."""

    def __init__(self, between=lambda h: h, n_hidden=4):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4, n_hidden)
        self.head = nn.Linear(n_hidden, 3)
        self.between = between
        self.unused = None

    def forward(self, x):
        h = self.between(self.conv(x).relu().mean((2, 3)))
        return self.head(self.fc(h).relu())


def quantised(*names):
    """Return a network with some layers quantised, and without warnings of torch."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds = dict.fromkeys(names, torch.ao.quantization.default_dynamic_qconfig)
        return torch.ao.quantization.quantize_dynamic(Net().eval(), kinds)


def made_by_jit(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.freeze(torch.jit.trace(net.eval(), torch.as_tensor(X)))


# The layer before is called, but matters to nothing.
def replaced(h):
    return torch.ones_like(h) + 0 * h.detach()


def test_weights_behind_a_cut_are_reported():
    with pytest.warns(UserWarning, match=UNREACHED) as caught:
        norms = ConfoundingGradientTransformer(Net(torch.Tensor.detach)).fit_transform(
            X
        )
    assert "'conv.weight', 'conv.bias'" in str(caught[0].message)
    assert not norms[:, :2].any()
    assert norms[:, 2:].all(axis=0).any()


def test_zero_norms_for_other_reasons_are_not():
    dead = Net()
    with torch.no_grad():
        dead.conv.bias -= 100
    plus = Net()
    plus.unused = nn.Linear(2, 2)
    for net in (dead, plus, Net(replaced)):
        ConfoundingGradientTransformer(net).fit(X)


def test_quantised_layers():
    model = quantised("fc", "head")
    for transformer in GRADIENTS:
        with pytest.raises(ValueError, match=r"must let autograd.*quantised layers"):
            transformer(model).fit(X)
    logits = model(torch.as_tensor(X)).detach()
    with pytest.warns(UserWarning, match="quantised dynamically"):
        assert_allclose(predict_logits(model, X), logits)
    # Layers can be watched all the same.
    with pytest.warns(UserWarning, match=r"dynamically, 'fc', 'head'.*batch_size=1"):
        features = LayerActivationTransformer(model).fit(X)
    assert layer_names(features) == ["conv", "fc", "logits"]
    with pytest.warns(UserWarning, match="quantised dynamically"):
        penultimate = LayerActivationTransformer(model, "penultimate").fit_transform(X)
    assert penultimate.shape == (12, 4)


class Static(nn.Module):
    """A network whose layers take and return quantised numbers."""

    def __init__(self):
        super().__init__()
        self.begin = torch.ao.quantization.QuantStub()
        self.conv = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4, 3)
        self.end = torch.ao.quantization.DeQuantStub()

    def forward(self, x):
        return self.end(self.head(self.conv(self.begin(x)).mean((2, 3))))


def test_layers_that_return_quantised_numbers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = Static().eval()
        net.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")
        prepared = torch.ao.quantization.prepare(net)
        prepared(torch.as_tensor(X))
        model = torch.ao.quantization.convert(prepared)
    features = LayerActivationTransformer(model)
    found = features.fit_transform(X)
    assert layer_names(features) == ["conv", "logits"]
    maps = model.conv(model.begin(torch.as_tensor(X))).dequantize()
    assert_allclose(found[:, :4], maps.mean((2, 3)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"must have parameters.*or all are quantised"):
        ConfoundingGradientTransformer(model).fit(X)


@pytest.mark.filterwarnings("ignore:model has layers that are quantised dynamically")
def test_scales_of_a_batch():
    model, bright = quantised("fc", "head"), X.copy()
    bright[-1] *= 20
    for batch_size, differs in ((1, False), (12, True)):
        options = {"layers": "logits", "batch_size": batch_size}
        transformer = LayerActivationTransformer(model, **options).fit(X)
        apart = transformer.transform(X[:5]) - transformer.transform(bright)[:5]
        assert (np.abs(apart).max() > 1e-3) == differs


@pytest.mark.filterwarnings("ignore:model has layers that are quantised dynamically")
def test_scales_of_a_batch_are_no_error():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(net, {nn.Linear})
    rows = np.random.default_rng(0).normal(size=(12, 4))
    rows[5] *= 100
    assert LayerActivationTransformer(model, "logits").fit_transform(rows).shape[1] == 3


@pytest.mark.filterwarnings("ignore:model has layers that are quantised dynamically")
@pytest.mark.filterwarnings("ignore:quantized..linear_dynamic")
def test_one_quantised_layer_cuts_off_what_lies_before():
    with (
        pytest.warns(UserWarning, match="no gradient reach 2 of its 4 parameters"),
        pytest.warns(UserWarning, match="quantised layers, 'fc', whose"),
    ):
        ConfoundingGradientTransformer(quantised("fc")).fit(X)


def test_frozen_models_of_jit_have_logits():
    model = made_by_jit(Net())
    logits = predict_logits(model, X)
    assert_allclose(logits, model(torch.as_tensor(X)).detach())
    with pytest.raises(ValueError, match=r"torch\.jit\.freeze"):
        ConfoundingGradientTransformer(model).fit(X)


def test_exported_models():
    net, x = Net().eval(), torch.as_tensor(X)
    any_number = ({0: torch.export.Dim("n")},)
    model = torch.export.export(net, (x,), dynamic_shapes=any_number).module()
    for transformer in GRADIENTS:
        expected = transformer(net).fit_transform(X)
        assert_allclose(transformer(model).fit_transform(X), expected, rtol=1e-4)
    fixed = torch.export.export(net, (x,)).module()
    for estimator in (ConfoundingGradientTransformer, LayerActivationTransformer):
        with pytest.raises(ValueError, match="for any number of samples"):
            estimator(fixed).fit(X)


def test_weights_of_torchao_have_no_column(tmp_path):
    torchao = pytest.importorskip("torchao.quantization")
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 32), nn.ReLU(), nn.Linear(32, 3))
    torchao.quantize_(net.eval(), torchao.Int8WeightOnlyConfig())
    plain = copy.deepcopy(net)
    for layer in (plain[1], plain[3]):
        layer.weight = nn.Parameter(layer.weight.dequantize())
    expected = ConfoundingGradientTransformer(plain).fit(X)
    with pytest.warns(UserWarning, match="quantised layers, '1', '3', whose weights"):
        found = ConfoundingGradientTransformer(net).fit(X)
    assert found.get_feature_names_out().tolist() == ["1.bias", "3.bias"]
    assert_allclose(found.transform(X), expected.transform(X)[:, [1, 3]], rtol=1e-4)
    cosines = CosineSimilarityMatrixTransformer(net).fit_transform(X)
    expected = CosineSimilarityMatrixTransformer(plain).fit_transform(X)
    assert_allclose(cosines, expected, atol=1e-3)
    identity = network_identity(net)
    with torch.no_grad():
        net[1].weight.scale.mul_(2)
    assert network_identity(net) != identity
    with pytest.raises(TypeError, match="torchao made it"):
        pickle.dumps(found)
    with pytest.raises(ValueError, match=r"made by.*torchao have no hash"):
        LayerActivationTransformer(net, memory=str(tmp_path)).fit(X)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(36, 32, bias=False))
    torchao.quantize_(layers, torchao.Int8WeightOnlyConfig())
    with pytest.raises(ValueError, match=r"must have parameters.*or all are quantised"):
        ConfoundingGradientTransformer(layers).fit(X)


class OfTwo(Net):
    """That for two inputs, with a layer that is not used."""

    def __init__(self, between=lambda h: h):
        super().__init__(between)
        self.unused = nn.Linear(2, 2)

    def forward(self, left, right):
        return super().forward(left + right)


@pytest.mark.parametrize("by_name", [True, False])
def test_unreached_weights_of_several_inputs(by_name):
    given = {"left": X, "right": X.astype("float16")}
    given = given if by_name else tuple(given.values())
    ConfoundingGradientTransformer(OfTwo()).fit(given)
    with pytest.warns(UserWarning, match="no gradient reach 4 of its 8 parameters"):
        ConfoundingGradientTransformer(OfTwo(torch.Tensor.detach)).fit(given)


class Shared(nn.Module):
    """A network that uses a layer twice, for which there is no rule."""

    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        h = x.flatten(1).repeat(1, 9)[:, : self.fc.in_features]
        return self.head(self.fc(self.fc(h).relu()))


def test_what_takes_time_is_reported_once():
    ConfoundingGradientTransformer(Shared(8)).fit(X)
    with pytest.warns(EfficiencyWarning, match="2 of 4 param.*those of Linear \\(2\\)"):
        ConfoundingGradientTransformer(Shared(320)).fit_transform(X)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_what_takes_time_in_a_script():
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3000), nn.Linear(3000, 3)).eval()
    script = torch.jit.script(net)
    with pytest.warns(EfficiencyWarning, match="4 of 4 param.*those of Linear \\(4\\)"):
        norms = ConfoundingGradientTransformer(script).fit_transform(X[:4])
    expected = ConfoundingGradientTransformer(net).fit_transform(X[:4])
    assert_allclose(norms, expected, rtol=1e-4)


def test_a_head_of_zeros_is_reported():
    net = Net()
    nn.init.zeros_(net.head.weight)
    with pytest.warns(UserWarning, match="gradients of 0 at 4 of 6 param.*the head"):
        ConfoundingGradientTransformer(net).fit(X)
