"""Private names of scikit-learn, torch and skorch that skgrad needs, and nothing else.

Tried with scikit-learn 1.6 and 1.9, torch 2.6 and 2.14, skorch 1.2 and 1.4
(``.ci/oldest``, ``.ci/run`` and ``.ci/newest``). Import them from here, so that a
release that moves one of them is answered in one place.
"""

import sys
from operator import attrgetter

import torch

# The limits of parameters as data, so that messages are uniform and tests can draw
# wrong values. scikit-learn has no public name for them yet.
from sklearn.base import _fit_context as fit_context
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)

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


def validate_parameters(estimator):
    """Check an estimator's parameters by its constraints, outside of its ``fit``.

    A detector inside another one is fitted without a threshold, and not by ``fit``.
    """
    estimator._validate_params()


def has_gradient_hooks(tensor):
    """Return True if hooks may change the gradient of a tensor."""
    # Tensor.register_hook has no counterpart that shows what is registered.
    return bool(tensor._backward_hooks)


# A number that grows with each write into the memory of a tensor. The documentation of
# autograd names it, but it has no public name.
write_count = attrgetter("_version")


def buffers_of(module):
    """Return the dict of a module's own buffers, which may be written to.

    torch's public names neither tell a buffer that is None nor remove one.
    """
    return module._buffers


def parameters_of(module):
    """Return the dict of a module's own parameters, some of which may be None.

    ``parameters(recurse=False)`` takes ten times as long, which counts where hundreds
    of modules are asked at each call.
    """
    return module._parameters


def children_of(module):
    """Return the dict of a module's own submodules; its methods walk through all."""
    return module._modules


def is_dynamo_loaded():
    """Return True if anything may have been compiled by torch.compile.

    Importing torch._dynamo takes a second, so it is not imported to ask it.
    """
    return "torch._dynamo.eval_frame" in sys.modules


def uncompiled(module):
    """Return the module that `torch.compile` wrapped, None for any other module."""
    return getattr(module, "_orig_mod", None)


_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")


def is_quantised(module):
    """Return True for a layer whose weights are packed, so that they have no gradient.

    Those of torch.ao are no parameters.
    """
    if any(is_packed(p) for p in parameters_of(module).values() if p is not None):
        return True
    inside = type(module).__module__.startswith(_QUANTISED)
    # What holds the packed weights of a layer is a module too, without these methods.
    weight = getattr(module, "get_weight", getattr(module, "weight", None))
    return inside and callable(weight)


def is_quantised_by_batch(module):
    """Return True for a layer of torch.ao that takes one scale for a whole batch."""
    parts = type(module).__module__.split(".")
    return "dynamic" in parts and is_quantised(module)


def is_packed(tensor):
    """Return True for a tensor of torchao, or of numbers of one byte."""
    small = tensor.dtype.itemsize == 1 and tensor.dtype != torch.bool
    return small or is_of_torchao(tensor)


def is_of_torchao(tensor):
    """Return True for a tensor of torchao, which looks like one of floats."""
    return type(tensor).__module__.startswith("torchao.")


def inner_tensors(tensor):
    """Return the tensors that one of a class such as torchao's is made of, by name.

    Empty for a tensor with values of its own. The protocol is that of torch.compile.
    """
    if not hasattr(tensor, "__tensor_flatten__"):
        return {}
    names, _ = tensor.__tensor_flatten__()
    return {name: getattr(tensor, name) for name in names}


__all__ = [
    "CONVOLUTIONS",
    "DROPOUTS",
    "BaseComposition",
    "HasMethods",
    "Interval",
    "StrOptions",
    "buffers_of",
    "check_feature_names_in",
    "children_of",
    "fit_context",
    "get_feature_names",
    "has_gradient_hooks",
    "inner_tensors",
    "is_dynamo_loaded",
    "is_of_torchao",
    "is_packed",
    "is_quantised",
    "is_quantised_by_batch",
    "num_samples",
    "parameters_of",
    "safe_indexing",
    "uncompiled",
    "validate_parameters",
    "validate_params",
    "write_count",
]
