"""The family of outputs of layers (paper C)."""

from numbers import Integral

import torch

from .._compat import Interval, StrOptions
from .._messages import warn
from ..torch_engine.activations import (
    LOGITS,
    PENULTIMATE,
    as_names,
)
from ..torch_engine.hidden_layers import why_hidden
from ..torch_engine.layer_outputs import AUTO, find_outputs, watched_layer
from ..torch_engine.layers import misses_layers, spread_layers
from ..torch_engine.model_state import at_least_float32
from ..torch_engine.network_pass import Wanted
from ..torch_engine.pooling import POOLINGS
from ._family import BaseFamily

# How many layers are taken where none is named.
N_SPREAD = 4


class LayerActivations(BaseFamily):
    """Outputs of chosen layers and the logits, a family of `NetworkFeatures`.

    Parameters
    ----------
    layers, pooling, channel_axis : optional
        As in `LayerActivationTransformer`, which has these columns alone. The layer
        "logits" is the output of the network.

    Attributes
    ----------
    layers_ : list of WatchedLayer
        The layers, in the order of the columns, with ``name``, ``shape`` of the output
        for one sample, ``channel_axis`` and ``n_columns`` of each.

    Examples
    --------
    >>> from skgrad.feature_extraction import LayerActivations
    >>> LayerActivations(["conv2", "logits"])
    LayerActivations(layers=['conv2', 'logits'])
    """

    _parameter_constraints: dict = {
        "layers": [str, "array-like", None],
        "pooling": [StrOptions(set(POOLINGS))],
        "channel_axis": [
            StrOptions({AUTO}),
            Interval(Integral, None, None, closed="neither"),
            dict,
        ],
    }

    def __init__(self, layers=None, *, pooling="mean", channel_axis=AUTO):
        self.layers = layers
        self.pooling = pooling
        self.channel_axis = channel_axis

    def _asks(self):
        if self.layers is None:
            return {"every": True}
        names = as_names(self.layers)
        return {"layers": names, "every": PENULTIMATE in names}

    def _fit(self, probe):
        layers = self._find_layers(probe)
        self._outputs = find_outputs(probe, layers, self.pooling, self.channel_axis)
        self.layers_ = [watched_layer(probe, output) for output in self._outputs]
        names = []
        for layer in self.layers_:
            width = len(str(layer.n_columns - 1))
            names += [f"{layer.name}_{i:0{width}d}" for i in range(layer.n_columns)]
        return names

    def _find_layers(self, probe):
        """Return the names of the layers."""
        if self.layers is not None:
            return as_names(self.layers)
        found = spread_layers(probe, N_SPREAD)
        hidden = why_hidden(probe.module)
        if not found and (hidden or misses_layers(probe)):
            why = "has no layer that is called once, so that it could be watched"
            warn(
                f"model {hidden or why}: the features are its logits alone. In place "
                "of one that was compiled, exported or quantised give the module that "
                "it was made of.",
                UserWarning,
            )
        # Last, where detectors look for logits in columns without names.
        return [*found, LOGITS]

    def _wants(self):
        return Wanted(outputs=self._outputs)

    def _columns(self, run):
        blocks = run.outputs(self._outputs)
        return torch.cat([at_least_float32(block) for block in blocks], dim=1)
