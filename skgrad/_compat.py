"""Private names of scikit-learn, torch and skorch that skgrad needs, and nothing else.

Tried with scikit-learn 1.6 and 1.9, torch 2.6 and 2.14, skorch 1.2 and 1.4
(``.ci/oldest`` and ``.ci/run``). Import them from here, so that a release that moves
one of them is answered in one place.
"""

# The limits of parameters as data, so that messages are uniform and tests can draw
# wrong values. scikit-learn has no public name for them yet.
from sklearn.base import _fit_context as fit_context
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

# Lists of named estimators as parameters: get_params, set_params and clone for them.
from sklearn.utils.metaestimators import _BaseComposition as BaseComposition
from sklearn.utils.validation import (
    _check_feature_names_in as check_feature_names_in,
)
from sklearn.utils.validation import _get_feature_names as get_feature_names
from sklearn.utils.validation import _num_samples as num_samples

# The private base classes of all convolutions and of all dropouts.
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

CONVOLUTIONS = (_ConvNd,)
DROPOUTS = (_DropoutNd,)


def has_gradient_hooks(tensor):
    """Return True if hooks may change the gradient of a tensor."""
    # Tensor.register_hook has no counterpart that shows what is registered.
    return bool(tensor._backward_hooks)


def write_count(tensor):
    """Return a number that grows with each write into the memory of a tensor."""
    # The documentation of autograd names _version for this, but it has no public name.
    return tensor._version


__all__ = [
    "CONVOLUTIONS",
    "DROPOUTS",
    "BaseComposition",
    "Interval",
    "StrOptions",
    "check_feature_names_in",
    "fit_context",
    "get_feature_names",
    "has_gradient_hooks",
    "num_samples",
    "safe_indexing",
    "validate_params",
    "write_count",
]
