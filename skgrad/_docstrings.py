"""Docstrings of inherited methods, in the words of the class that inherits them."""

from types import FunctionType


def in_words_of_its_own(words):
    """Return a class decorator that replaces words in inherited docstrings.

    A base class says what all its subclasses take. A subclass that takes less, or
    something else, gets copies of the public methods whose docstrings hold ``words``, a
    dict of old to new ones. What the methods do stays the same.
    """

    def decorate(cls):
        for name in dir(cls):
            method = getattr(cls, name)
            if name.startswith("_") or not isinstance(method, FunctionType):
                continue
            told = method.__doc__ or ""
            for old, new in words.items():
                told = told.replace(old, new)
            if told != (method.__doc__ or ""):
                setattr(cls, name, _described(method, told))
        return cls

    return decorate


def _described(method, docstring):
    """Return a copy of a function with another docstring."""
    # A copy and no wrapper, which would be one more line in every traceback.
    copy = FunctionType(
        method.__code__,
        method.__globals__,
        method.__name__,
        method.__defaults__,
        method.__closure__,
    )
    for name in ("__module__", "__qualname__", "__kwdefaults__"):
        setattr(copy, name, getattr(method, name))
    vars(copy).update(vars(method))
    copy.__doc__ = docstring
    return copy
