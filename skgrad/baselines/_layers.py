"""What the baselines over layer outputs share."""

import numpy as np
import torch

from .._messages import brief
from ..torch_engine.activations import PENULTIMATE, as_names
from ..torch_engine.layer_outputs import find_outputs, watched_layer
from ..torch_engine.layers import spread_layers
from ..torch_engine.network_pass import NetworkPass, Wanted
from ._base import BaseModelDetector

ALL = "all"


def one_layer(layers):
    """Return the name of a single layer as a list."""
    names = as_names(layers)
    if len(names) != 1:
        raise ValueError(f"layers must name one layer; got {brief(layers)}.")
    return names


class BaseLayersDetector(BaseModelDetector):
    """Base of the detectors that use the pooled outputs of layers.

    `_find_layers` sets ``layers_``, what they are, and ``_outputs``, what to keep.
    """

    _parameter_constraints: dict = {
        **BaseModelDetector._parameter_constraints,
        "layers": [str, "array-like"],
    }
    # For subclasses without that parameter.
    pooling = "mean"

    def _asks(self):
        # "all" stands for many layers, and so does what is chosen where none is named.
        names = [] if self.layers is None else as_names(self.layers)
        return {"layers": names, "every": True}

    def _find_layers(self, probe, layers):
        every = isinstance(layers, str) and layers == ALL
        names = _every_layer(probe) if every else as_names(layers)
        self._outputs = find_outputs(probe, names, self.pooling)
        # Raises where transform would.
        self.layers_ = [watched_layer(probe, output) for output in self._outputs]

    def _activations(self, module, batch, outputs):
        """Return a Tensor of float64 (n_samples, n_channels) per layer."""
        run = NetworkPass(module, batch, Wanted(tuple(outputs)))
        return [block.double() for block in run.outputs(outputs)]

    def _with_logits(self, module, batch):
        """Return a Tensor per layer of ``layers_``, and the logits, from one pass."""
        run = NetworkPass(module, batch, Wanted(self._outputs, logits=True))
        blocks = [block.double() for block in run.outputs(self._outputs)]
        return blocks, run.logits.double()

    def _gather(self, module, X):
        """Return an array (n_samples, n_channels) per layer, and predicted classes."""
        widths: list[int] = []

        def concatenate(batch):
            blocks, logits = self._with_logits(module, batch)
            widths[:] = [block.shape[1] for block in blocks]
            return torch.cat([*blocks, logits], dim=1)

        table = self._map(concatenate, module, X)
        *blocks, logits = np.split(table, np.cumsum(widths), axis=1)
        return blocks, logits.argmax(axis=1)


def _every_layer(probe):
    # A layer of that name could not be distinguished from what the name stands for.
    names = [name for name in spread_layers(probe, None) if name != PENULTIMATE]
    return [*names, PENULTIMATE]


def on_device_of(tensor, array):
    """Return a fitted array as a Tensor on the device of another."""
    # A copy: what joblib passes to other processes is read-only.
    return torch.tensor(array, device=tensor.device)


def distances(rows, others):
    """Return the Euclidean distances between the rows of two Tensors.

    By matrix products, small distances would lose digits and depend on batch-mates.
    """
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")
