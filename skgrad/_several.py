"""Inputs of a network that takes several tensors, such as token ids and their mask."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Union

import numpy as np
import torch
from torch import Tensor, nn

from ._compat import uncompiled
from ._messages import listed
from ._validation import check_inputs, check_numbers

# Entries of dictionaries that are not given to the network.
LABELS = ("label", "labels")

ARRAYS = (np.ndarray, Tensor)

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
    lacking = ""
    if isinstance(came, dict) and isinstance(input_shape, dict):
        names = [repr(key) for key in input_shape if key not in came]
        lacking = f" {', '.join(names)} is missing." if names else ""
    raise ValueError(
        f"{name} must hold samples of shape {input_shape}, as those seen by fit; got "
        f"samples of shape {came}.{lacking}"
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


def entries_of(x: Batch) -> dict[Any, Tensor]:
    """Return the inputs by their names, a single one by an empty name."""
    return x.entries if isinstance(x, Several) else {"": x}


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


# What X holds


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
    if not all(isinstance(e, ARRAYS) and e.ndim >= 2 for e in X):
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


def integers_in(x: Any) -> bool | dict:
    """Return True for a batch of integers; of several inputs which are no floats."""
    if not isinstance(x, Several):
        return is_integer(x)
    return {key: is_integer(e) or is_truth(e) for key, e in x.entries.items()}


def is_truth(values: Any) -> bool:
    """Return True for an array or tensor of truth values."""
    return getattr(values, "dtype", None) in (torch.bool, np.bool_)


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
    named: Any = named_entries(X, name) if isinstance(X, Mapping) else enumerate(X)
    return of_one_length(
        {key: _check_entry(e, f"{name}[{key!r}]") for key, e in named}, name
    )


def of_one_length(entries: dict[Any, Any], name: str) -> Several:
    """Return several inputs; raise unless their first axes are one."""
    lengths = {key: len(entry) for key, entry in entries.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"{name} must hold entries with one first axis, the samples; got the "
            f"lengths {lengths}."
        )
    return Several(entries)


def named_entries(X: Mapping, name: str) -> Iterator[tuple[str, Any]]:
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
    if not isinstance(values, ARRAYS):
        values = np.asarray(values)
    if values.dtype == object:
        values = values.astype(np.float64)
    if not values.ndim or 0 in values.shape:
        raise ValueError(
            f"{name} must hold at least one sample and value; got shape "
            f"{tuple(values.shape)}."
        )
    return values
