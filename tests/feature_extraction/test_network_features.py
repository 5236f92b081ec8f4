"""Several families of columns from one pass."""

import numpy as np
import pytest
import torch
from networks import images, layer_names, lenet_and_images
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.pipeline import FeatureUnion

from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
    NetworkFeatures,
)
from skgrad.feature_extraction import (
    GradientNorms,
    LayerActivations,
    SaliencyCosines,
)
from skgrad.feature_extraction._family import BaseFamily
from skgrad.torch_engine.network_pass import Wanted

FAMILIES = {
    "early": (LayerActivations, LayerActivationTransformer, {"layers": ["conv1"]}),
    "cosines": (SaliencyCosines, CosineSimilarityMatrixTransformer, {"top_n": 4}),
    "norms": (GradientNorms, ConfoundingGradientTransformer, {"log": True}),
    "others": (GradientNorms, ConfoundingGradientTransformer, {"label": "each"}),
    "late": (
        LayerActivations,
        LayerActivationTransformer,
        {"layers": ["conv1", "penultimate", "logits"], "pooling": "max"},
    ),
}
PAIRS = [(name, family(**options)) for name, (family, _, options) in FAMILIES.items()]


@pytest.mark.parametrize("batch_size", [1, 3, 128])
def test_same_columns_as_from_separate_passes(batch_size):
    net, x = lenet_and_images(7)
    union = FeatureUnion(
        [
            (name, make(net, batch_size=batch_size, **options))
            for name, (_, make, options) in FAMILIES.items()
        ]
    )
    several = NetworkFeatures(net, PAIRS, batch_size=batch_size)
    expected = union.fit_transform(x)
    assert_array_equal(several.fit_transform(x), expected)
    assert_array_equal(several.fit(x).transform(x), expected)
    names = several.get_feature_names_out()
    assert_array_equal(names, union.get_feature_names_out())
    assert several.families_["norms"].routes_["conv1.weight"] == "conv2d"
    assert layer_names(several.families_["late"]) == ["conv1", "penultimate", "logits"]


def test_parameters_of_families():
    net, x = lenet_and_images(3)
    several = NetworkFeatures(net, PAIRS[:1] + PAIRS[2:3])
    assert several.get_params()["norms__log"] is True
    plain = clone(several).set_params(norms__log=False, early=LayerActivations("fc1"))
    names = plain.fit(x).get_feature_names_out()
    assert names[0] == "early__fc1_000"
    norms = several.fit_transform(x)[:, -10:]
    np.testing.assert_allclose(np.log(plain.transform(x)[:, -10:]), norms)
    # Neither the clone nor the fit touched the families that were given.
    assert not hasattr(PAIRS[0][1], "layers_")
    assert several.families is not plain.families


@pytest.mark.parametrize(
    ("families", "message"),
    [
        ([], r"families must be a list of one or more pairs .*; got \[\]"),
        ([GradientNorms()], "families must be a list of one or more pairs"),
        ([("a", LayerActivationTransformer(None))], "families must be a list"),
        ([PAIRS[2], ("b",)], "families must be a list"),
        ([(1, GradientNorms())], "families must be a list"),
        ([PAIRS[0], PAIRS[0]], "Names provided are not unique"),
        ([("model", GradientNorms())], "conflict with constructor arguments"),
        ([("a", GradientNorms(loss="l2"))], "'loss' parameter of GradientNorms must"),
    ],
)
def test_invalid_families(families, message):
    net, x = lenet_and_images(2)
    with pytest.raises(ValueError, match=message):
        NetworkFeatures(net, families).fit(x)


def test_a_family_that_is_not_served_stops_all():
    net, _ = lenet_and_images(2)
    x = images(3, (1, 28, 28))
    several = NetworkFeatures(net, PAIRS).fit(x)
    several.set_params(late__layers=["conv3"])
    with pytest.raises(ValueError, match="Did you mean 'conv2'"):
        several.fit(x)
    # As the fit before left it.
    assert several.transform(x).shape == (3, len(several.get_feature_names_out()))


class Darker(BaseFamily):
    """How the logits change when an input gets darker: a family in one class."""

    def _fit(self, probe):
        return [f"change_{i}" for i in range(probe.n_classes)]

    def _wants(self):
        return Wanted(logits=True, changes=True)

    def _columns(self, run):
        return run.logits_at(0.5 * run.x) - run.logits


@pytest.mark.parametrize("others", [[], [("norms", GradientNorms())]])
def test_a_family_of_changed_inputs_is_one_class(others):
    net, x = lenet_and_images(5)
    # It works in place on its inputs, which the family must not see.
    net = torch.nn.Sequential(torch.nn.ReLU(inplace=True), net)
    x = x - 0.3
    features = NetworkFeatures(net, [*others, ("darker", Darker())]).fit(x)
    logits = LayerActivationTransformer(net, "logits").fit(x)
    expected = logits.transform(0.5 * x) - logits.transform(x)
    assert_array_equal(features.transform(x)[:, -10:], expected)
