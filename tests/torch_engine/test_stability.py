"""Changes of inputs by hand, and log-odds where the softmax saturates."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import correlate1d
from torch.testing import assert_close

from skgrad._several import Several
from skgrad.torch_engine.stability import (
    blurred,
    dropped,
    flipped,
    log_odds,
    masked,
    rounded,
    shifted,
    spread_of,
    with_noise,
)

IMAGES = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 4, 5)))


def test_log_odds_are_exact_where_the_softmax_saturates():
    logits = torch.tensor([[1.0, 2.0, 0.5], [800, 0, 0], [0, 900, 0], [0, 0, 0]])
    found = log_odds(logits.double(), torch.tensor([1, 0, 0, 2]))
    p = logits[0].double().softmax(dim=0)[1]
    two = np.log(2)
    expected = [float((p / (1 - p)).log()), 800 - two, -900, -two]
    assert_allclose(found, expected, rtol=1e-12)


def test_log_odds_have_a_finite_gradient():
    logits = torch.tensor([[1.0, 2.0, 0.5], [800, 0, 0]], dtype=torch.float64)
    logits.requires_grad_()
    classes = torch.tensor([1, 0])
    (found,) = torch.autograd.grad(log_odds(logits, classes).sum(), logits)
    p = logits.detach()[0].softmax(dim=0)
    expected = [-p[0] / (p[0] + p[2]), 1.0, -p[2] / (p[0] + p[2])]
    assert_allclose(found, [expected, [1, -0.5, -0.5]], rtol=1e-12)


def test_spread_is_that_of_columns_and_of_channels():
    rows = np.array([[0.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    found = spread_of(torch.from_numpy(rows))[""]
    assert_allclose(found.scale, rows.std(axis=0))
    assert_array_equal([found.low, found.high], [[0, 5], [4, 5]])
    found = spread_of(Several({"x": IMAGES, "ids": torch.ones(2, 3).long()}))
    assert list(found) == ["x"]
    assert found["x"].scale.shape == (3, 1, 1)
    expected = IMAGES.numpy().std(axis=(0, 2, 3))
    assert_allclose(found["x"].scale.ravel(), expected)


def test_noise_is_added():
    noise = np.arange(60.0).reshape(3, 4, 5)
    assert_array_equal(with_noise(IMAGES, noise), IMAGES.numpy() + noise)
    # A longer input, as several may be, repeats the pattern.
    longer = with_noise(torch.zeros(1, 5), np.array([1.0, 2.0]))
    assert_array_equal(longer, [[1, 2, 1, 2, 1]])


def test_levels_go_on_beyond_the_range():
    x = torch.tensor([[0.0, 0.3, 1.2], [0.1, 0.9, -2.9]])
    span = np.array([0.0, 0.0, 1.0]), np.array([1.0, 1.0, 1.0])
    # Five levels 0.25 apart; the last column never varied.
    found = rounded(x, span, 5)
    assert_array_equal(found, np.float32([[0, 0.25, 1.2], [0, 1, -2.9]]))
    assert_allclose(rounded(x + 2, span, 5)[:, :2], [[2, 2.25], [2, 3]])


def test_levels_pass_the_gradient_straight_through():
    x = torch.tensor([[0.3, 0.7]], requires_grad=True)
    found = rounded(x, (np.zeros(2), np.ones(2)), 5)
    assert_allclose(found.detach(), [[0.25, 0.75]])
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert_array_equal(gradient, [[1, 1]])


def test_changes_of_images():
    padded = np.pad(IMAGES.numpy(), [(0, 0), (0, 0), (2, 0), (2, 0)], mode="edge")
    assert_array_equal(shifted(IMAGES, 2), padded[..., :4, :5])
    smooth = IMAGES.numpy()
    for axis in (2, 3):
        smooth = correlate1d(smooth, [0.25, 0.5, 0.25], axis, mode="nearest")
    assert_allclose(blurred(IMAGES), smooth, rtol=1e-12)
    assert_array_equal(flipped(IMAGES), IMAGES.numpy()[..., ::-1])


@pytest.mark.parametrize("padding", ["right", "left"])
def test_tokens_are_counted_without_padding(padding):
    ids, mask = torch.arange(10, 22)[None], torch.ones(1, 12, dtype=torch.long)
    few, rest = masked(ids, mask, 0, 4), dropped(mask, 4)
    expected = [10, 11, 0, 13, 14, 15, 0, 17, 18, 19, 0, 21]
    assert_array_equal(few, [expected])
    assert_array_equal(masked(ids, None, 0, 4), [expected])
    assert_array_equal(rest, np.array([expected]) > 0)
    pad = (0, 3) if padding == "right" else (3, 0)
    ids, mask = (torch.nn.functional.pad(one, pad) for one in (ids, mask))
    place = slice(0, 12) if padding == "right" else slice(3, 15)
    assert_close(masked(ids, mask, 0, 4)[:, place], few)
    assert_close(dropped(mask, 4)[:, place], rest)
    assert dropped(mask, 4).sum() == rest.sum()
