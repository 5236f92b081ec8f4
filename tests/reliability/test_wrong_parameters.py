"""Parameters just outside their limits, generated from the limits themselves."""

import inspect
from importlib import import_module

import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import (
    InvalidParameterError,
    generate_invalid_param_val,
    generate_valid_param,
    make_constraint,
)
from test_common import ESTIMATORS

import skgrad

UNIQUE = {type(estimator): estimator for estimator in ESTIMATORS}.values()
# Checked by hand, in words that say more than a list of types.
BY_HAND = {
    "bounds",
    "detector",
    "detectors",
    "layers",
    "model",
    "squeezers",
}
FUNCTIONS = {
    f"{room}.{name}": function
    for room in skgrad._ROOMS
    for name, function in vars(import_module(f"skgrad.{room}")).items()
    if name in import_module(f"skgrad.{room}").__all__
    and hasattr(function, "_skl_parameter_constraints")
}


class Stranger:
    """Of no legal type anywhere."""


def wrong_values(constraints):
    """Return values that are none of those that the constraints allow."""
    if constraints == "no_validation":
        return []
    found = [Stranger()]
    kinds = [make_constraint(constraint) for constraint in constraints]
    for kind in kinds:
        try:
            value = generate_invalid_param_val(kind)
        except NotImplementedError:  # a type: the stranger is none
            continue
        if not any(other.is_satisfied_by(value) for other in kinds):
            found.append(value)
    return found


CASES = [
    (estimator, name, value)
    for estimator in UNIQUE
    for name, constraints in estimator._parameter_constraints.items()
    for value in wrong_values(constraints)
]


def told(value):
    """Return what to call a value in the table."""
    return "no such type" if isinstance(value, Stranger) else "outside the limits"


@pytest.mark.parametrize(
    ("estimator", "name", "value"),
    CASES,
    ids=[f"{type(e).__name__}-{n}-{v!s:.20}" for e, n, v in CASES],
)
def test_estimators(estimator, name, value, counted):
    estimator = clone(estimator).set_params(**{name: value})
    given = estimator.get_params(deep=False)
    with pytest.raises((ValueError, TypeError), match=name) as caught:
        estimator.fit([[0.0, 1.0, 2.0]] * 4, [1, -1, 1, -1])
    assert "got" in str(caught.value).lower()
    assert estimator.get_params(deep=False) == given
    assert not [key for key in vars(estimator) if key.endswith("_")]
    counted("Wrong parameters", f"estimator, {told(value)}", "refused")


@pytest.mark.parametrize("estimator", UNIQUE, ids=lambda e: type(e).__name__)
def test_all_parameters_have_limits(estimator):
    constraints = type(estimator)._parameter_constraints
    names = set(estimator.get_params(deep=False))
    assert names - BY_HAND <= set(constraints) <= names
    open_ones = {
        name for name, limit in constraints.items() if limit == "no_validation"
    }
    assert open_ones <= BY_HAND


CALLS = [
    (function, name, value)
    for function in FUNCTIONS.values()
    for name, constraints in function._skl_parameter_constraints.items()
    for value in wrong_values(constraints)
]


@pytest.mark.parametrize(
    ("function", "name", "value"),
    CALLS,
    ids=[f"{f.__name__}-{n}-{v!s:.20}" for f, n, v in CALLS],
)
def test_functions(function, name, value, counted):
    arguments = {**required(function), name: value}
    with pytest.raises(InvalidParameterError, match=f"'{name}' parameter .* Got "):
        function(**arguments)
    counted("Wrong parameters", f"function, {told(value)}", "refused")


def required(function):
    """Return legal values of the parameters without a default."""
    arguments = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if (
            parameter.default is not parameter.empty
            or parameter.kind is parameter.VAR_KEYWORD
        ):
            continue
        limit = function._skl_parameter_constraints.get(name, "no_validation")
        legal = None if limit == "no_validation" else make_constraint(limit[0])
        arguments[name] = None if legal is None else legal_value(legal)
    return arguments


def legal_value(constraint):
    """Return a value that a constraint allows."""
    try:
        return generate_valid_param(constraint)
    except ValueError:  # callables of scikit-learn, HasMethods
        return None


def test_every_function_that_takes_a_number_is_here():
    assert len(FUNCTIONS) >= 25
    assert not any(
        isinstance(f, type) and issubclass(f, BaseEstimator) for f in FUNCTIONS
    )
