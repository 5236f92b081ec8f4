"""What all displays have in common."""

import inspect
import pickle
import subprocess
import sys
from copy import copy

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from displays import MAKERS

from skgrad import inspection

DISPLAYS = [name for name in inspection.__all__ if name.endswith("Display")]


@pytest.fixture(autouse=True)
def no_window():
    matplotlib.use("Agg")
    yield
    plt.close("all")


@pytest.fixture(params=DISPLAYS, scope="module")
def case(request):
    torch.manual_seed(0)
    return MAKERS[request.param]()


@pytest.fixture(scope="module")
def display(case):
    """Make each display once: no test changes it."""
    args, options = case.from_estimator
    return case.display.from_estimator(*args, **options)


def data_of(display):
    """Return what a display was made of, by the names of its parameters."""
    names = list(inspect.signature(type(display)).parameters)
    return {name: getattr(display, name) for name in names}


def assert_same(one, other):
    """Compare plain data, however nested."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        np.testing.assert_array_equal(one, other)


def plain(value):
    """Tell whether a value is data: no estimator, network or axes."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(plain, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufU" or all(
            isinstance(v, str) for v in value.flat
        )
    return value is None or isinstance(value, (str, bool, int, float))


def axes_of(display):
    return display.axes_.ravel() if hasattr(display, "axes_") else [display.ax_]


def test_every_display_has_a_case():
    assert sorted(MAKERS) == sorted(DISPLAYS)


def test_data_are_plain(display):
    data = data_of(display)
    assert {name for name, value in data.items() if not plain(value)} == set()
    # The parameters are documented where they are stored, and keyword-only.
    signature = inspect.signature(type(display))
    assert all(p.kind is p.KEYWORD_ONLY for p in signature.parameters.values())


def test_draws_from_its_data_alone(display):
    again = type(display)(**pickle.loads(pickle.dumps(data_of(display))))
    assert not hasattr(again, "figure_")
    assert again.plot() is again
    assert again.figure_ is not display.figure_
    for one, other in zip(axes_of(again), axes_of(display), strict=True):
        assert one.get_title() == other.get_title()
        assert one.get_xlim() == other.get_xlim()


def test_both_ways_are_the_same(case, display):
    args, options = case.from_predictions(display)
    again = case.display.from_predictions(*args, **options)
    assert_same(data_of(again), data_of(display))


def test_draws_the_same_into_axes(case, display):
    once = data_of(display)
    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    if case.grid:
        right.plot([0, 1])  # a grid takes its place
    args, options = case.from_estimator
    display = case.display.from_estimator(*args, **options, ax=right)
    assert_same(data_of(display), once)
    assert display.figure_ is figure
    assert not left.has_data()
    assert plt.get_fignums() == [figure.number]
    if case.grid:
        assert not right.has_data()
        place = right.get_position()
        figure.canvas.draw()
        assert all(ax.get_position().x0 > place.x0 - 0.2 for ax in axes_of(display))
    else:
        assert display.ax_ is right
        assert right.has_data()
    figure.canvas.draw()


def test_something_is_drawn_and_named(display):
    display = copy(display).plot()  # a figure that is closed is not laid out
    display.figure_.canvas.draw()
    drawn = [ax for ax in axes_of(display) if ax.has_data()]
    assert drawn
    assert any(ax.get_title() or ax.get_xlabel() or ax.get_ylabel() for ax in drawn)
    # Nothing that is written lies outside the figure.
    box = display.figure_.get_tightbbox()
    width, height = display.figure_.get_size_inches()
    assert box.x0 > -0.1
    assert box.y0 > -0.1
    assert box.x1 < width + 0.1
    assert box.y1 < height + 0.1


def test_wrong_axes_are_refused(display):
    for wrong in ("here", plt, plt.subplots(1, 2)[1]):
        with pytest.raises(TypeError, match="ax must be axes of matplotlib"):
            display.plot(wrong)
    if hasattr(display, "axes_"):
        loose = plt.figure().add_axes((0, 0, 1, 1))
        with pytest.raises(ValueError, match="ax must stand in a grid"):
            display.plot(loose)


def test_figures_need_matplotlib(case, display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    args, options = case.from_estimator
    match = rf"{case.name}.* needs matplotlib, .*skgrad\[plot\]"
    with pytest.raises(ImportError, match=match):
        case.display.from_estimator(*args, **options)
    args, options = case.from_predictions(display)
    with pytest.raises(ImportError, match=match):
        case.display.from_predictions(*args, **options)
    with pytest.raises(ImportError, match=match):
        display.plot()


def test_importing_needs_no_matplotlib():
    code = "import sys, skgrad.inspection; print('matplotlib' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "False"
