"""What is left to skops, and which classes a file may name.

skops writes scikit-learn estimators as JSON and arrays, and builds them again without
calling anything but the classes that it is told to trust: it did so for every detector
here, so there is no format of our own, only a frame around its own.
"""

import sys
from importlib import import_module

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import BaseCrossValidator, BaseShuffleSplit

from .._messages import brief
from .._optional import import_package

# Parts of estimators that are none themselves; the functions only count.
_PARTS = {
    "skgrad.baselines._combination._FisherSum",
    "skgrad.baselines._combination._LogisticRegression",
    "skgrad.baselines._mahalanobis._TiedGaussian",
    "skgrad.detectors._class_conditional._Part",
    "skgrad.detectors._gaussian._Gaussian",
    "skgrad.detectors._gaussian._WithinClassScaler",
    "skgrad.detectors._histograms.Histograms",
    "skgrad.metrics._detection.aupr_in",
    "skgrad.metrics._detection.aupr_out",
    "skgrad.metrics._detection.auroc",
    "skgrad.metrics._detection.detection_accuracy",
    "skgrad.metrics._detection.tnr_at_tpr",
    "skgrad.metrics._scorers.DetectionScorer",
    "skgrad.torch_engine.gradient_pass.Route",
    "sklearn.metrics._scorer._MultimetricScorer",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._ball_tree.BallTree64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._kd_tree.KDTree64",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
}
# What not every version of skops and numpy knows by these names.
_NUMPY = {"numpy.bool_", "numpy.dtype", "numpy.ma.MaskedArray"}
_KINDS = BaseEstimator, BaseCrossValidator, BaseShuffleSplit
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


def _is_no_library(module):
    """Tell whether a module holds tests, which may skip or exit, or a program."""
    parts = module.split(".")
    if parts[0] == "pyod" and parts[:2] != ["pyod", "models"]:
        return True
    return not {"tests", "conftest", "__main__"}.isdisjoint(parts)


def _is_ours(path):
    """Tell whether a name is that of an estimator, or of a part that is known."""
    module, _, name = path.rpartition(".")
    if module == "numpy" and isinstance(getattr(np, name, None), np.ufunc):
        return True
    if path in _NUMPY:
        return True
    package = module.partition(".")[0]
    if package not in ("skgrad", "sklearn", "pyod") or _is_no_library(module):
        return False
    try:
        cls = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return False
    own = f"{getattr(cls, '__module__', None)}.{getattr(cls, '__name__', None)}"
    if own in _PARTS:
        return True
    # What another package defined is only visible there, such as `os`.
    if not isinstance(cls, type) or own.partition(".")[0] != package:
        return False
    if package == "pyod":
        return any(base.__module__ == "pyod.models.base" for base in cls.__mro__)
    return issubclass(cls, _KINDS) or module == _DISTANCES
