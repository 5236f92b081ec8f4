"""Gradient norms under a confounding label."""

import numpy as np
import pytest
import torch
from networks import AnyWidth, Recurrent, Unrolled, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad import ConfoundingGradientTransformer

X = images(7, (2, 6, 6))


@pytest.mark.parametrize("loss", ["bce", "bce_softmax", "cross_entropy"])
def test_losses_against_torch(loss, model):
    features = ConfoundingGradientTransformer(model, loss=loss).fit_transform(X)
    model.eval()
    for row, sample in zip(features, X, strict=True):
        logits = model(torch.from_numpy(sample[None]))
        ones = torch.ones_like(logits)
        value = {
            "bce": nn.functional.binary_cross_entropy_with_logits(logits, ones),
            "bce_softmax": nn.functional.binary_cross_entropy(logits.softmax(1), ones),
            "cross_entropy": -logits.log_softmax(1).sum(),
        }[loss]
        gradients = torch.autograd.grad(value, list(model.parameters()))
        assert_allclose(row, [g.square().sum().item() for g in gradients], rtol=1e-4)


def test_labels_by_name_and_by_vector(model):
    vectors = (("all", [1, 1, 1]), ("none", np.zeros(3)), ("all", torch.ones(3)))
    for name, vector in vectors:
        by_name = ConfoundingGradientTransformer(model, label=name).fit_transform(X)
        given = ConfoundingGradientTransformer(model, label=vector).fit_transform(X)
        assert_array_equal(by_name, given)


def test_each_class_has_columns_of_its_own(model):
    each = ConfoundingGradientTransformer(model, label="each", loss="cross_entropy")
    features = each.fit_transform(X)
    names = each.get_feature_names_out().tolist()
    assert len(names) == features.shape[1] == 18
    assert names[:2] == ["conv.weight_class_0", "conv.bias_class_0"]
    assert names[-1] == "head.bias_class_2"
    one_hot = each.set_params(label=[0, 1, 0]).fit_transform(X)
    assert_allclose(features[:, 6:12], one_hot, rtol=1e-6)
    predicted = each.set_params(label="predicted").fit_transform(X)
    with torch.no_grad():
        classes = model.eval()(torch.from_numpy(X)).argmax(dim=1).numpy()
    for row, all_classes, k in zip(predicted, features, classes, strict=True):
        assert_allclose(row, all_classes[6 * k : 6 * k + 6], rtol=1e-6)


def test_log_has_a_floor(model):
    model.unused = nn.Parameter(torch.ones(1))
    raw = ConfoundingGradientTransformer(model).fit_transform(X)
    log = ConfoundingGradientTransformer(model, log=True).fit_transform(X)
    assert_allclose(log, np.log(np.maximum(raw, 1e-30)), rtol=1e-12)
    assert_array_equal(raw[:, 0], 0)


def test_routes(model):
    transformer = ConfoundingGradientTransformer(model).fit(X)
    assert transformer.routes_ == {
        "conv.weight": "conv2d",
        "conv.bias": "conv2d",
        "norm.weight": "batch_norm",
        "norm.bias": "batch_norm",
        "head.weight": "linear",
        "head.bias": "linear",
    }
    series = images(3, (4, 3))
    recurrent = ConfoundingGradientTransformer(seeded(Recurrent)).fit(series)
    assert set(recurrent.routes_.values()) == {"linear"}
    # A rule for the last layers alone would not pay.
    unrolled = ConfoundingGradientTransformer(seeded(Unrolled)).fit(series)
    assert set(unrolled.routes_.values()) == {"autograd"}


class ThrownAway(AnyWidth):
    """A network with a layer whose output nobody takes."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(5, 99, dtype=torch.float64)

    def forward(self, x):
        self.other(x)
        return super().forward(x)


def test_without_a_rule_for_most_weights_samples_pass_alone():
    def sizes_of_batches(net, X):
        transformer, sizes = ConfoundingGradientTransformer(net).fit(X), []
        with net.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0]))):
            transformer.transform(X)
        return sizes

    assert sizes_of_batches(seeded(Unrolled), images(3, (4, 3))) == [1, 1, 1]
    # What has no effect has no rule either, and counts for nothing.
    net = seeded(AnyWidth)
    net.unused = nn.Linear(99, 99)
    assert sizes_of_batches(net, images(3, (5,))) == [3]
    # Nor does a layer whose output is thrown away.
    net = seeded(ThrownAway)
    assert sizes_of_batches(net, images(3, (5,))) == [3]
    norms = ConfoundingGradientTransformer(net).fit_transform(images(3, (5,)))
    assert (norms[:, -2:] == 0).all()
    assert (norms[:, :-2] > 0).all()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("some", "'label' parameter of ConfoundingGradientTransformer"),
        (
            [1, 0],
            r"label must be one of 'all', .*, or 3 numbers in \[0, 1\].*got \[1, 0\]",
        ),
        ([1, 0, 2], r"numbers in \[0, 1\]"),
        ([0, 1, np.nan], r"numbers in \[0, 1\]"),
        (["a", "b", "c"], r"numbers in \[0, 1\]"),
        ([[1], [1, 0], 2], r"numbers in \[0, 1\]"),
    ],
)
def test_bad_labels(model, label, message):
    with pytest.raises(ValueError, match=message):
        ConfoundingGradientTransformer(model, label=label).fit(X)
