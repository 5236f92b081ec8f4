"""The family of gradient norms (paper A)."""

from functools import partial
from numbers import Real

from .._compat import StrOptions
from .._messages import brief
from ..torch_engine.cotangents import LABELS, LOSSES, label_cotangents
from ..torch_engine.gradient_routes import find_routes
from ..torch_engine.network_pass import Wanted
from ..torch_engine.reach import check_reach, routes_that_pay, warn_of_slow
from ._family import BaseFamily

# Below every norm of float32 weights. It stands for 0, which has no logarithm.
_SMALLEST = 1e-30


class GradientNorms(BaseFamily):
    """Squared gradient norms of every parameter, a family of `NetworkFeatures`.

    Parameters
    ----------
    label, loss, log : optional
        As in `ConfoundingGradientTransformer`, which has these columns alone.

    Attributes
    ----------
    routes_ : dict of str to str
        How the norms of each parameter are computed, see there.

    Examples
    --------
    >>> from skgrad.feature_extraction import GradientNorms
    >>> GradientNorms(log=True)
    GradientNorms(log=True)
    """

    _parameter_constraints: dict = {
        "label": [StrOptions(set(LABELS)), "array-like"],
        "loss": [StrOptions(set(LOSSES))],
        "log": ["boolean"],
    }

    def __init__(self, *, label="all", loss="bce", log=False):
        self.label = label
        self.loss = loss
        self.log = log

    def _asks(self):
        return {"norms": True}

    def _fit(self, probe):
        names = list(probe.parameters)
        if not names:
            raise ValueError(
                "model must have parameters to take gradients of; "
                f"{type(probe.module).__name__} has none. Where torch.jit.freeze made "
                "constants of them, or all are quantised, give the module that it was "
                "made of."
            )
        self._check_label(probe.n_classes)
        check_reach(probe)
        routes = find_routes(probe, self._cotangents())
        warn_of_slow(probe, routes)
        self._routes = routes_that_pay(probe, routes)
        # A parameter without a route is left to autograd.
        ways = {name: route.rule for name, route in self._routes.items()}
        self.routes_ = {name: ways.get(name, "autograd") for name in names}
        if isinstance(self.label, str) and self.label == "each":
            width = len(str(probe.n_classes - 1))
            classes = [f"class_{c:0{width}d}" for c in range(probe.n_classes)]
            names = [f"{name}_{which}" for which in classes for name in names]
        return names

    def _wants(self):
        return Wanted(routes=self._routes, n_backward=1)

    def _columns(self, run):
        norms = run.gradient_norms(self._cotangents(), self._routes)
        # (n_samples, n_labels, n_parameters) becomes columns label by label, in the
        # order of the names.
        norms = norms.flatten(1)
        return norms.clamp_min(_SMALLEST).log() if self.log else norms

    def _cotangents(self):
        """Return the function that differentiates the loss."""
        return partial(label_cotangents, label=self._plain_label(), loss=self.loss)

    def _plain_label(self):
        if isinstance(self.label, str):
            return self.label
        has_list = hasattr(self.label, "tolist")
        return self.label.tolist() if has_list else list(self.label)

    def _check_label(self, n_classes):
        label = self._plain_label()
        if not isinstance(label, str) and (
            len(label) != n_classes or not all(map(_is_share, label))
        ):
            raise ValueError(
                f"label must be one of {', '.join(map(repr, LABELS))}, or {n_classes} "
                "numbers in [0, 1], one per class of the model; got "
                f"{brief(self.label)}."
            )


def _is_share(entry):
    return isinstance(entry, Real) and 0 <= float(entry) <= 1
