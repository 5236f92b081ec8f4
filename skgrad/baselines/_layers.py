"""What the baselines over layer outputs share."""

import numpy as np
import torch

from .._messages import brief
from ..torch_engine.activations import (
    LOGITS,
    PENULTIMATE,
    as_names,
    layer_activations,
    spread_layers,
)
from ..torch_engine.head import resolve_penultimate
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

    It sets ``layers_``, their names, and ``_head``, the layer whose input
    "penultimate" is.
    """

    _parameter_constraints: dict = {
        **BaseModelDetector._parameter_constraints,
        "layers": [str, "array-like"],
    }
    # For subclasses without that parameter.
    pooling = "mean"

    def _find_layers(self, module, X, layers):
        batch = self._first_samples(module, X)[1]
        every = isinstance(layers, str) and layers == ALL
        names = _every_layer(module, batch) if every else as_names(layers)
        self.layers_, self._head = resolve_penultimate(module, batch, names)
        # One whole pass shows whether a layer is called again further on.
        self._activations(module, batch, self.layers_, whole=True)

    def _activations(self, module, batch, layers, *, whole=False):
        """Return a Tensor of float64 (n_samples, n_channels) per layer."""
        blocks = layer_activations(
            module, batch, layers, pooling=self.pooling, whole=whole, head=self._head
        )
        return [block.double() for block in blocks]

    def _with_logits(self, module, batch):
        """Return a Tensor per layer of ``layers_``, and the logits, from one pass."""
        names = list(dict.fromkeys([*self.layers_, LOGITS]))
        blocks = self._activations(module, batch, names)
        return blocks[: len(self.layers_)], blocks[names.index(LOGITS)]

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


def _every_layer(module, batch):
    # A layer of that name could not be distinguished from what the name stands for.
    names = [n for n in spread_layers(module, batch, None) if n != PENULTIMATE]
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
