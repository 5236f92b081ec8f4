"""What is left to skops, and which classes a file may name.

skops writes scikit-learn estimators as JSON and arrays, and builds them again without
calling anything but the classes that it is told to trust: it did so for every detector
here, so there is no format of our own, only a frame around its own.
"""

import sys
from importlib import import_module

from sklearn.base import BaseEstimator

from .._messages import brief
from .._optional import import_package

# Parts of estimators that are none themselves.
_PARTS = {
    "skgrad.baselines._combination._FisherSum",
    "skgrad.baselines._combination._LogisticRegression",
    "skgrad.baselines._mahalanobis._TiedGaussian",
    "skgrad.detectors._class_conditional._Part",
    "skgrad.detectors._gaussian._Gaussian",
    "skgrad.detectors._gaussian._WithinClassScaler",
    "skgrad.detectors._histograms.Histograms",
    "skgrad.torch_engine.gradient_pass.Route",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._ball_tree.BallTree64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._kd_tree.KDTree64",
    "sklearn.tree._tree.Tree",
}
_DISTANCES = "sklearn.metrics._dist_metrics"


def skops_io():
    """Import skops.io, or say how to get it."""
    return import_package("skops.io", "save and load need", "save")


def untrusted(content, extra):
    """Sort the classes that a skops file names beyond those that skops knows.

    Parameters
    ----------
    content : bytes
        The file.
    extra : list of str
        Names of classes and functions to trust besides.

    Returns
    -------
    trusted, others : list of str
        The names, as ``module.name``. Nothing but modules of skgrad, scikit-learn and
        PyOD was imported to find out.
    """
    names = skops_io().get_untrusted_types(data=content)
    trusted = [name for name in names if name in extra or _is_ours(name)]
    return trusted, sorted(set(names) - set(trusted))


def checked_names(trusted):
    """Return the names of the classes and functions that a user trusts."""
    if isinstance(trusted, (str, type)) or callable(trusted):
        raise TypeError(
            "trusted must be a list of classes or functions; got "
            f"{brief(trusted)}. Write [{getattr(trusted, '__name__', 'its class')}]."
        )
    return [_checked_name(thing) for thing in trusted]


def _checked_name(thing):
    module, name = getattr(thing, "__module__", None), getattr(thing, "__name__", None)
    if module is None or name is None:
        raise TypeError(
            f"trusted must hold classes or functions themselves; got {brief(thing)}."
        )
    if getattr(sys.modules.get(module), name, None) is not thing:
        raise ValueError(
            "trusted must hold classes or functions that can be imported; "
            f"{brief(thing)} cannot. Define it at the top of a module."
        )
    return f"{module}.{name}"


def is_foreign(path):
    """Tell whether a name is that of a package that files know nothing of."""
    known = ("builtins", "numpy", "pyod", "scipy", "skgrad", "sklearn")
    return path.partition(".")[0] not in known


def _is_ours(path):
    """Tell whether a name is that of an estimator, or of a part that is known."""
    module, _, name = path.rpartition(".")
    package = module.partition(".")[0]
    if package not in ("skgrad", "sklearn", "pyod"):
        return False
    try:
        cls = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return False
    # What another package defined is only visible there, such as `os`.
    if not isinstance(cls, type) or cls.__module__.partition(".")[0] != package:
        return False
    if package == "pyod":
        return any(base.__module__ == "pyod.models.base" for base in cls.__mro__)
    own = f"{cls.__module__}.{cls.__name__}"
    return issubclass(cls, BaseEstimator) or own in _PARTS or module == _DISTANCES
