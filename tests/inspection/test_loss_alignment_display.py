"""Violins of zeta: of which inputs, towards which class, and what is refused."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from skgrad.inspection import LossAlignmentDisplay, loss_alignment
from tests.networks import AnyWidth, AnyWidthDropout

matplotlib.use("Agg")
from_predictions = LossAlignmentDisplay.from_predictions


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


class Bowl(torch.nn.Module):
    """Class 0 wherever one looks, with the lowest loss at 0."""

    def forward(self, x):
        height = x.square().sum(dim=1)
        return torch.stack([1 - height, height - 1], dim=1)


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_minimum_of_a_bowl_is_one_everywhere():
    display = LossAlignmentDisplay.from_estimator(
        Bowl(), np.zeros((2, 3)), [0, 1], n_injections=4, random_state=0
    )
    np.testing.assert_allclose(display.zeta, 1, atol=1e-6)
    assert display.zeta.shape == (3, 2, 4)
    assert display.correct.tolist() == [True, False]
    assert legend(display) == [
        "classified correctly (1 input)",
        "classified incorrectly (1 input)",
    ]


def test_values_are_those_of_loss_alignment():
    model, X = AnyWidth(), np.random.default_rng(0).normal(size=(5, 4))
    with torch.no_grad():
        predicted = model(torch.from_numpy(X)).argmax(dim=1).numpy()
    y = np.where(np.arange(5) < 3, predicted, (predicted + 1) % 3)
    options = {"n_injections": 6, "random_state": 0}
    display = LossAlignmentDisplay.from_estimator(
        model, X, y, sigmas=(0.1, 0.7), batch_size=4, **options
    )
    for sigma, zeta in zip((0.1, 0.7), display.zeta, strict=True):
        expected = loss_alignment(model, X, predicted, sigma=sigma, **options)
        np.testing.assert_allclose(zeta, expected, atol=1e-12)
    assert display.correct.tolist() == [True] * 3 + [False] * 2


def test_medians_are_drawn_where_their_sigma_stands():
    zeta = np.stack([np.full((3, 5), 0.2), np.full((3, 5), -0.4)])
    zeta[:, 2] += 0.1  # the incorrect one
    display = from_predictions(zeta, [True, True, False], [0.1, 1])
    medians = [
        (path.vertices[:, 0].mean(), path.vertices[0, 1])
        for lines in display.ax_.collections
        for path in lines.get_paths()
        if len(path.vertices) == 2 and np.ptp(path.vertices[:, 1]) == 0
    ]
    expected = {(-0.2, 0.2), (0.8, -0.4), (0.2, 0.3), (1.2, -0.3)}
    assert {tuple(np.round(one, 9).tolist()) for one in medians} == expected
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["0.1", "1"]


@pytest.mark.parametrize(("value", "name"), [(1, "correctly"), (0, "incorrectly")])
def test_one_kind_alone_is_fine(value, name):
    display = from_predictions(np.zeros((1, 2, 3)), [value] * 2, 0.1)
    assert legend(display) == [f"classified {name} (2 inputs)"]
    display.figure_.canvas.draw()


def test_model_is_left_as_it_was():
    model, drawn = AnyWidthDropout().train(), torch.get_rng_state()
    LossAlignmentDisplay.from_estimator(model, np.ones((2, 3)), [0, 1], n_injections=2)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"y": None}, "y must hold the true classes of X"),
        ({"y": [0]}, "y must hold one class for each of the 2 inputs"),
        ({"sigmas": []}, "sigmas must hold standard deviations"),
        ({"sigmas": [0.1, 0]}, r"sigmas must .* above 0, one or more; got array"),
        ({"sigmas": [np.inf]}, "sigmas must hold standard deviations, finite"),
        ({"sigmas": "ab"}, "sigmas must hold numbers"),
        ({"n_injections": 0}, "'n_injections' parameter of LossAlignmentDisplay.from_"),
        ({"batch_size": 0}, "'batch_size' parameter of LossAlignmentDisplay.from_est"),
        ({"X": np.empty((0, 3))}, "X must"),
    ],
)
def test_wrong_input_is_refused(change, match):
    arguments = {"X": np.ones((2, 3)), "y": [0, 1], "n_injections": 2, **change}
    X, y = arguments.pop("X"), arguments.pop("y")
    with pytest.raises(ValueError, match=match):
        LossAlignmentDisplay.from_estimator(AnyWidth(), X, y, **arguments)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"zeta": np.zeros((2, 3))}, r"zeta must be of shape .*got \(2, 3\)"),
        ({"zeta": np.zeros((3, 2, 4))}, "with 2 sigmas"),
        ({"zeta": np.zeros((2, 0, 4))}, "at least one input"),
        ({"zeta": np.full((2, 2, 4), 3)}, "zeta must hold cosines from -1 to 1"),
        ({"correct": [True]}, r"correct must hold True or False for each of the 2"),
        ({"correct": [1, 2]}, r"correct must hold True or False .*got shape \(2,\)"),
    ],
)
def test_wrong_data_are_refused(change, match):
    arguments = {"zeta": np.zeros((2, 2, 4)), "correct": [True, False], **change}
    with pytest.raises(ValueError, match=match):
        from_predictions(**arguments, sigmas=[0.1, 0.2])


def test_classes_that_the_model_has_not_are_refused():
    with pytest.raises(ValueError, match="from 0 to 2; got \\[1, 3\\]"):
        LossAlignmentDisplay.from_estimator(
            torch.nn.Linear(2, 3), np.eye(2), [1, 3], n_injections=1
        )
