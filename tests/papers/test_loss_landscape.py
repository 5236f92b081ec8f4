"""Zeta in landscapes whose gradients are known, and the plane through an input."""

import numpy as np
import pytest
import torch
from networks import AnyWidth
from numpy.testing import assert_allclose
from torch import nn

from skgrad import CosineSimilarityMatrixTransformer


class Landscape(nn.Module):
    """Two classes whose logits differ by a function: the loss has its shape."""

    def __init__(self, height):
        super().__init__()
        self.height = height

    def forward(self, x):
        height = self.height(x)
        return torch.stack([torch.zeros_like(height), height], dim=1)


CENTRE = torch.tensor([0.3, -0.2, 0.5])


def bowl(x):
    return (x - CENTRE.to(x)).square().sum(dim=1)


def test_zeta_is_one_in_a_minimum_and_minus_one_at_a_maximum():
    from loss_landscape import loss_alignment

    X, options = CENTRE.expand(2, 3).numpy(), {"sigma": 0.1, "n_injections": 20}
    zeta = loss_alignment(Landscape(bowl), X, [0, 1], **options)
    assert_allclose(zeta, [[1.0] * 20, [-1.0] * 20], atol=1e-4)
    flat = Landscape(lambda x: 0 * x.sum(dim=1))
    assert (loss_alignment(flat, X, [0, 1], **options) == 0).all()


@pytest.mark.parametrize("batch_size", [128, 3])
def test_zeta_matches_autograd_one_copy_at_a_time(batch_size):
    from loss_landscape import loss_alignment

    model, X = AnyWidth(), np.random.RandomState(1).normal(size=(3, 5))
    y, rng = np.array([0, 2, 1]), np.random.RandomState(0)
    options = {"sigma": 0.3, "n_injections": 4, "random_state": 0}
    zeta = loss_alignment(model, X, y, batch_size=batch_size, **options)
    for i, steps in enumerate(rng.normal(scale=0.3, size=(3, 4, 5))):
        for j, step in enumerate(steps):
            leaf = torch.tensor(X[i] + step, requires_grad=True)
            loss = nn.functional.cross_entropy(model(leaf[None]), torch.tensor([y[i]]))
            (gradient,) = torch.autograd.grad(loss, leaf)
            expected = nn.functional.cosine_similarity(
                -gradient, -torch.as_tensor(step), dim=0
            )
            assert zeta[i, j] == pytest.approx(float(expected), abs=1e-12)
    later = loss_alignment(model, X[:2], y[:2], batch_size=batch_size, **options)
    assert_allclose(later, zeta[:2], atol=1e-12)


def test_plane_is_the_mean_cosine_point_by_point():
    from loss_landscape import measure_plane

    # Five classes: of three, only two are not predicted, and all statistics are equal.
    layers = nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5)
    model, rng = nn.Sequential(*layers).double(), np.random.default_rng(0)
    x, target, across = rng.normal(size=(3, 2, 3))
    plane = measure_plane(model, x, target, across, n_grid=3)
    along = target - x
    beside = across - (across * along).sum() / (along**2).sum() * along
    assert (along * beside).sum() == pytest.approx(0, abs=1e-12)
    beside *= np.linalg.norm(along) / np.linalg.norm(beside)
    points = np.stack(
        [x + a * along + b * beside for a in (-1.5, 0, 1.5) for b in (-1.5, 0, 1.5)]
    )
    cosines = CosineSimilarityMatrixTransformer(model).fit(points)
    assert cosines.get_feature_names_out()[0] == "others_mean"
    assert_allclose(plane.heights.ravel(), cosines.transform(points)[:, 0], atol=1e-12)
    with torch.no_grad():
        classes = model(torch.from_numpy(points)).argmax(dim=1)
    assert (plane.classes.ravel() == classes.numpy()).all()
    assert plane.length == pytest.approx(np.linalg.norm(along))
