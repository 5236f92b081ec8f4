"""Landscapes whose heights are known, the directions, and what is refused."""

import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from skgrad import CosineSimilarityMatrixTransformer
from skgrad.inspection import LossLandscapeDisplay, _plane
from tests.networks import AnyShape, AnyWidth, AnyWidthDropout, two_classes

matplotlib.use("Agg")
from_estimator = LossLandscapeDisplay.from_estimator
from_predictions = LossLandscapeDisplay.from_predictions


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


@pytest.mark.parametrize("size", [2.0, 100.0])
def test_loss_and_classes_of_two_half_planes(size):
    # Logits (x0 - x1, 0): along the way to the target they are size * (1 - 2 a), and
    # the same everywhere across. A loss of exp(-100) is told from 0.
    display = from_estimator(
        two_classes().double(),
        [size, 0.0],
        towards=[0.0, size],
        quantity="loss",
        n_grid=5,
        extent=1,
        random_state=0,
    )
    steps = np.linspace(-1, 1, 5)
    margin = size * (1 - 2 * steps)
    expected = np.logaddexp(0, -margin)[:, None].repeat(5, axis=1)
    np.testing.assert_allclose(display.heights, expected, rtol=1e-6)
    assert (display.heights > 0).all()
    np.testing.assert_array_equal(display.first, steps)
    np.testing.assert_array_equal(display.second, steps)
    assert (display.classes[steps < 0.5] == 0).all()
    assert (display.classes[steps > 0.5] == 1).all()
    assert display.target == pytest.approx(1)
    assert display.length == pytest.approx(size * 2**0.5)
    assert legend(display) == ["predicted 0", "predicted 1", "input", "target"]


@pytest.mark.parametrize("batch_size", [128, 4])
def test_mean_of_cosines_point_by_point(batch_size):
    model, rng = AnyShape(), np.random.default_rng(0)
    x, towards, across = rng.normal(size=(3, 2, 3))
    display = from_estimator(
        model, x, towards=towards, across=across, n_grid=3, batch_size=batch_size
    )
    along = towards - x
    beside = across - (across * along).sum() / (along**2).sum() * along
    beside *= np.linalg.norm(along) / np.linalg.norm(beside)
    steps = (-1.5, 0, 1.5)
    points = np.stack([x + a * along + b * beside for a in steps for b in steps])
    means = CosineSimilarityMatrixTransformer(model).fit_transform(points)[:, 0]
    np.testing.assert_allclose(display.heights.ravel(), means, atol=1e-12)
    with torch.no_grad():
        classes = model(torch.from_numpy(points)).argmax(dim=1)
    np.testing.assert_array_equal(display.classes.ravel(), classes)


def directions(x, towards=None, across=None, length=None, seed=0):
    return _plane.directions(x, towards, across, length, np.random.RandomState(seed))


def test_directions_are_orthogonal_and_of_one_length():
    x = np.arange(12.0).reshape(3, 4)
    for options in ({}, {"towards": x[::-1]}, {"length": 5.0}, {"across": x + 1}):
        along, across, target = directions(x, **options)
        assert (along * across).sum() == pytest.approx(0, abs=1e-9)
        assert np.linalg.norm(along) == pytest.approx(np.linalg.norm(across))
        assert (target is None) == ("towards" not in options)
    assert np.linalg.norm(directions(x)[0]) == pytest.approx(np.linalg.norm(x) / 4)
    assert np.linalg.norm(directions(0 * x)[0]) == pytest.approx(1)
    # A length that is given changes the unit, not where the target is.
    along, _, target = directions(x, towards=x + 1, length=2.0)
    np.testing.assert_allclose(x + target * along, x + 1)


def test_random_directions_follow_the_random_state():
    x, options = np.ones(4), {"n_grid": 3, "quantity": "loss"}
    one, same = (from_estimator(AnyWidth(), x, random_state=0, **options) for _ in "12")
    np.testing.assert_array_equal(one.heights, same.heights)
    other = from_estimator(AnyWidth(), x, random_state=1, **options)
    assert not np.allclose(one.heights, other.heights)


def test_target_outside_the_picture_is_not_marked():
    steps = [-1.0, 0.0, 1.0]
    data = (steps, steps, np.arange(9.0).reshape(3, 3), np.eye(3, dtype=int))
    assert legend(from_predictions(*data, target=2.0))[-1] == "input"
    shown = from_predictions(*data, target=0.5, length=3.0, quantity="height [m]")
    assert legend(shown) == ["predicted 1", "predicted 0", "input", "target"]
    assert shown.ax_.get_xlabel() == "along the way to the target (1 = 3)"
    assert shown.figure_.axes[1].get_ylabel() == "height [m]"


