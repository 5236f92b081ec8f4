"""Theorem 1 of paper B, in landscapes whose gradients are known."""

import numpy as np
import pytest
import torch
from networks import AnyWidth
from torch import nn

from skgrad.inspection import loss_alignment


class Landscape(nn.Module):
    """Two classes whose logits differ by a function: the loss has its shape."""

    def __init__(self, height):
        super().__init__()
        self.height = height

    def forward(self, x):
        height = self.height(x)
        return torch.stack([torch.zeros_like(height), height], dim=1)


CENTRE = torch.tensor([0.3, -0.2, 0.5])


def noise(n_samples, n_injections, n_features, sigma):
    """Draw what loss_alignment draws from random_state=0."""
    rng = np.random.RandomState(0)
    draws = [
        rng.normal(scale=sigma, size=(n_injections, n_features))
        for _ in range(n_samples)
    ]
    return np.stack(draws)


def bowl(x):
    return (x - CENTRE.to(x)).square().sum(dim=1)


@pytest.mark.parametrize(("label", "expected"), [(0, 1.0), (1, -1.0)])
def test_minimum_is_one_and_maximum_minus_one(label, expected):
    zeta = loss_alignment(
        Landscape(bowl), CENTRE[None], [label], sigma=0.1, n_injections=20
    )
    np.testing.assert_allclose(zeta, expected, atol=1e-4)


def test_predicted_class_is_the_default():
    below = CENTRE[None] - 1.0
    options = {"sigma": 0.1, "n_injections": 5, "random_state": 0}
    model = Landscape(bowl)  # the second logit is larger off the centre
    np.testing.assert_array_equal(
        loss_alignment(model, below, **options),
        loss_alignment(model, below, [1], **options),
    )


def test_slope_is_the_cosine_of_noise_with_it():
    slope = np.array([1.0, 2.0, -2.0])
    model = Landscape(lambda x: x @ torch.as_tensor(slope).to(x))
    zeta = loss_alignment(
        model, np.ones((3, 3)), [0, 0, 1], sigma=0.2, n_injections=9, random_state=0
    )
    step = noise(3, 9, 3, 0.2)
    cosine = step @ slope / (3 * np.linalg.norm(step, axis=-1))
    np.testing.assert_allclose(zeta, cosine * [[1], [1], [-1]], atol=1e-5)


def test_against_autograd_one_copy_at_a_time():
    model, X = AnyWidth(), np.random.RandomState(1).normal(size=(3, 5))
    y = np.array([0, 2, 1])
    zeta = loss_alignment(model, X, y, sigma=0.3, n_injections=4, random_state=0)
    for i, steps in enumerate(noise(3, 4, 5, 0.3)):
        for j, step in enumerate(steps):
            leaf = torch.tensor(X[i] + step, requires_grad=True)
            loss = nn.functional.cross_entropy(model(leaf[None]), torch.tensor([y[i]]))
            (gradient,) = torch.autograd.grad(loss, leaf)
            expected = nn.functional.cosine_similarity(
                -gradient, -torch.as_tensor(step), dim=0
            )
            assert zeta[i, j] == pytest.approx(float(expected), abs=1e-12)


def test_batch_size_and_later_samples_change_nothing():
    model, X = AnyWidth(), np.random.RandomState(1).normal(size=(4, 5))
    options = {"sigma": 0.3, "n_injections": 7, "random_state": 0}
    whole = loss_alignment(model, X, **options)
    np.testing.assert_allclose(
        loss_alignment(model, X[:2], batch_size=3, **options), whole[:2], atol=1e-12
    )


def test_vanished_gradient_gives_zero():
    model = Landscape(lambda x: 0 * x.sum(dim=1))
    zeta = loss_alignment(model, np.ones((1, 2)), sigma=0.1, n_injections=3)
    np.testing.assert_array_equal(zeta, 0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sigma": 0.0}, "sigma"),
        ({"n_injections": 0}, "n_injections"),
        ({"y": [0]}, "y must hold one value for each of the 2 samples"),
        ({"y": [0, 3]}, "y must hold classes 0 to 2"),
        ({"y": [0.5, 1.0]}, "whole numbers"),
        ({"X": np.empty((0, 3))}, "at least one"),
        ({"X": np.full((2, 3), np.nan)}, "finite"),
    ],
)
def test_wrong_input_is_rejected(change, match):
    arguments = {"X": np.ones((2, 3)), "y": [0, 1], "sigma": 0.1, **change}
    with pytest.raises(ValueError, match=match):
        loss_alignment(AnyWidth(), **arguments)
