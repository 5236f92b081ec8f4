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
# Checked by hand, with more to say than a list of types.
BY_HAND = {"bounds", "detector", "detectors", "layers", "model"}
FUNCTIONS = {
    f"{room}.{name}": function
    for room in skgrad._ROOMS
    for name, function in vars(import_module(f"skgrad.{room}")).items()
    if name in import_module(f"skgrad.{room}").__all__
    and hasattr(function, "_skl_parameter_constraints")
}


class OfNoValidType:
    """What no parameter may be."""


def wrong_values(constraints):
    """Return values that are none of those that the constraints allow."""
    if constraints == "no_validation":
        return []
    found = [OfNoValidType()]
    kinds = [make_constraint(constraint) for constraint in constraints]
    for kind in kinds:
        try:
            value = generate_invalid_param_val(kind)
        except NotImplementedError:  # a type
            continue
        if not any(other.is_satisfied_by(value) for other in kinds):
            found.append(value)
    return found


@pytest.mark.parametrize("estimator", UNIQUE, ids=lambda e: type(e).__name__)
def test_estimators(estimator):
    for name, constraints in estimator._parameter_constraints.items():
        for value in wrong_values(constraints):
            changed = clone(estimator).set_params(**{name: value})
            given = changed.get_params(deep=False)
            with pytest.raises((ValueError, TypeError), match=name) as caught:
                changed.fit([[0.0, 1.0, 2.0]] * 4, [1, -1, 1, -1])
            assert "got" in str(caught.value).lower()
            assert changed.get_params(deep=False) == given
            assert not [key for key in vars(changed) if key.endswith("_")]


@pytest.mark.parametrize("estimator", UNIQUE, ids=lambda e: type(e).__name__)
def test_all_parameters_have_limits(estimator):
    constraints = type(estimator)._parameter_constraints
    names = set(estimator.get_params(deep=False))
    assert names - BY_HAND <= set(constraints) <= names
    unchecked = {
        name for name, limit in constraints.items() if limit == "no_validation"
    }
    assert unchecked <= BY_HAND


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    function = FUNCTIONS[name]
    every = function._skl_parameter_constraints
    # Functions may share a table that has parameters which not all of them have.
    for parameter in every.keys() & inspect.signature(function).parameters.keys():
        for value in wrong_values(every[parameter]):
            arguments = {**required(function), parameter: value}
            match = f"'{parameter}' parameter .* Got "
            with pytest.raises(InvalidParameterError, match=match):
                function(**arguments)


def required(function):
    """Return valid values of the parameters without a default."""
    arguments = {}
    for name, parameter in inspect.signature(function).parameters.items():
        has_default = parameter.default is not parameter.empty
        if has_default or parameter.kind is parameter.VAR_KEYWORD:
            continue
        limit = function._skl_parameter_constraints.get(name, "no_validation")
        constraint = None if limit == "no_validation" else make_constraint(limit[0])
        arguments[name] = None if constraint is None else valid_value(constraint)
    return arguments


def valid_value(constraint):
    """Return a value that a constraint allows."""
    try:
        return generate_valid_param(constraint)
    except ValueError:  # callables of scikit-learn, HasMethods
        return None


def test_functions_were_found():
    assert len(FUNCTIONS) >= 20
    assert not any(
        isinstance(f, type) and issubclass(f, BaseEstimator) for f in FUNCTIONS.values()
    )