@pytest.mark.parametrize("height", [0.0, 5.0, -1e-30])
def test_flat_landscape_of_one_class_is_drawn(height):
    steps = np.linspace(0, 1, 4)
    flat = np.full((4, 4), height)
    display = from_predictions(steps, steps, flat, np.zeros((4, 4), int))
    display.figure_.canvas.draw()
    assert legend(display) == ["predicted 0", "input"]


def test_landscape_that_is_all_but_flat_is_drawn():
    steps, rng = np.linspace(0, 1, 4), np.random.default_rng(0)
    for size, offset in ((1e-9, 0.5), (1e-11, 1.0), (1e-300, 0.0), (1e300, 0.0)):
        heights = offset + size * rng.random((4, 4))
        display = from_predictions(steps, steps, heights, np.eye(4))
        display.figure_.canvas.draw()
        assert set(legend(display)) == {"predicted 0", "predicted 1", "input"}


def test_many_classes_are_told_apart():
    steps, classes = np.linspace(-1, 1, 12), np.arange(12).repeat(12).reshape(12, 12)
    display = from_predictions(steps, steps, classes / 12.0, classes)
    display.figure_.canvas.draw()
    assert len(legend(display)) == 13


def test_model_is_left_as_it_was():
    model, drawn = AnyWidthDropout().train(), torch.get_rng_state()
    from_estimator(model, np.ones(3), n_grid=2)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"towards": [1.0, 2.0, 3.0]}, "towards must differ from x"),
        ({"towards": [[1.0, 2.0, 4.0]]}, r"towards must have the shape of x, \(3,\)"),
        ({"towards": [0.0, 0.0, 1.0], "across": [1.0, 2.0, 2.0]}, "across must not be"),
        ({"across": [1.0]}, r"across must have the shape of x, \(3,\); got \(1,\)"),
        ({"x": [1.0]}, "x must hold 2 or more values for a plane"),
        ({"x": 1.0}, "x must be one input"),
        ({"x": [1.0, np.nan, 3.0]}, "x must be finite; got NaN or infinity in 1 of 3"),
        ({"quantity": "height"}, "'quantity' parameter of LossLandscapeDisplay.from_"),
        ({"n_grid": 1}, "'n_grid' parameter"),
        ({"extent": 0}, "'extent' parameter"),
        ({"length": 0}, "'length' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
    ],
)
def test_wrong_input_is_refused(change, match):
    arguments = {"x": [1.0, 2.0, 3.0], "n_grid": 2, "random_state": 0, **change}
    with pytest.raises(ValueError, match=match):
        from_estimator(AnyWidth(), arguments.pop("x"), **arguments)


def test_mean_of_others_needs_others():
    with pytest.raises(ValueError, match=r"3 or more classes.*has 2\. Use quantity="):
        from_estimator(two_classes(), [1.0, 2.0], n_grid=2)


@pytest.mark.parametrize("n", [1, 3])
def test_batch_is_pointed_out(n):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(18, 3))
    assert from_estimator(net, np.ones((1, 5, 5)), n_grid=2).heights.shape == (2, 2)
    with pytest.raises(ValueError, match="model cannot take x: it failed") as caught:
        from_estimator(net, np.ones((n, 1, 5, 5)), n_grid=2)
    note = rf"x must be one input.*got shape \({n}, 1, 5, 5\)\. .*give one of it"
    assert re.search(note, caught.value.__notes__[0])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"first": [0.0]}, "first must hold 2 or more steps"),
        ({"second": [1.0, 0.0]}, "second must hold .* in increasing order"),
        ({"heights": np.zeros((3, 2))}, r"heights must be .* \(2, 2\); got \(3, 2\)"),
        ({"heights": [[0, 1], [2, np.inf]]}, "heights must be finite; got infinity"),
        ({"classes": [[0, 1]]}, r"classes must be of shape \(n_first, n_second\)"),
        ({"classes": [[0, 1], [2, 0.5]]}, "classes must hold whole numbers"),
        ({"quantity": 3}, "'quantity' parameter"),
        ({"target": "far"}, "'target' parameter"),
    ],
)
def test_wrong_data_are_refused(change, match):
    square = [[0, 1], [2, 3]]
    arguments = {"first": [0, 1], "second": [0, 1], "heights": square}
    arguments |= {"classes": square, **change}
    with pytest.raises(ValueError, match=match):
        from_predictions(**arguments)


def test_small_steps_outlast_coarse_inputs():
    x, options = np.array([1, 2, 3], np.float16), {"length": 1e-3, "n_grid": 5}
    options |= {"quantity": "loss", "random_state": 0}
    model = torch.nn.Linear(3, 2, dtype=torch.float64)
    fine, coarse = (
        from_estimator(model, one, **options).heights for one in (x.astype(float), x)
    )
    np.testing.assert_array_equal(coarse, fine)
