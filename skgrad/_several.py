"""Inputs of a network that takes several tensors, such as token ids and their mask.

What holds several inputs is decided here, and so is which entries of the items of a
Dataset are inputs and which are labels.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Union

import numpy as np
import torch
from torch import Tensor, nn

from ._compat import uncompiled
from ._conversion import as_tensor
from ._messages import listed
from ._validation import check_inputs, check_numbers, numeric, stack_samples

# Entries of dictionaries that are not given to the network.
LABELS = ("label", "labels")

_ARRAYS = (np.ndarray, Tensor)

Key = str | int
Batch = Union[Tensor, "Several"]


class Several:
    """Arrays or tensors with one first axis, the inputs of a network in one call.

    ``entries`` holds them by the names of arguments of the network's forward, or by
    their positions 0, 1, ... In what they have in common they are used like one tensor:
    cut along the first axis, copied and moved together.
    """

    def __init__(self, entries: Mapping[Any, Any]) -> None:
        self.entries = dict(entries)

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, str):
            return self.entries[rows]
        # scikit-learn writes X[rows, ...], which entries of one axis take too.
        return self.map(lambda entry: entry[rows])

    def __repr__(self) -> str:
        shapes = {key: tuple(entry.shape) for key, entry in self.entries.items()}
        return f"<several inputs of shapes {shapes}>"

    def map(self, function: Callable[[Any], Any]) -> "Several":
        """Apply a function to each entry."""
        return Several({key: function(e) for key, e in self.entries.items()})

    def split(self, size: int) -> list["Several"]:
        """Cut it into pieces of at most ``size`` samples."""
        return [self[start : start + size] for start in range(0, len(self), size)]

    def clone(self) -> "Several":
        """Copy the tensors."""
        return self.map(Tensor.clone)

    def detach(self) -> "Several":
        """Take the tensors out of the graph."""
        return self.map(Tensor.detach)

    def float_keys(self) -> list:
        """Return the keys of the tensors of floats."""
        return [key for key, e in self.entries.items() if e.is_floating_point()]

    @property
    def _first(self) -> Any:
        return next(iter(self.entries.values()))

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return self._first.device

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first entry."""
        return tuple(self._first.shape)


def call(module: nn.Module, x: Batch) -> Any:
    """Run a module on one tensor, or on several by their names or positions."""
    if not isinstance(x, Several):
        return module(x)
    if 0 in x.entries:
        return module(*x.entries.values())
    return module(**x.entries)


def names_of_inputs(module: nn.Module, x: Several) -> dict[Key, str]:
    """Return the names of the arguments that several inputs are, by their keys."""
    if 0 not in x.entries:
        return {key: key for key in x.entries}
    try:
        names = inspect.signature((uncompiled(module) or module).forward).parameters
    except (TypeError, ValueError):  # such as a method that is compiled
        return {}
    return dict(zip(x.entries, names, strict=False))


def sample_shape(x: Any) -> Any:
    """Return the shape of one sample; of several inputs a dict of shapes."""
    if isinstance(x, Several):
        return {key: tuple(entry.shape[1:]) for key, entry in x.entries.items()}
    return tuple(x.shape[1:])


def check_entries(batch: Any, input_shape: Any, name: str = "X") -> None:
    """Raise unless inputs are several or one as fit saw, each with as many axes.

    ``input_shape`` is what `sample_shape` returned for those of fit; None takes all.
    """
    came = sample_shape(batch)
    if input_shape is None or n_axes(came) == n_axes(input_shape):
        return
    raise ValueError(
        f"{name} must hold samples of shape {input_shape}, as those seen by fit; got "
        f"samples of shape {came}."
    )


def n_axes(shape: Any) -> dict[Any, int]:
    """Count the axes in what `sample_shape` returned."""
    shapes = shape if isinstance(shape, dict) else {"": shape}
    return {key: len(one) for key, one in shapes.items()}


def joined(parts: Sequence[Any]) -> Any:
    """Return batches, arrays or several of them, one behind the other."""
    first = parts[0]
    if not isinstance(first, Several):
        return _cat("X", parts)
    return Several(
        {
            key: _cat(f"X[{key!r}]", [part.entries[key] for part in parts])
            for key in first.entries
        }
    )


def _cat(name: str, parts: Sequence[Any]) -> Any:
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) > 1:
        raise ValueError(
            f"{name} must hold samples of one shape where all of them are read at "
            f"once; got {' and '.join(map(str, sorted(shapes)[:3]))}. Pad all of them "
            "to one length, not each batch to its own."
        )
    tensors = isinstance(parts[0], Tensor)
    return torch.cat(list(parts)) if tensors else np.concatenate(parts)


def only_one(X: Several, name: str = "X") -> str:
    """Return the message where several inputs are given and one array is due."""
    return (
        f"{name} must be one array of inputs here; got several: "
        f"{listed(list(X.entries))}. Networks of several inputs work in the "
        "transformers, in detectors over them, in skgrad's own baselines, in the "
        "other attacks and in evaluate. If all but one are labels, yield the inputs "
        "alone, or (x, y) with a number y."
    )


# What can be changed in small steps


