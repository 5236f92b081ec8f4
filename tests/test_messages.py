"""Texts of errors and warnings."""

import warnings

import numpy as np
import pytest
import torch
from networks import images

from skgrad import (
    LODA,
    ClassConditionalDetector,
    CombinedDetector,
    ConformalDetector,
    PyODDetector,
    make_recommended_detector,
)
from skgrad._messages import brief, call_it, cut, did_you_mean, listed
from skgrad.attacks import pgd
from skgrad.evaluation import evaluate, render_table

X = images(24, (2, 6, 6))
DEEP = torch.nn.Sequential(*(torch.nn.Linear(5, 5) for _ in range(60)))


def test_values_are_shortened_to_one_line():
    assert brief("net") == "'net'"
    assert brief((0, 1)) == "(0, 1)"
    text = brief(np.ones((30, 30)))
    assert len(text) <= 100
    assert "\n" not in text
    assert text.endswith("...")
    assert brief(list(range(9)), most=10) == "[0, 1,..."
    assert cut("one\n\ttwo\n", 20) == "one two"


def test_names_are_listed_up_to_a_limit():
    assert listed(["a", "b"]) == "'a', 'b'"
    assert listed(["a", "b", "c"], most=1) == "'a' and 2 more"


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("conv3", ["conv1", "fc"], " Did you mean 'conv1'?"),
        ("CONV1", ["conv1"], " Did you mean 'conv1'?"),
        ("noise", ["noise", "noise"], " Did you mean 'noise'?"),  # known twice
        ("ab1", ["ab2", "ab3", "ab4"], " Did you mean 'ab4', 'ab3' or 'ab2'?"),
        ("zebra", ["conv1"], ""),
        (7, ["conv1"], ""),
        ("a", [], ""),
    ],
)
def test_near_names(name, known, hint):
    assert did_you_mean(name, known) == hint


def test_a_class_in_place_of_an_instance():
    assert call_it(LODA) == " Give an instance, LODA()."
    assert call_it(LODA()) == call_it(None) == ""


@pytest.mark.parametrize(
    "fit",
    [
        lambda: ConformalDetector(DEEP).fit(X[:, 0, 0]),
        lambda: ClassConditionalDetector(DEEP, blocks=[3, 3]).fit(X[:, 0, 0]),
        lambda: CombinedDetector([("deep", DEEP)]).fit(X[:, 0, 0]),
        lambda: PyODDetector(DEEP).fit(X[:, 0, 0]),
        lambda: pgd(DEEP, X, eps=0.1, bounds=np.zeros((3, 60, 60))),
        lambda: pgd(DEEP.state_dict(), X, eps=0.1),
        lambda: evaluate(DEEP, {"deep": DEEP}, X, {"noise": X}),
        lambda: evaluate(DEEP, DEEP, X, {"noise": X}),
        lambda: render_table(DEEP),
    ],
)
def test_messages_stay_short_for_large_values(fit):
    with pytest.raises((TypeError, ValueError)) as caught:
        fit()
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_warnings_point_to_the_line_of_the_user():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(72, 3))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make_recommended_detector(net, random_state=0).fit(X)
        LODA(random_state=0).fit(X[:, 0, 0])
    assert [w.filename for w in caught] == [__file__] * len(caught)
    assert len(caught) >= 2
