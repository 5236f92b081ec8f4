"""Which layers a baseline looks at."""

import numpy as np
import torch

from ..torch_engine.activations import (
    LOGITS,
    PENULTIMATE,
    as_names,
    candidate_layers,
    layer_activations,
    spread_layers,
)
from ..torch_engine.head import find_head
from ._base import BaseModelDetector

ALL = "all"


class BaseLayersDetector(BaseModelDetector):
    """Base of the detectors that look at the pooled outputs of layers.

    It sets ``layers_``, their names, and ``_head``, the layer that returns the logits.
    """

    def _find_layers(self, module, X, layers, pooling):
        batch = self._first_samples(module, X)[1]
        self._head = find_head(module, batch)
        every = isinstance(layers, str) and layers == ALL
        names = _every_layer(module, batch) if every else as_names(layers)
        if PENULTIMATE in names and self._head is None:
            last = _last_candidate(module, batch)
            names = [last if name == PENULTIMATE else name for name in names]
            names = list(dict.fromkeys(names))
        # The whole pass, once: it would show a layer called again further on.
        layer_activations(
            module, batch, names, pooling=pooling, whole=True, head=self._head
        )
        self.layers_ = names

    def _activations(self, module, batch, pooling, layers=None):
        """Return a Tensor of float64 (n_samples, n_channels) per layer."""
        blocks = layer_activations(
            module, batch, layers or self.layers_, pooling=pooling, head=self._head
        )
        return [block.double() for block in blocks]

    def _gather(self, module, X, pooling):
        """Return an array (n_samples, n_channels) per layer, and the predicted classes.

        As a dict by layer, and an ndarray of int (n_samples,).
        """
        names = list(dict.fromkeys([*self.layers_, LOGITS]))
        widths: list[int] = []

        def side_by_side(batch):
            blocks = self._activations(module, batch, pooling, names)
            widths[:] = [block.shape[1] for block in blocks]
            return torch.cat(blocks, dim=1)

        table = self._map(side_by_side, module, X)
        blocks = np.split(table, np.cumsum(widths)[:-1], axis=1)
        found = dict(zip(names, blocks, strict=True))
        return {name: found[name] for name in self.layers_}, found[LOGITS].argmax(1)


def _every_layer(module, batch):
    # A layer that happens to have that name cannot be told apart.
    names = [n for n in spread_layers(module, batch, None) if n != PENULTIMATE]
    return [*names, PENULTIMATE]


def _last_candidate(module, batch):
    candidates = candidate_layers(module, batch)
    if not candidates:
        raise ValueError(
            "layers: the model has no layer that returns its logits, nor any with "
            "parameters before, so 'penultimate' is nothing. Name layers, of which "
            "'logits' is one."
        )
    return candidates[-1]


def distances(rows, others):
    """Return the Euclidean distances between the rows of two Tensors.

    By matrix products small ones would lose digits, and depend on batch-mates.
    """
    return torch.cdist(rows, others, compute_mode="donot_use_mm_for_euclid_dist")
