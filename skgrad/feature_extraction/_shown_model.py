"""A model in the representation of an estimator."""

import sys

from torch import nn
from torch.nn.parameter import is_lazy

# The modules of scikit-learn that write estimators down: as text, and as HTML in old
# and in new versions.
_WRITERS = {
    "sklearn.utils._pprint",
    "sklearn.utils._estimator_html_repr",
    "sklearn.utils._repr_html.estimator",
}


class ShownModel:
    """Stands for a model where an estimator is written down.

    Parameters
    ----------
    text : str
        What is written.
    """

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def shown(model):
    """Return what is shown of ``model``: class and size, of anything else itself."""
    if isinstance(model, nn.Module):
        return ShownModel(_class_and_size(model))
    module = getattr(model, "module_", None)
    if isinstance(module, nn.Module):  # a fitted skorch net
        return ShownModel(f"{type(model).__name__}({_class_and_size(module)})")
    if hasattr(model, "module") and hasattr(model, "initialize"):
        return ShownModel(f"{type(model).__name__}(not fitted)")
    return model


def _class_and_size(module):
    parameters = list(module.parameters())
    if any(map(is_lazy, parameters)):
        return f"{type(module).__name__}(parameters without shape)"
    n = sum(parameter.numel() for parameter in parameters)
    return f"{type(module).__name__}({n:,} parameter{'s' if n != 1 else ''})"


def asked_by_a_writer(depth=2):
    """Tell whether the caller's caller writes estimators down.

    scikit-learn makes the text of an estimator inside others, such as a pipeline, from
    its `get_params`, without ever calling its ``__repr__``.
    """
    return sys._getframe(depth).f_globals.get("__name__") in _WRITERS
