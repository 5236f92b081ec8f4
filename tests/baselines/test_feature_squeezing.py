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
    assert _round(x, low, high, bits=1).tolist() == [[0.0, 0.0, 1.0, 1.0, 1.0]]
    two = _round(x, low, high, bits=2)
    assert_allclose(two, [[0.0, 1 / 3, 2 / 3, 1.0, 1.0]], rtol=1e-6)
    wider = _round(4 * x - 2, low - 2, 2 * high, bits=1)
    assert wider.tolist() == [[-2.0, -2.0, 2.0, 2.0, 2.0]]


def median(array, size=3):
    return _median(torch.as_tensor(array), size).numpy()


def test_median_by_hand():
    image = np.array([[1.0, 2.0, 9.0], [4.0, 5.0, 6.0], [7.0, 8.0, 3.0]])
    squeezed = median(image[None, None])[0, 0]
    assert squeezed[1, 1] == 5
    # The corner is mirrored: 1 four times, 2 and 4 twice, 5 once.
    assert squeezed[0, 0] == 2
    two = np.stack([image, image + 100])[None]
    assert (median(two)[0, 0] == squeezed).all()  # channels stay apart
    series = median([[[1.0, 9.0, 2.0], [0.0, 0.0, 7.0]]])
    assert series.tolist() == [[[1.0, 2.0, 2.0], [0.0, 0.0, 7.0]]]
    assert median([[1.0, 9.0, 2.0]]).tolist() == [[1.0, 2.0, 2.0]]


def test_score_is_the_largest_distance():
    rows = X.astype(np.float64)
    p = softmax_of(rows)
    squeezed = [np.round(rows * 3) / 3, median(rows, size=2)]
    distances = [np.abs(p - softmax_of(s)).sum(axis=1) for s in squeezed]
    assert len(set(np.argmax(distances, axis=0))) > 1
    both = make(bit_depth=2).fit(rows).score_samples(rows)
    assert_allclose(both, -np.max(distances, axis=0), rtol=1e-6)
    bits = make(bit_depth=2, median_size=None).fit(rows).score_samples(rows)
    assert_allclose(bits, -distances[0], rtol=1e-6)
    medians = make(bit_depth=None).fit(rows).score_samples(rows)
    assert_allclose(medians, -distances[1], rtol=1e-6)


def test_distance_keeps_its_digits_where_softmax_saturates():
    logits = torch.tensor([[60.0, 0.0, -5.0], [60.0, 3.0, -5.0]]).double()
    p, q = logits.softmax(dim=1)[:, None]
    tail = np.exp([-57.0, -65.0]) - np.exp([-60.0, -65.0])
    assert_allclose(_distance(p, q), [2 * tail.sum()], rtol=1e-9)
    p, q = torch.rand(2, 50, 4).double().softmax(dim=2)
    assert_allclose(_distance(p, q), (p - q).abs().sum(dim=1), rtol=1e-9)


def test_series_and_half_precision():
    net = Readout(nn.Conv1d(2, 3, 3)).bfloat16()
    scores = make(net).fit(X[:, :, 0]).score_samples(X[:, :, 0])
    assert np.isfinite(scores).all()
    assert scores.max() <= 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bit_depth": None, "median_size": None}, "bit_depth or median_size must be"),
        ({"bounds": (0.0, 0.5)}, "X must lie within bounds; it spans"),
        ({"bounds": (1.0, 0.0)}, "bounds must have lowest < highest"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options).fit(X)


def test_more_bits_than_half_precision_represents():
    low, high = torch.tensor([0.0, 1.0]).half()
    x = torch.tensor([[0.0, 0.25, 1.0]]).half()
    rounded = _round(x, low, high, bits=16)
    assert torch.equal(rounded, x)
    assert rounded.dtype == torch.float16


@pytest.mark.parametrize("row", [0, 11, 99])
def test_every_row_must_lie_within_the_bounds(row):
    rows = X / 10
    assert abs(rows).max() < 1
    rows[row, 0, 0, 0] = 9
    with pytest.raises(ValueError, match="X must lie within bounds"):
        make(bounds=(-1.0, 1.0)).fit(rows)
    # A known anomaly need not.
    y = np.where(np.arange(100) == row, -1, 1)
    make(bounds=(-1.0, 1.0)).fit(rows, y)
