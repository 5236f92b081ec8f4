"""Landscapes whose heights are known, the directions, and what is rejected."""

import numpy as np
import pytest
import torch
from networks import AnyWidth, two_classes
from torch import nn

from skgrad import CosineSimilarityMatrixTransformer
from skgrad.inspection import LossLandscapeDisplay, _plane

from_estimator = LossLandscapeDisplay.from_estimator


def draw(first, second, heights, classes, **options):
    data = {"first": first, "second": second, "heights": heights, "classes": classes}
    return LossLandscapeDisplay(**data, **options).plot()


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


@pytest.mark.parametrize("size", [2.0, 100.0])
def test_loss_and_classes_of_two_half_planes(size):
    # Logits (x0 - x1, 0): along the way to the target they are size * (1 - 2 a), and
    # the same everywhere across. A loss of exp(-100) is not 0.
    display = from_estimator(
        two_classes().double(),
        [size, 0.0],
        towards=[0.0, size],
        quantity="loss",
        n_grid=7,
        random_state=0,
    )
    steps = np.linspace(-1.5, 1.5, 7)
    margin = size * (1 - 2 * steps)
    expected = np.logaddexp(0, -margin)[:, None].repeat(7, axis=1)
    np.testing.assert_allclose(display.heights, expected, rtol=1e-6)
    assert (display.heights > 0).all()
    np.testing.assert_array_equal(display.first, steps)
    np.testing.assert_array_equal(display.second, steps)
    assert (display.classes[steps < 0.4] == 0).all()
    assert (display.classes[steps > 0.6] == 1).all()
    assert display.target == pytest.approx(1)
    assert display.length == pytest.approx(size * 2**0.5)
    assert legend(display) == ["predicted 0", "predicted 1", "input", "target"]


@pytest.mark.parametrize("batch_size", [128, 4])
def test_mean_of_cosines_point_by_point(batch_size):
    # Five classes: of three, only two are not predicted, and all statistics are equal.
    layers = nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5)
    model, rng = nn.Sequential(*layers).double(), np.random.default_rng(0)
    x, towards, across = rng.normal(size=(3, 2, 3))
    display = from_estimator(
        model, x, towards=towards, across=across, n_grid=3, batch_size=batch_size
    )
    along = towards - x
    beside = across - (across * along).sum() / (along**2).sum() * along
    beside *= np.linalg.norm(along) / np.linalg.norm(beside)
    steps = (-1.5, 0, 1.5)
    points = np.stack([x + a * along + b * beside for a in steps for b in steps])
    cosines = CosineSimilarityMatrixTransformer(model).fit(points)
    assert cosines.get_feature_names_out()[0] == "others_mean"
    means = cosines.transform(points)[:, 0]
    np.testing.assert_allclose(display.heights.ravel(), means, atol=1e-12)
    with torch.no_grad():
        classes = model(torch.from_numpy(points)).argmax(dim=1)
    np.testing.assert_array_equal(display.classes.ravel(), classes)


def test_directions_are_orthogonal_and_of_one_length():
    x = np.arange(12.0).reshape(3, 4)
    for towards, across in ((None, None), (x[::-1], None), (None, x + 1)):
        state = np.random.RandomState(0)
        along, beside, target = _plane.directions(x, towards, across, state)
        assert (along * beside).sum() == pytest.approx(0, abs=1e-9)
        assert np.linalg.norm(along) == pytest.approx(np.linalg.norm(beside))
        if towards is None:
            assert np.linalg.norm(along) == pytest.approx(np.linalg.norm(x) / 4)
            assert target is None
        else:
            np.testing.assert_allclose(x + target * along, towards)
    state = np.random.RandomState(0)
    along, _, _ = _plane.directions(0 * x, None, None, state)
    assert np.linalg.norm(along) == pytest.approx(1)


