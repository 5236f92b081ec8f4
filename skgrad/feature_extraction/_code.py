"""What classes and functions do, for those that pickles only name."""

from types import CodeType, FunctionType

import joblib
import torch
from torch import nn


def code_of(thing):
    """Return hashes of the code of a module or estimator and of all that it holds.

    Pickles, and so `joblib.hash`, name classes and functions but leave out what they
    do. What the methods of these classes call is not followed.
    """
    classes, functions, seen, waiting = set(), [], set(), [thing]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, FunctionType):
            functions.append((part.__qualname__, _instructions(part.__code__)))
        elif isinstance(part, type):
            classes |= set(part.__mro__)
        elif isinstance(part, (list, tuple)):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
        else:
            classes |= set(type(part).__mro__)
            waiting += _parts_of(part)
    code = [_code_of(cls) for cls in classes if not _is_known(cls)]
    return sorted(code), sorted(joblib.hash(function) for function in functions)


def _parts_of(thing):
    """Return the parts of a module, the parameters of an estimator, a net's module."""
    if isinstance(thing, nn.Module):
        return list(thing.modules())
    if isinstance(getattr(thing, "module_", None), nn.Module):
        return [thing.module_]
    if hasattr(thing, "get_params"):
        return list(thing.get_params(deep=False).values())
    return []


def _is_known(cls):
    return cls.__module__.split(".")[0] in ("torch", "builtins")


def _code_of(cls):
    """Return the name of a class and a hash of what its methods do."""
    parts = [(f.__name__, _instructions(f.__code__), _defaults(f)) for f in _own(cls)]
    return cls.__qualname__, joblib.hash((parts, _settings(cls)))


def _settings(cls):
    """Return the plain values that a class gives to all its objects."""
    return {
        name: repr(value)
        for name, value in vars(cls).items()
        if not name.startswith("__") and is_plain(value)
    }


def _own(cls):
    """Return the functions that a class defines: methods of all kinds, properties."""
    found = []
    for value in vars(cls).values():
        if isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        if isinstance(value, property):
            found += [value.fget, value.fset, value.fdel]
        else:
            found.append(value)
    return [f for f in found if isinstance(f, FunctionType)]


def _defaults(function):
    """Return what a function takes for the arguments that are left out."""
    values = function.__defaults__ or (), function.__kwdefaults__ or {}
    return repr(values) if is_plain(values) else ""


def _instructions(code):
    """Return what code does, without where it stands."""
    constants = [
        _instructions(c)
        if isinstance(c, CodeType)
        # The order of a set differs from process to process.
        else sorted(map(repr, c))
        if isinstance(c, frozenset)
        else repr(c)
        for c in code.co_consts
    ]
    return code.co_code, code.co_names, constants


def code_ids(cls):
    """Return something that changes whenever the code of a class does."""
    own = [base for base in cls.__mro__ if not _is_known(base)]
    ids = [(id(f.__code__), _defaults(f)) for base in own for f in _own(base)]
    return ids, [_settings(base) for base in own]


def is_plain(value):
    """Tell whether the text of a value tells all about it."""
    if isinstance(value, (tuple, list)):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    return value is None or isinstance(
        value, (bool, int, float, complex, str, bytes, torch.dtype)
    )
