"""What the tensors of a forward pass depend on: values of samples, or none."""

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .._compat import write_count


class Source(IntEnum):
    """What the values of a tensor may depend on, from nothing to anything.

    A ``FIXED`` tensor is made of parameters, buffers and shapes. Of one that goes
    ``BY_ROWS`` the first axis is that of the samples, and each entry along it is the
    same function of its own sample.
    """

    FIXED = 0
    BY_ROWS = 1
    ANY = 2


class Provenance:
    """Follow the tensors of a pass from where they come.

    ``fixed`` are the parameters and buffers, ``inputs`` the tensors of the batch. Of
    what it has not seen, or someone has written into, it assumes the worst.
    """

    def __init__(
        self, fixed: Iterable[Tensor] = (), inputs: Iterable[Any] = ()
    ) -> None:
        # The tensors themselves are kept too, so that no other takes their identity.
        self._noted: dict[int, tuple[Tensor, int, Source]] = {}
        self.n_samples = 0
        for tensor in fixed:
            self._note(tensor, Source.FIXED)
        for tensor in inputs:
            if isinstance(tensor, Tensor) and tensor.ndim:
                self.n_samples = len(tensor)
                self._note(tensor, Source.BY_ROWS)

    def source(self, tensor: Tensor) -> Source:
        """Return what a tensor depends on."""
        return self._source_before(tensor, 0)

    def is_fixed(self, tensor: Tensor) -> bool:
        """Return True if a tensor depends on no sample."""
        return self.source(tensor) is Source.FIXED

    def forget(self) -> None:
        """Let go of all tensors."""
        self._noted.clear()

    def follow(self, func: Any, args: Any, kwargs: Any, result: Any) -> bool:
        """Note the result of a call; return True if it may decide on an order.

        The order of samples may depend on their values from here on if values of
        several samples became whole numbers, truths or indices, or left torch. What
        depends on one sample alone cannot tell its place among the others.
        """
        if func in _READ:
            return self.source(args[0]) is not Source.FIXED
        target = args[0] if func is Tensor.__setitem__ else result
        many = isinstance(target, (tuple, list))
        results = [t for t in (target if many else [target]) if isinstance(t, Tensor)]
        if not results:
            return False
        tensors = list(_tensors_in(args[:1] if func in _LIKE else args, kwargs))
        # In place, the first argument has been written into once.
        written = args[0] if args and _writes(func, kwargs) else None
        sources = [self._source_before(t, int(t is written)) for t in tensors]
        source = max(sources, default=Source.FIXED)
        if func in _SHAPE_ONLY:
            source = Source.FIXED
        elif source is Source.BY_ROWS:
            source = self._source_by_rows(func, args, kwargs, tensors, result)
        if source is Source.ANY:
            return any(map(_is_whole, results)) or _moves(func, args, tensors, sources)
        for tensor in results:
            self._note(tensor, source)
        return False

    def _note(self, tensor: Tensor, source: Source) -> None:
        if not tensor.is_inference():  # such a tensor counts no writes
            self._noted[id(tensor)] = tensor, write_count(tensor), source

    def _source_before(self, tensor: Tensor, n_writes: int) -> Source:
        """Return the source of an argument before the call wrote into it."""
        noted = self._noted.get(id(tensor))
        # A view shares the count of writes, so a write through one is seen too.
        if noted is None or write_count(tensor) != noted[1] + n_writes:
            return Source.ANY
        return noted[2]

    def _source_by_rows(
        self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor], result: Any
    ) -> Source:
        """Return the source of what was made of tensors that go by rows."""
        if func in _TRUTHS and len(args) == 1 and not kwargs:
            # A truth about all samples at once is the same in whatever order.
            return Source.FIXED
        by_rows = self._goes_by_rows(func, args, kwargs, tensors, result)
        return Source.BY_ROWS if by_rows else Source.ANY

    def _goes_by_rows(
        self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor], result: Any
    ) -> bool:
        n = self.n_samples
        if not isinstance(result, Tensor) or not result.ndim or len(result) != n:
            return False
        if func in _ELEMENTWISE:
            return all(self._is_aligned(tensor, result.ndim) for tensor in tensors)
        if len(tensors) > 1 or tensors[0].ndim == 0:
            return False
        if func is Tensor.__getitem__:
            return _keeps_rows(args[1])
        if func in _RESHAPES:
            return len(tensors[0]) == n
        if func is Tensor.expand:
            return tensors[0].ndim == result.ndim and len(tensors[0]) == n
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        inner = type(dim) is int and (dim > 0 or (dim == -1 and tensors[0].ndim > 1))
        return func in _ALONG and inner

    def _is_aligned(self, tensor: Tensor, n_axes: int) -> bool:
        if self._noted[id(tensor)][2] is Source.BY_ROWS:
            return tensor.ndim == n_axes and len(tensor) == self.n_samples
        # What differs from sample to sample would tell which one it is.
        return tensor.ndim < n_axes or len(tensor) == 1