def test_random_directions_follow_the_random_state():
    x, options = np.ones(4), {"n_grid": 3, "quantity": "loss"}
    one, same = (from_estimator(AnyWidth(), x, random_state=0, **options) for _ in "12")
    np.testing.assert_array_equal(one.heights, same.heights)
    other = from_estimator(AnyWidth(), x, random_state=1, **options)
    assert not np.allclose(one.heights, other.heights)


def test_target_outside_the_picture_is_not_marked():
    steps = [-1.0, 0.0, 1.0]
    data = (steps, steps, np.arange(9.0).reshape(3, 3), np.eye(3, dtype=int))
    assert legend(draw(*data, target=2.0))[-1] == "input"
    shown = draw(*data, target=0.5, length=3.0, quantity="height [m]")
    assert legend(shown) == ["predicted 1", "predicted 0", "input", "target"]
    assert shown.ax_.get_xlabel() == "along the way to the target (1 = 3)"
    assert shown.figure_.axes[1].get_ylabel() == "height [m]"


@pytest.mark.parametrize(
    ("size", "offset"),
    [(0, 0.0), (1e-11, 1.0), (1e300, 0.0)],
)
def test_nearly_flat_landscape_is_drawn(size, offset):
    steps, rng = np.linspace(0, 1, 4), np.random.default_rng(0)
    heights = offset + size * rng.random((4, 4))
    display = draw(steps, steps, heights, np.zeros((4, 4)))
    display.figure_.canvas.draw()
    assert legend(display) == ["predicted 0", "input"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"towards": [1.0, 2.0, 3.0]}, "towards must differ from x"),
        ({"towards": [0.0, 0.0, 1.0], "across": [1.0, 2.0, 2.0]}, "across must not be"),
        ({"across": [1.0]}, r"across must have the shape of x, \(3,\); got \(1,\)"),
        ({"x": [1.0]}, "x must hold 2 or more values for a plane"),
        ({"x": 1.0}, "x must be one input"),
        ({"n_grid": 1}, "'n_grid' parameter"),
    ],
)
def test_wrong_input_is_rejected(change, match):
    arguments = {"x": [1.0, 2.0, 3.0], "n_grid": 2, "random_state": 0, **change}
    with pytest.raises(ValueError, match=match):
        from_estimator(AnyWidth(), arguments.pop("x"), **arguments)


def test_mean_of_others_needs_three_classes():
    with pytest.raises(ValueError, match=r"3 or more classes.*has 2\. Use quantity="):
        from_estimator(two_classes(), [1.0, 2.0], n_grid=2)


@pytest.mark.parametrize("n", [1, 3])
def test_error_about_a_batch_says_so(n):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(18, 3))
    assert from_estimator(net, np.ones((1, 5, 5)), n_grid=2).heights.shape == (2, 2)
    with pytest.raises(ValueError, match="model cannot take X: it failed") as caught:
        from_estimator(net, np.ones((n, 1, 5, 5)), n_grid=2)
    named, batch = caught.value.__notes__
    assert named == "The X of this message is x."
    assert "x must be one input without a batch axis" in batch


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"first": [0.0]}, "first must hold 2 or more steps"),
        ({"second": [1.0, 0.0]}, "second must hold .* in increasing order"),
        ({"classes": [[0, 1], [2, 0.5]]}, "classes must hold whole numbers"),
        ({"target": "far"}, "target must be a number or None; got 'far'"),
    ],
)
def test_wrong_data_are_rejected(change, match):
    square = [[0, 1], [2, 3]]
    arguments = {"first": [0, 1], "second": [0, 1], "heights": square}
    with pytest.raises(ValueError, match=match):
        draw(**{**arguments, "classes": square, **change})


def test_small_steps_are_not_rounded_to_coarse_inputs():
    x = np.array([1, 2, 3], np.float16)
    options = {"towards": x + np.array([1e-3, 0, 0]), "quantity": "loss", "n_grid": 5}
    model = torch.nn.Linear(3, 2, dtype=torch.float64)
    fine, coarse = (
        from_estimator(model, one, **options, random_state=0).heights
        for one in (x.astype(float), x)
    )
    np.testing.assert_array_equal(coarse, fine)
