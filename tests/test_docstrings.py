"""Every public name has a complete numpydoc docstring."""

import inspect

import numpy as np
import pytest
import sklearn.utils._testing
from numpydoc.docscrape import ClassDoc, FunctionDoc
from numpydoc.validate import validate
from sklearn.base import clone
from sklearn.utils._testing import check_docstring_parameters
from test_common import ESTIMATORS, public_estimators

import skgrad

# Code -> why it is not asked for.
NOT_ASKED = {
    "ES01": "one sentence is enough for a small function",
    "EX01": "examples stand where they teach something",
    "GL01": "the summary starts on the opening line",
    "RT02": "`self : object` is scikit-learn's way of naming what fit returns",
    "SA01": "relatives are named only where there are some",
}


def public_names():
    for room in skgrad._ROOMS:
        module = getattr(skgrad, room)
        for name in module.__all__:
            thing = getattr(module, name)
            path = f"skgrad.{room}.{name}"
            if inspect.isfunction(thing) or inspect.isclass(thing):
                yield path
            if inspect.isclass(thing):
                yield from (f"{path}.{method}" for method in own_methods(thing))


def own_methods(cls):
    """Name the methods that skgrad wrote, not those of its base classes elsewhere."""
    for name, member in inspect.getmembers(cls):
        ours = str(getattr(member, "__module__", "")).startswith("skgrad")
        if inspect.isfunction(member) and ours and not name.startswith("_"):
            yield name


@pytest.mark.parametrize("path", list(public_names()))
def test_docstring(path):
    errors = validate(path)["errors"]
    assert [error for error in errors if error[0] not in NOT_ASKED] == []


def test_all_rooms_are_looked_into():
    assert len(list(public_names())) > 40


def ungrouped(doc):
    """Take groups of parameters, which numpydoc allows, for one entry each."""
    doc["Parameters"] = [
        entry._replace(name=name)
        for entry in doc["Parameters"]
        for name in entry.name.split(", ")
    ]
    return doc


@pytest.mark.parametrize("path", list(public_names()))
def test_parameters_as_scikit_learn_checks_them(path, monkeypatch):
    # Its own check looks at its own names only.
    monkeypatch.setattr(
        sklearn.utils._testing, "_get_func_name", lambda _: f"sklearn.{path}"
    )
    room, *names = path.split(".")[1:]
    thing = getattr(skgrad, room)
    for name in names:
        thing = getattr(thing, name)
    if not inspect.isclass(thing):
        assert check_docstring_parameters(thing, ungrouped(FunctionDoc(thing))) == []
    elif inspect.isfunction(thing.__init__):
        doc = ungrouped(ClassDoc(thing))
        assert check_docstring_parameters(thing.__init__, doc) == []


def test_a_wrong_parameter_is_found(monkeypatch):
    def double(number):
        """Double.

        Parameters
        ----------
        value : int
            A number.
        """

    path = "sklearn.one.two"
    monkeypatch.setattr(sklearn.utils._testing, "_get_func_name", lambda _: path)
    assert "'number' != 'value'" in str(check_docstring_parameters(double))


@pytest.mark.parametrize(
    "cls",
    sorted(public_estimators(), key=lambda c: c.__name__),
    ids=lambda c: c.__name__,
)
def test_every_parameter_has_constraints(cls):
    parameters = list(inspect.signature(cls).parameters)
    assert set(cls._parameter_constraints) == set(parameters)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_fitted_attributes_are_those_documented(estimator):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 5)), np.repeat([0, 1], 20)
    fitted = clone(estimator).fit(X, y)
    documented = {entry.name for entry in ClassDoc(type(estimator))["Attributes"]}
    # Those without names of columns, as X has none.
    missing = {name for name in documented if not hasattr(fitted, name)}
    assert missing <= {"feature_names_in_"}
    # None stands for what this detector has not, such as thresholds per class.
    held = {name for name, value in vars(fitted).items() if value is not None}
    assert {name for name in held if name[0] != "_" and name[-1] == "_"} <= documented
