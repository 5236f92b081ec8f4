"""Feature squeezing: the squeezers by hand, the distance, wrong parameters."""

import numpy as np
import pytest
import torch
from networks import BatchNormNet, Readout, images, seeded
from numpy.testing import assert_allclose
from torch import nn

from skgrad.baselines import FeatureSqueezing
from skgrad.baselines._feature_squeezing import _distance, _median, _round

X = images(100, (2, 6, 6))
NET = seeded(BatchNormNet, dtype=torch.float64)


def make(net=NET, **options):
    return FeatureSqueezing(net, random_state=0, **options)


def softmax_of(x):
    with torch.no_grad():
        return NET.eval()(torch.as_tensor(x).double()).softmax(dim=1).numpy()


def test_bits_by_hand():
    x, (low, high) = torch.tensor([[0.0, 0.2, 0.6, 1.0, 1.5]]), torch.tensor([0.0, 1.0])
    one = _round(x, low=low, high=high, bits=1)
    assert one.tolist() == [[0.0, 0.0, 1.0, 1.0, 1.0]]
    two = _round(x, low=low, high=high, bits=2)
    assert_allclose(two, [[0.0, 1 / 3, 2 / 3, 1.0, 1.0]], rtol=1e-6)
    wider = _round(4 * x - 2, low=-2 + 0 * low, high=2 * high, bits=1)
    assert wider.tolist() == [[-2.0, -2.0, 2.0, 2.0, 2.0]]


def test_median_by_hand():
    image = np.array([[1.0, 2.0, 9.0], [4.0, 5.0, 6.0], [7.0, 8.0, 3.0]])
    squeezed = _median(image[None, None], size=3)[0, 0]
    assert squeezed[1, 1] == 5
    # The corner is mirrored: 1 four times, 2 and 4 twice, 5 once.
    assert squeezed[0, 0] == 2
    two = np.stack([image, image + 100])[None]
    assert (_median(two, size=3)[0, 0] == squeezed).all()  # channels stay apart
    series = _median(np.array([[[1.0, 9.0, 2.0], [0.0, 0.0, 7.0]]]), size=3)
    assert series.tolist() == [[[1.0, 2.0, 2.0], [0.0, 0.0, 7.0]]]
    assert _median(np.array([[1.0, 9.0, 2.0]]), size=3).tolist() == [[1.0, 2.0, 2.0]]


def test_score_is_the_largest_distance():
    halved = make(bit_depth=4, squeezers=[lambda x: x / 2]).fit(X)
    p = softmax_of(X)
    medians = np.stack([_median(image[None], size=2)[0] for image in X])
    squeezed = [np.round(X * 15) / 15, medians, X / 2]
    distances = [np.abs(p - softmax_of(s)).sum(axis=1) for s in squeezed]
    assert_allclose(halved.score_samples(X), -np.max(distances, axis=0), rtol=1e-6)
    assert len(set(np.argmax(distances, axis=0))) > 1


def test_distance_keeps_its_digits_where_softmax_saturates():
    logits = torch.tensor([[60.0, 0.0, -5.0], [60.0, 3.0, -5.0]]).double()
    p, q = logits.softmax(dim=1)[:, None]
    tail = np.exp([-57.0, -65.0]) - np.exp([-60.0, -65.0])
    assert_allclose(_distance(p, q), [2 * tail.sum()], rtol=1e-9)
    p, q = torch.rand(2, 50, 4).double().softmax(dim=2)
    assert_allclose(_distance(p, q), (p - q).abs().sum(dim=1), rtol=1e-9)


def test_a_squeezer_may_work_in_place():
    def dim(array):
        array *= 0.5
        return array

    options = {"bit_depth": None, "median_size": None}
    aside = make(squeezers=[lambda x: x / 2], **options).fit(X)
    in_place = make(squeezers=[dim], **options).fit(X)
    assert_allclose(in_place.score_samples(X), aside.score_samples(X))


def test_series_and_half_precision():
    net = Readout(nn.Conv1d(2, 3, 3)).bfloat16()
    scores = make(net).fit(X[:, :, 0]).score_samples(X[:, :, 0])
    assert np.isfinite(scores).all()
    assert scores.max() <= 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bit_depth": 0}, "'bit_depth' parameter"),
        ({"median_size": 1}, "'median_size' parameter"),
        ({"bit_depth": None, "median_size": None}, "squeezers must hold at least one"),
        ({"squeezers": ["median"]}, "squeezers must be functions .* got 'median'"),
        ({"squeezers": [lambda x: x * np.nan]}, "squeezers must .* NaN or infinity"),
        ({"squeezers": [lambda x: x[:, :1]]}, r"of the same shape, \(\d+, 2, 6, 6"),
        ({"bounds": (0.0, 0.5)}, "X must lie within bounds; it spans"),
        ({"bounds": (1.0, 0.0)}, "bounds must have lowest < highest"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(**options).fit(X)


def test_more_bits_than_half_precision_represents():
    low, high = torch.tensor([0.0, 1.0]).half()
    x = torch.tensor([[0.0, 0.25, 1.0]]).half()
    assert _round(x, low=low, high=high, bits=16).tolist() == x.tolist()
    assert _round(x, low=low, high=high, bits=16).dtype == torch.float16


@pytest.mark.parametrize("row", [0, 11, 55, 99])
def test_every_row_must_lie_within_the_bounds(row):
    rows = X / 10
    assert abs(rows).max() < 1
    rows[row, 0, 0, 0] = 9
    with pytest.raises(ValueError, match="X must lie within bounds"):
        make(bounds=(-1.0, 1.0)).fit(rows)
    # A known anomaly need not.
    y = np.where(np.arange(100) == row, -1, 1)
    make(bounds=(-1.0, 1.0)).fit(rows, y)
