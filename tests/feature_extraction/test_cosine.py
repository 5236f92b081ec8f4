"""Cosine similarities of saliency maps."""

import numpy as np
import pytest
import torch
from networks import AnyWidth, images
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from torch import nn

from skgrad import CosineSimilarityMatrixTransformer

X = images(7, (2, 6, 6))


def test_outputs_of_the_cosines_agree(model):
    def features(output):
        transformer = CosineSimilarityMatrixTransformer(model, output=output)
        return np.asarray(transformer.fit_transform(X))

    matrix = features("matrix").reshape(7, 3, 3)
    assert_array_equal(features("upper"), matrix[:, [0, 0, 1], [1, 2, 2]])
    assert_allclose(matrix, matrix.transpose(0, 2, 1))
    # With three classes S1 is one pair: its mean, maximum and minimum are it.
    statistics = features("statistics")
    assert_array_equal(statistics[:, 0], statistics[:, 1])
    assert_allclose(statistics[:, 3], 0, atol=1e-7)


def test_top_classes_and_the_authors_variants(model):
    top = CosineSimilarityMatrixTransformer(model, output="upper", top_n=2)
    assert top.fit(X).get_feature_names_out().tolist() == ["cosine_top_0_1"]
    plain = CosineSimilarityMatrixTransformer(model, output="upper")
    names = plain.fit(X).get_feature_names_out().tolist()
    features = plain.transform(X)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(X)).numpy()
    best = np.sort(np.argsort(-logits, axis=1)[:, :2], axis=1)
    for cosine, row, (i, j) in zip(top.transform(X), features, best, strict=True):
        assert_allclose(cosine[0], row[names.index(f"cosine_{i}_{j}")], atol=1e-6)
    for variant in ({"channel_reduction": "max"}, {"logit_scale": 10.0}):
        other = clone(plain).set_params(sign=False, **variant).fit_transform(X)
        assert (
            abs(other - clone(plain).set_params(sign=False).fit_transform(X)).max() > 0
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_n": 4}, "top_n must be None or 2 to 3, the number of classes"),
        ({"top_n": 2}, "needs 3 or more classes.*got 2 as top_n"),
        ({"top_n": 1}, "'top_n' parameter of CosineSimilarityMatrixTransformer"),
        ({"logit_scale": 0.0}, "'logit_scale' parameter"),
        ({"channel_reduction": "mean"}, "'channel_reduction' parameter"),
    ],
)
def test_bad_variants_of_the_cosines(model, options, message):
    with pytest.raises(ValueError, match=message):
        CosineSimilarityMatrixTransformer(model, **options).fit(X)


def test_gradients_of_zero_are_reported(model):
    class Rounded(nn.Module):
        def forward(self, x):
            return (10 * x).round() / 10

    transformer = CosineSimilarityMatrixTransformer(nn.Sequential(Rounded(), model))
    with pytest.warns(UserWarning, match="gradients of 0 at its inputs.*rounding"):
        transformer.fit(X)
    assert_array_equal(transformer.transform(X), 0)


def test_rows_have_no_channels_to_reduce():
    rows = CosineSimilarityMatrixTransformer(AnyWidth(), channel_reduction="max")
    with pytest.raises(ValueError, match=r"channel_reduction needs.*shape \(4,\)"):
        rows.fit(np.ones((2, 4)))


def test_two_classes_have_no_statistics():
    with pytest.raises(
        ValueError, match=r"needs 3 or more classes.*got 2 in this model.*'upper'"
    ):
        CosineSimilarityMatrixTransformer(AnyWidth(2)).fit(np.ones((2, 3)))
