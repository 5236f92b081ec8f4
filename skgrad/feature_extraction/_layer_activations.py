"""The family of outputs of layers (paper C)."""

import torch

from .._compat import StrOptions
from .._messages import warn
from ..torch_engine.activations import (
    LOGITS,
    PENULTIMATE,
    POOLINGS,
    as_names,
    layers_are_hidden,
)
from ..torch_engine.model_state import at_least_float32
from ..torch_engine.network_pass import Wanted
from ..torch_engine.probe import find_outputs, spread_layers
from ._family import BaseFamily

# How many layers are taken where none is named.
N_SPREAD = 4


class LayerActivations(BaseFamily):
    """Outputs of chosen layers and the logits, a family of `NetworkFeatures`.

    Parameters
    ----------
    layers, pooling : optional
        As in `LayerActivationTransformer`, which has these columns alone. The layer
        "logits" is the output of the network.

    Attributes
    ----------
    layers_ : list of str
        The layers, in the order of the columns.

    Examples
    --------
    >>> from skgrad.feature_extraction import LayerActivations
    >>> LayerActivations(["conv2", "logits"])
    LayerActivations(layers=['conv2', 'logits'])
    """

    _parameter_constraints: dict = {
        "layers": [str, "array-like", None],
        "pooling": [StrOptions(set(POOLINGS))],
    }

    def __init__(self, layers=None, *, pooling="mean"):
        self.layers = layers
        self.pooling = pooling

    def _asks(self):
        if self.layers is None:
            return {"leaves": True}
        names = as_names(self.layers)
        return {"layers": names, "leaves": PENULTIMATE in names}

    def _fit(self, probe):
        self._outputs = find_outputs(probe, self._find_layers(probe), self.pooling)
        self.layers_ = [output.layer for output in self._outputs]
        names = []
        for output in self._outputs:
            n_columns = probe.pooled_output(output).shape[1]
            width = len(str(n_columns - 1))
            names += [f"{output.layer}_{i:0{width}d}" for i in range(n_columns)]
        return names

    def _find_layers(self, probe):
        """Return the names of the layers."""
        if self.layers is not None:
            return as_names(self.layers)
        found = spread_layers(probe, N_SPREAD)
        if not found and layers_are_hidden(probe.module):
            warn(
                "model was made by torch.jit, which hides its layers: the features are "
                "its logits alone. Give the module that it was made of.",
                UserWarning,
            )
        # Last, where detectors look for logits in columns without names.
        return [*found, LOGITS]

    def _wants(self):
        return Wanted(outputs=self._outputs)

    def _columns(self, run):
        blocks = run.outputs(self._outputs)
        return torch.cat([at_least_float32(block) for block in blocks], dim=1)
