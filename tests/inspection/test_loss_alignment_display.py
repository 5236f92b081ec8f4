"""Violins of zeta: of which inputs, towards which class, and what is rejected."""

import numpy as np
import pytest
import torch
from networks import AnyWidth

from skgrad.inspection import LossAlignmentDisplay, loss_alignment


def draw(zeta, correct, sigmas):
    return LossAlignmentDisplay(zeta=zeta, correct=correct, sigmas=sigmas).plot()


class Bowl(torch.nn.Module):
    """Class 0 everywhere, with the lowest loss at 0."""

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


def test_medians_are_drawn_at_their_sigma():
    zeta = np.stack([np.full((3, 5), 0.2), np.full((3, 5), -0.4)])
    zeta[:, 2] += 0.1  # the incorrect one
    display = draw(zeta, [True, True, False], [0.1, 1])
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
def test_one_kind_alone_is_drawn(value, name):
    display = draw(np.zeros((1, 2, 3)), [value] * 2, 0.1)
    assert legend(display) == [f"classified {name} (2 inputs)"]
    display.figure_.canvas.draw()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"y": [1, 3]}, "y must hold classes 0 to 2"),
        ({"sigmas": []}, r"sigmas must be of shape \(n_sigmas,\)"),
        ({"sigmas": [0.1, 0]}, r"sigmas must hold standard deviations above 0"),
        ({"n_injections": 0}, "'n_injections' parameter of loss_alignment"),
    ],
)
def test_wrong_input_is_rejected(change, match):
    arguments = {"X": np.ones((2, 3)), "y": [0, 1], "n_injections": 2, **change}
    X, y = arguments.pop("X"), arguments.pop("y")
    with pytest.raises(ValueError, match=match):
        LossAlignmentDisplay.from_estimator(AnyWidth(), X, y, **arguments)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"zeta": np.zeros((3, 2, 4))}, r"shape \(2, n_inputs, n_injections\)"),
        ({"zeta": np.full((2, 2, 4), 3)}, "zeta must lie between -1.01 and 1.01"),
        ({"correct": [1, 2]}, "correct must lie between 0 and 1"),
    ],
)
def test_wrong_data_are_rejected(change, match):
    arguments = {"zeta": np.zeros((2, 2, 4)), "correct": [True, False], **change}
    with pytest.raises(ValueError, match=match):
        draw(**arguments, sigmas=[0.1, 0.2])
