"""What attacks change: an array of floats, alone or among several inputs."""

from functools import partial

import torch
from torch import nn

from .._conversion import to_numpy
from .._several import (
    Several,
    call,
    check_floats,
    check_one_or_several,
    with_floats,
)
from .._validation import DATASETS, dataset_name
from ..torch_engine.batching import prepare_batch
from ..torch_engine.integer_inputs import takes_integers
from ..torch_engine.model_state import forward, placement

_WITHOUT_FLOATS = (
    "Of a model that takes the output of its embedding too, as those of Hugging Face "
    "take inputs_embeds, attack that; to exchange tokens, use a library for texts. "
    "Whole numbers that are no names of anything, such as pixels, give as floats."
)


def checked_inputs(X):
    """Return inputs to attack, one array or several; raise for a Dataset."""
    if isinstance(X, DATASETS):
        raise TypeError(
            f"X must be an array or tensor; got {dataset_name(X)}. Stack it first, as "
            "skgrad.model_selection.indexable_inputs does."
        )
    return check_one_or_several(X)


class AttackedInputs:
    """The floats of X that an attack changes, and the model as their function.

    Of several inputs the others stay as they are. The model is held by `frozen`.
    """

    def __init__(self, module, X):
        self._module, self._X = module, checked_inputs(X)
        first = self._X[:2]
        prepare = partial(self._prepared, first)
        self._integers = takes_integers(module, first, prepare)
        batch = prepare(integers=self._integers)
        check_floats(batch, "attacks", _WITHOUT_FLOATS)
        # Two, because a model that squeezes its output would fail on one sample.
        self.n_classes = forward(module, batch).shape[1]
        several = isinstance(batch, Several)
        self._key = batch.float_keys()[0] if several else None

    def _prepared(self, raw, *, integers):
        place = placement(self._module)
        return prepare_batch(raw, input_shape=None, integers=integers, **place)

    @property
    def floats(self):
        """The values to change (n_samples, *input_shape), as they were given."""
        return self._X if self._key is None else self._X.entries[self._key]

    def most_at_once(self, batch_size):
        """Return how many samples may be attacked in one batch.

        Attacks ask for the logits of any rows in any order. Those of one sample all
        have the same other inputs.
        """
        return batch_size if self._key is None else 1

    def model_at(self, rows):
        """Return the model as a function of the floats of some rows."""
        if self._key is None:
            return self._module
        others = self._prepared(self._X[rows], integers=self._integers)
        return _OthersFixed(self._module, others)

    def changed(self, floats):
        """Return X with other floats, in arrays."""
        if self._key is None:
            return floats
        arrays = {
            key: to_numpy(entry) if isinstance(entry, torch.Tensor) else entry
            for key, entry in self._X.entries.items()
        }
        return Several({**arrays, self._key: floats})


class _OthersFixed(nn.Module):
    """A model of several inputs as a function of its floats, for a single sample."""

    def __init__(self, module, others):
        super().__init__()
        self.module = module
        self._others = others

    def forward(self, x):
        """Return the output for floats, of any number of variants of the sample."""
        others = self._others.map(lambda e: e.expand(len(x), *e.shape[1:]).clone())
        return call(self.module, with_floats(others, x))
