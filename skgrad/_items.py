"""Which entries in the items and batches of a Dataset are inputs, and which labels."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ._conversion import as_tensor
from ._messages import listed
from ._several import ARRAYS, Batch, Several, named_entries, of_one_length
from ._validation import numeric, stack_samples


def stack_items(items: Sequence[Any], *, name: str = "X") -> Batch:
    """Make one batch of the inputs in items of a Dataset.

    Those are in x, (x, y), (x1, x2, ...), or a dictionary by the names of arguments.
    """
    samples = [_inputs_in(item, name, n_axes=0) for item in items]
    keys = samples[0].keys() if isinstance(samples[0], dict) else None
    if keys is None:
        return stack_samples(samples, name=name)
    if any(not isinstance(one, dict) or one.keys() != keys for one in samples):
        raise ValueError(
            f"{name} must yield the same entries for each sample; others than the "
            f"first have not exactly {listed(list(keys))}."
        )
    return Several(
        {
            key: stack_samples([one[key] for one in samples], name=f"{name}[{key!r}]")
            for key in keys
        }
    )


def inputs_of_batch(batch: Any, *, name: str = "X") -> Batch:
    """Return the inputs in a batch of a DataLoader, see `stack_items`."""
    if isinstance(batch, Several):
        return batch
    inputs = _inputs_in(batch, name, n_axes=1)
    if not isinstance(inputs, dict):
        return _batch_tensor(inputs, name)
    return of_one_length(
        {k: _batch_tensor(e, f"{name}[{k!r}]") for k, e in inputs.items()}, name
    )


def _batch_tensor(values: Any, name: str) -> Tensor:
    tensor = as_tensor(numeric(values, name))
    if not tensor.ndim:
        raise ValueError(f"{name} must give batches of samples; got a single number.")
    return tensor


def _inputs_in(item: Any, name: str, n_axes: int) -> Any:
    """Return the input in an item, or a dict of several.

    ``n_axes`` is 1 if it is a batch, whose first axis are the samples, else 0.
    """
    if isinstance(item, Mapping):
        return {key: _array(value) for key, value in named_entries(item, name)}
    if not (isinstance(item, (tuple, list)) and item):
        return item
    first, *rest = item
    # What stands beside a dictionary or a group of inputs is no further input.
    if isinstance(first, Mapping):
        return _inputs_in(first, name, n_axes)
    if _is_group(first, n_axes):
        return dict(enumerate(first))
    are_inputs = [_is_input(entry, first, n_axes) for entry in rest]
    if True not in are_inputs:
        return first
    n_inputs = are_inputs.index(False) if False in are_inputs else len(rest)
    if True in are_inputs[n_inputs:]:
        raise ValueError(
            f"{name} must yield x, (x, y), several arrays before the labels, or a "
            f"dictionary; got {', '.join(_described(entry) for entry in item)}, which "
            "may be inputs or labels. Yield a dictionary by the names of arguments of "
            "the model's forward."
        )
    return dict(enumerate(item[: n_inputs + 1]))


def _array(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, list) else value


def _is_group(first: Any, n_axes: int) -> bool:
    """Return True for the (x1, x2) in ((x1, x2), y)."""
    return (
        isinstance(first, (tuple, list))
        and len(first) > 1
        and all(isinstance(e, ARRAYS) and e.ndim > n_axes for e in first)
    )


def _is_input(entry: Any, first: Any, n_axes: int) -> bool:
    """Return True for an entry that is no label: more than one number per sample."""
    if not isinstance(entry, ARRAYS) or entry.ndim <= n_axes:
        return False
    # A label may have an axis of its own. So may a sequence of length 1 beside another.
    alone = isinstance(first, ARRAYS) and math.prod(first.shape[n_axes:]) == 1
    return math.prod(entry.shape[n_axes:]) > 1 or alone


def _described(entry: Any) -> str:
    shape = getattr(entry, "shape", None)
    kind = f"a {type(entry).__name__}"
    return kind if shape is None else f"{kind} of shape {tuple(shape)}"
