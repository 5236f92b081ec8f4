"""The wrapper: signs, what is filled in, pickles, wrong detectors."""

import copy
import pickle

import numpy as np
import pytest
import torch
from networks import BatchNormNet, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from torch import nn

from skgrad.baselines import PyTorchOODDetector
from skgrad.torch_engine.model_state import frozen

library = pytest.importorskip("pytorch_ood.detector")


class Plain(BatchNormNet):
    """Counts nothing: torch.func, which some detectors use, does not allow it."""

    def forward(self, x):
        x = self.norm(self.conv(x)).relu().mean(dim=(2, 3))
        return self.head(self.drop(x))


X = images(150, (2, 6, 6))
NET = seeded(Plain)
# It predicts all classes, which some detectors need.
with torch.no_grad():
    NET.head.weight *= 20
    NET.head.bias -= NET.eval()(torch.from_numpy(X)).mean(dim=0)


def make(detector, **options):
    return PyTorchOODDetector(NET, detector, random_state=0, **options)


class Features(nn.Module):
    """Everything before the head, by hand."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.norm(self.net.conv(x)).relu().mean(dim=(2, 3))


def vim(module, d):
    weight, bias = (p.detach() for p in module.head.parameters())
    return library.ViM(Features(module), d=d, w=weight, b=bias)


RECIPES = {
    "logits, fitted": ("TemperatureScaling", {}),
    "class": (library.EnergyBased, {"t": 2.0}),
    "parameter gradients": ("GradNorm", {}),
    "encoder": ("KNN", {"k": 3}),
    "encoder, not fitted": ("LTS", {}),
    "encoder and head": ("SHE", {}),
    "weights": ("ViM", {"d": 2}),
    "function": (vim, {"d": 2}),
}


@pytest.mark.parametrize(("detector", "options"), RECIPES.values(), ids=RECIPES)
def test_recipes(detector, options):
    net = copy.deepcopy(NET).train()
    adapter = PyTorchOODDetector(net, detector, options=options, random_state=0)
    scores = adapter.fit(X).score_samples(X)
    assert scores.shape == (150,)
    assert scores.std() > 0
    with frozen(adapter.module_, parameter_gradients=True):
        direct = adapter.detector_.predict(torch.from_numpy(X))
    assert_allclose(scores, -direct.detach().numpy(), rtol=1e-4, atol=1e-4)
    # The same when fitted again, and in a pickle.
    again = clone(adapter).fit(X)
    assert_array_equal(again.score_samples(X), scores)
    travelled = pickle.loads(pickle.dumps(adapter))
    assert_array_equal(travelled.score_samples(X), scores)
    assert clone(adapter).model is net
    assert not any(part._forward_hooks for part in net.modules())


class Keeping(library.MaxLogit):
    """Stores the data that it is fitted on."""

    requires_fit = True

    def fit(self, data_loader):
        self.inputs, self.labels = map(torch.cat, zip(*data_loader, strict=True))
        return self


def test_fitted_on_all_but_the_held_out_with_predicted_classes():
    adapter = make(Keeping, batch_size=50).fit(X)
    inputs, labels = adapter.detector_.inputs, adapter.detector_.labels
    assert len(adapter.calibration_scores_) == 30
    assert len(inputs) == 120
    logits = NET(inputs).detach()
    assert_array_equal(labels, logits.argmax(dim=1))
    assert sorted(labels.unique().tolist()) == [0, 1, 2]
    seen = np.concatenate([logits.amax(dim=1), adapter.calibration_scores_])
    assert_allclose(np.sort(seen), np.sort(adapter.score_samples(X)), rtol=1e-5)


class Noisy(library.MaxLogit):
    """Adds a random number to all scores of a call."""

    def predict(self, x):
        return super().predict(x) + torch.rand(())


def test_random_detectors_are_seeded():
    state = torch.random.get_rng_state()
    first, second = (make(Noisy).fit(X).score_samples(X) for _ in range(2))
    other = PyTorchOODDetector(NET, Noisy, random_state=1).fit(X).score_samples(X)
    assert_array_equal(first, second)
    assert (first != other).any()
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("detector", ["MCD", "OpenMax"])
def test_scores_that_depend_on_the_batch(detector):
    with pytest.raises(
        ValueError, match=f"score that '{detector}' gives .* depends on"
    ):
        make(detector).fit(X)


def test_parameters_set_after_fit_wait_for_the_next_one():
    adapter = make("EnergyBased").fit(X)
    scores = adapter.score_samples(X)
    adapter.set_params(detector="MaxLogit", options={"t": 2.0})
    for again in (copy.deepcopy(adapter), pickle.loads(pickle.dumps(adapter))):
        assert_array_equal(again.score_samples(X), scores)
    adapter.set_params(detector="none of theirs")
    assert clone(adapter).detector == "none of theirs"


def test_head_and_its_input_are_filled_in():
    filled, by_hand = (make(d, options={"d": 2}).fit(X) for d in ("ViM", vim))
    assert_array_equal(filled.score_samples(X), by_hand.score_samples(X))


def test_a_head_without_bias():
    net = seeded(Plain)
    net.head = nn.Linear(net.head.in_features, 3, bias=False)
    zero = copy.deepcopy(net)
    zero.head.bias = nn.Parameter(torch.zeros(3))
    options = {"options": {"d": 2}, "random_state": 0}
    one, other = (PyTorchOODDetector(n, "ViM", **options).fit(X) for n in (net, zero))
    assert_array_equal(one.score_samples(X), other.score_samples(X))


def not_one(module):
    return module


def of_wrong_shape(module):
    class Wide(library.MaxLogit):
        def predict(self, x):
            return self.model(x)

    return Wide(module)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"detector": "Odinn"}, ValueError, "got 'Odinn'. Did you mean 'ODIN'"),
        ({"detector": "ReAct"}, ValueError, "'ReAct' cannot be made .*'backbone'"),
        ({"detector": "KNN", "options": {"l": 3}}, ValueError, "options .*'l'"),
        ({"detector": not_one}, TypeError, "not_one returns Plain"),
        ({"detector": of_wrong_shape}, ValueError, "must return one number for each"),
    ],
)
def test_bad_detectors(options, error, message):
    with pytest.raises(error, match=message):
        make(**options).fit(X)


def test_a_class_that_is_never_predicted():
    net = copy.deepcopy(NET)
    with torch.no_grad():
        net.head.bias[1] -= 1e3
    with pytest.raises(ValueError, match=r"every class, .* \[0, 2\] of 3"):
        PyTorchOODDetector(net, "Mahalanobis").fit(X)


def test_a_model_without_a_linear_head():
    net = nn.Sequential(nn.Flatten(), nn.LazyLinear(3), nn.Softplus())
    net(torch.from_numpy(X))
    with pytest.raises(ValueError, match=r"KNN.* logits a torch\.nn\.Linear returns"):
        PyTorchOODDetector(net, "KNN").fit(X)
