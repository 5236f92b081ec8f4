"""Every public name has a complete numpydoc docstring."""

import inspect

import numpy as np
import pytest
import sklearn.utils._testing
from numpydoc.docscrape import ClassDoc, FunctionDoc
from numpydoc.validate import validate
from sklearn.base import clone, is_classifier
from sklearn.utils._testing import check_docstring_parameters
from test_common import ESTIMATORS

import skgrad

# Code of numpydoc -> why it is not required.
NOT_REQUIRED = {
    "ES01": "one sentence is enough for a small function",
    "EX01": "examples stand where they teach something",
    "GL01": "the summary starts on the opening line",
    "RT02": "`self : object` is scikit-learn's way of naming what fit returns",
    "SA01": "relatives are named only where there are some",
}


def public_objects():
    """Return all public functions, classes and their methods by path."""
    found = {}
    for room in skgrad._ROOMS:
        module = getattr(skgrad, room)
        for name in module.__all__:
            thing, path = getattr(module, name), f"skgrad.{room}.{name}"
            if inspect.isfunction(thing) or inspect.isclass(thing):
                found[path] = thing
            if inspect.isclass(thing):
                found |= {f"{path}.{n}": method for n, method in own_methods(thing)}
    return found


def own_methods(cls):
    """Yield the public methods that skgrad wrote, not those of other base classes."""
    for name, member in inspect.getmembers(cls):
        ours = str(getattr(member, "__module__", "")).startswith("skgrad")
        if inspect.isfunction(member) and ours and not name.startswith("_"):
            yield name, member


def test_public_objects_are_found():
    assert len(public_objects()) > 100


def test_docstrings():
    errors = {
        path: [e for e in validate(path)["errors"] if e[0] not in NOT_REQUIRED]
        for path in public_objects()
    }
    assert {path: found for path, found in errors.items() if found} == {}


def ungrouped(doc):
    """Split groups of parameters, which numpydoc allows, into entries."""
    doc["Parameters"] = [
        entry._replace(name=name)
        for entry in doc["Parameters"]
        for name in entry.name.split(", ")
    ]
    return doc


def check_parameters(path, thing, monkeypatch):
    """Return what scikit-learn finds wrong with the parameters of a docstring."""
    # Its own check looks at its own names only.
    monkeypatch.setattr(
        sklearn.utils._testing, "_get_func_name", lambda _: f"sklearn.{path}"
    )
    if not inspect.isclass(thing):
        return check_docstring_parameters(thing, ungrouped(FunctionDoc(thing)))
    if inspect.isfunction(thing.__init__):
        return check_docstring_parameters(thing.__init__, ungrouped(ClassDoc(thing)))
    return []


def test_parameters_as_scikit_learn_checks_them(monkeypatch):
    errors = {
        path: check_parameters(path, thing, monkeypatch)
        for path, thing in public_objects().items()
    }
    assert {path: found for path, found in errors.items() if found} == {}


def test_a_wrong_parameter_is_found(monkeypatch):
    def double(number):
        """Double.

        Parameters
        ----------
        value : int
            A number.
        """

    errors = check_parameters("one.two", double, monkeypatch)
    assert "'number' != 'value'" in str(errors)


def kinds_of_inputs(room):
    """Return what the methods of a room's classes say that X is."""
    entries = {
        path: FunctionDoc(method)["Parameters"][:1]
        for path, method in public_objects().items()
        if path.startswith(f"skgrad.{room}.") and path.count(".") == 3
    }
    return {
        path: entry.type
        for path, found in entries.items()
        for entry in found
        if entry.name == "X"
    }


@pytest.mark.parametrize("room", ["baselines", "guard", "feature_extraction"])
def test_what_holds_a_network_takes_its_inputs(room):
    kinds = kinds_of_inputs(room)
    assert len(kinds) > 8
    assert {path for path, kind in kinds.items() if "*input_shape" not in kind} == set()
    assert {path for path, kind in kinds.items() if "n_features" in kind} == set()


def test_what_holds_no_network_takes_features():
    kinds = kinds_of_inputs("detectors")
    assert "n_features" in kinds["skgrad.detectors.LODA.fit_predict"]
    both = {path for path, kind in kinds.items() if "*input_shape" in kind}
    # They take what the estimators in them take.
    classes = {path.split(".")[2] for path in both}
    assert classes == {"ConformalDetector", "DetectorPipeline"}


def test_labels_are_described_as_each_class_takes_them():
    def labels(method):
        return " ".join(FunctionDoc(method)["Parameters"][1].desc)

    assert "left out." in labels(skgrad.baselines.ODIN.fit)
    assert "learned from" in labels(skgrad.baselines.LID.fit)
    assert "choose the layer" in labels(skgrad.baselines.ELO.fit)
    assert "classifier" in labels(skgrad.ConformalDetector.fit)
    assert "Not used" not in labels(skgrad.MostDiscriminativeLayer.fit_transform)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_fitted_attributes_are_those_documented(estimator):
    rng = np.random.default_rng(0)
    # Novelty detectors warn of labels 0 and 1.
    X, y = rng.normal(size=(40, 5)), np.repeat([0, 1], 20)
    y = y if is_classifier(estimator) else None
    fitted = clone(estimator).fit(X, y)
    entries = ClassDoc(type(estimator))["Attributes"]
    documented = {name for entry in entries for name in entry.name.split(", ")}
    # This X has no names of columns.
    missing = {name for name in documented if not hasattr(fitted, name)}
    assert missing <= {"feature_names_in_"}
    # None means that this detector has none of it, such as thresholds per class.
    held = {name for name, value in vars(fitted).items() if value is not None}
    assert {name for name in held if name[0] != "_" and name[-1] == "_"} <= documented
