"""Finding a part of an estimator, to tell the user where it is."""

import numpy as np
from sklearn.base import BaseEstimator

from ..feature_extraction._references import leaving_out


def find_part(estimator, wanted):
    """Return the way to the first part of one of these classes or functions.

    Parameters
    ----------
    estimator : estimator
        Where to look, at any depth, but not into networks.
    wanted : callable
        Tells whether a class or function is meant, by its name ``module.name``.

    Returns
    -------
    path, name : str or None
        Such as ``steps[1][1].predicted_class`` and ``__main__.f``; None if there is no
        such part, or it is the estimator itself.
    """
    waiting, seen = [("", estimator)], {}
    while waiting:
        path, part = waiting.pop(0)
        if id(part) in seen:
            continue
        seen[id(part)] = part  # kept, so that no other gets its id
        name = next(filter(wanted, _names_of(part)), None)
        if path and name:
            return path, name
        waiting += _children(path, part)
    return None, None


def _names_of(part):
    """Return what skops may call a thing: an object by its class."""
    things = [part, type(part), getattr(part, "__func__", None)]
    owner = getattr(part, "__self__", None)
    if owner is not None:  # a method
        things.append(type(owner))
    return [
        f"{thing.__module__}.{thing.__name__}"
        for thing in things
        if hasattr(thing, "__module__") and hasattr(thing, "__name__")
    ]


def _children(path, part):
    if isinstance(part, dict):
        return [(f"{path}[{key!r}]", value) for key, value in part.items()]
    if isinstance(part, np.ndarray) and part.dtype == object:
        part = part.ravel().tolist()
    if isinstance(part, (list, tuple, set)):
        return [(f"{path}[{i}]", value) for i, value in enumerate(part)]
    if isinstance(part, BaseEstimator):
        dot = "." if path else ""
        with leaving_out():  # a network is none of the parts
            state = part.__getstate__()
        return [(f"{path}{dot}{key}", value) for key, value in state.items()]
    return []