def floats_of(x: Batch) -> Tensor:
    """Return the tensor of inputs that can be changed, see `check_floats`."""
    return x.entries[x.float_keys()[0]] if isinstance(x, Several) else x


def with_floats(x: Batch, floats: Tensor) -> Batch:
    """Return inputs with another tensor of floats, everything else as it is."""
    if not isinstance(x, Several):
        return floats
    return Several({**x.entries, x.float_keys()[0]: floats})


def check_floats(x: Batch, what: str, way_out: str) -> None:
    """Raise unless inputs are one tensor of floats, or hold exactly one.

    ``what`` changes them, ``way_out`` is a sentence for those that have no floats.
    """
    if not isinstance(x, Several):
        if x.is_floating_point():
            return
        came = "whole numbers"
    else:
        keys = x.float_keys()
        if len(keys) == 1:
            return
        others = f"floats in {listed(keys)}" if keys else "whole numbers alone"
        came = f"{listed(list(x.entries))} with {others}"
    raise ValueError(
        f"X must hold one array of floats for {what}, which changes its values a "
        f"little, other inputs not at all; got {came}. {way_out}"
    )


# What X, an item or a batch holds


def is_several(X: Any) -> bool:
    """Return True if X holds several inputs: a dictionary, or a tuple of arrays.

    A tuple of arrays of one shape and dtype holds samples, as a list does, unless they
    are whole numbers of two axes or more: those are token ids and the like, of which a
    sample has one axis.
    """
    if isinstance(X, (Several, Mapping)):
        return True
    if not isinstance(X, tuple) or len(X) < 2:
        return False
    if not all(isinstance(e, _ARRAYS) and e.ndim >= 2 for e in X):
        return False
    if len({len(entry) for entry in X}) > 1:
        return False
    alike = len({(str(entry.dtype), tuple(entry.shape)) for entry in X}) == 1
    return not alike or (is_integer(X[0]) and X[0].dtype not in (torch.uint8, np.uint8))


def is_integer(values: Any) -> bool:
    """Return True for an array or tensor of integers, truth values not among them."""
    if isinstance(values, Tensor):
        other = values.is_floating_point() or values.is_complex()
        return not other and values.dtype != torch.bool
    return getattr(getattr(values, "dtype", None), "kind", "f") in "iu"


def has_integers(x: Any) -> bool:
    """Return True for a batch of integers, or several inputs with any but floats."""
    if not isinstance(x, Several):
        return is_integer(x)
    entries = x.entries.values()
    return any(is_integer(e) or e.dtype in (torch.bool, np.bool_) for e in entries)


def check_one_or_several(
    X: Any, *, name: str = "X", n_inputs: int | None = None
) -> Any:
    """Return inputs of a network as `check_inputs` does, several of them as `Several`.

    A tuple of ``n_inputs`` entries holds that many inputs in any case. Raises
    ValueError or TypeError if an entry is not valid, naming it, or their first axes
    differ.
    """
    if isinstance(X, Several):
        return X
    if not (is_several(X) or (isinstance(X, tuple) and len(X) == n_inputs)):
        return check_inputs(X, name=name)
    entries = dict(_named(X, name)) if isinstance(X, Mapping) else dict(enumerate(X))
    return _of_one_length(
        {k: _check_entry(e, f"{name}[{k!r}]") for k, e in entries.items()}, name
    )


def _of_one_length(entries: dict[Any, Any], name: str) -> Several:
    lengths = {key: len(entry) for key, entry in entries.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"{name} must hold entries with one first axis, the samples; got the "
            f"lengths {lengths}."
        )
    return Several(entries)


def _named(X: Mapping, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a dictionary that a network gets."""
    entries = {key: value for key, value in X.items() if key not in LABELS}
    if not entries or not all(isinstance(key, str) for key in entries):
        raise ValueError(
            f"{name} must hold inputs by the names of arguments of the model's "
            f"forward; got a {type(X).__name__} with the keys {listed(list(X))}."
        )
    yield from entries.items()


def _check_entry(values: Any, name: str) -> Any:
    values = check_numbers(values, name=name)
    if not isinstance(values, _ARRAYS):
        values = np.asarray(values)
    if values.dtype == object:
        values = values.astype(np.float64)
    if not values.ndim or 0 in values.shape:
        raise ValueError(
            f"{name} must hold at least one sample and value; got shape "
            f"{tuple(values.shape)}."
        )
    return values


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
    return _of_one_length(
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
        return {key: _array(value) for key, value in _named(item, name)}
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
        and all(isinstance(e, _ARRAYS) and e.ndim > n_axes for e in first)
    )


def _is_input(entry: Any, first: Any, n_axes: int) -> bool:
    """Return True for an entry that is no label: more than one number per sample."""
    if not isinstance(entry, _ARRAYS) or entry.ndim <= n_axes:
        return False
    # A label may have an axis of its own. So may a sequence of length 1 beside another.
    alone = isinstance(first, _ARRAYS) and math.prod(first.shape[n_axes:]) == 1
    return math.prod(entry.shape[n_axes:]) > 1 or alone


def _described(entry: Any) -> str:
    shape = getattr(entry, "shape", None)
    kind = f"a {type(entry).__name__}"
    return kind if shape is None else f"{kind} of shape {tuple(shape)}"
