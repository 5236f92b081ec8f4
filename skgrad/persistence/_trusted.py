"""Which classes and functions of a file `load` trusts by default."""

from importlib import import_module
from inspect import isclass, isfunction

# A file can have a trusted class called with any arguments. The classes of these
# packages only compute; others in skgrad read and write files. Of the functions only
# metrics are stored, by scorers.
_CLASSES = {
    "baselines",
    "detectors",
    "feature_extraction",
    "guard",
    "metrics",
    "model_selection",
    "torch_engine",
}
_FUNCTIONS = {"metrics"}


def untrusted_names(names, trusted):
    """Return the names of classes and functions that are not to be trusted.

    Parameters
    ----------
    names : list of str
        What a file names beyond the classes that skops trusts.
    trusted : sequence of str, classes or functions
        What the user trusts.
    """
    known = {name_of(thing) for thing in trusted}
    return [name for name in names if name not in known and not _is_own(name)]


def name_of(thing):
    """Return the name of a class or function as skops writes it."""
    return thing if isinstance(thing, str) else f"{thing.__module__}.{thing.__name__}"


def _is_own(name):
    module, _, attribute = name.rpartition(".")
    root, _, rest = module.partition(".")
    package = rest.partition(".")[0]
    if root != "skgrad" or package not in _CLASSES:
        return False
    try:
        thing = getattr(import_module(module), attribute)
    except (ImportError, AttributeError):
        return False
    # What a module imported from elsewhere, such as `os`, is not ours.
    if getattr(thing, "__module__", None) != module:
        return False
    return isclass(thing) or (package in _FUNCTIONS and isfunction(thing))
