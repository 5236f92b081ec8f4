"""Every public name has a complete numpydoc docstring."""

import inspect

import pytest
from numpydoc.validate import validate

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