def _tensors_in(args: Iterable[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    for argument in (*args, *kwargs.values()):
        if isinstance(argument, Tensor):
            yield argument
        elif isinstance(argument, (tuple, list)):
            yield from _tensors_in(argument, {})


def _is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex())


def _writes(func: Any, kwargs: Mapping[str, Any]) -> bool:
    """Return True if a call writes into its first argument."""
    name = getattr(func, "__name__", "")
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or func is Tensor.__setitem__ or kwargs.get("inplace") is True


def _moves(func: Any, args: Any, tensors: list[Tensor], sources: list[Source]) -> bool:
    """Return True if a call may put samples in another place by whole numbers."""
    if func in _LOOKUPS and _has_tensor_index(args[1]):
        # Looking up in a table moves no sample.
        return func is Tensor.__setitem__ or sources[0] is not Source.FIXED
    return func not in _STAYS and any(
        source is Source.BY_ROWS and _is_whole(tensor)
        for tensor, source in zip(tensors, sources, strict=True)
    )


def _has_tensor_index(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(part, (Tensor, list, np.ndarray)) for part in parts)


def _keeps_rows(index: Any) -> bool:
    """Return True if an index takes all samples, each alike."""
    parts = index if isinstance(index, tuple) else (index,)
    plain = all(p is None or p is ... or isinstance(p, (int, slice)) for p in parts)
    return plain and isinstance(parts[0], slice) and parts[0] == slice(None)


def _named(names: str) -> frozenset[Any]:
    """Return the functions of these names, be they of torch or of its tensors."""
    owners = Tensor, torch
    found = {getattr(o, name, None) for name in names.split() for o in owners}
    return frozenset(found - {None})


# Values that leave torch this way may decide on an order outside of it.
_READ = _named("item tolist numpy __array__ __bool__ __int__ __float__ __index__")
_LOOKUPS = frozenset({Tensor.__getitem__, Tensor.__setitem__})
# Of their arguments only the shapes matter.
_SHAPE_ONLY = _named("new_zeros new_ones new_empty zeros_like ones_like empty_like")
# Of their second argument only the shape or type matters.
_LIKE = _named("type_as expand_as view_as reshape_as")
_ELEMENTWISE = _named(
    "to type long int bool float double half bfloat16 clone contiguous detach "
    "eq ne lt le gt ge __eq__ __ne__ isnan isinf logical_not logical_and logical_or "
    "bitwise_not bitwise_and bitwise_or __invert__ __and__ __or__ "
    "add sub mul neg rsub __rsub__ abs clamp masked_fill"
)
_RESHAPES = _named("view reshape flatten")
_ALONG = _named("unsqueeze sum cumsum any all argmax")
_TRUTHS = _named("any all")
# In these functions, beside those above, whole numbers and masks move no sample.
_STAYS = (
    _ELEMENTWISE
    | _RESHAPES
    | _named("expand where div add_ sub_ mul_ div_ masked_fill_ __getitem__")
    | {F.embedding, F.scaled_dot_product_attention, F.multi_head_attention_forward}
)
