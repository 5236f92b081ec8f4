"""The buffers of a network, and copies of their values."""

from collections.abc import Iterable, Iterator
from operator import is_

import torch
from torch import Tensor, nn

from .._compat import buffers_of, write_count


def tensors_of(owners: Iterable[dict[str, Tensor | None]]) -> Iterator[Tensor]:
    """Yield the tensors in the dicts of parameters or buffers of modules."""
    return (t for own in owners if own for t in own.values() if t is not None)


class Buffers:
    """The buffers of all modules of a network, and copies of their values.

    What was written to is told by torch's count of writes. Writes that it does not
    count, through ``.data`` or a numpy array on the same memory, are not undone.
    """

    def __init__(self, parts: list[nn.Module]) -> None:
        self._known = [
            (own, dict(own.items()) if own else {}) for own in map(buffers_of, parts)
        ]
        self._tensors = list(tensors_of(known for _, known in self._known))
        # Tensors of inference mode have no count, so their values are compared.
        self._all_counted = not any(b.is_inference() for b in self._tensors)
        self._writes = self._count()
        with torch.no_grad():
            self._copies = _Copies(self._tensors)

    def _count(self) -> list[int]:
        return list(map(write_count, self._tensors)) if self._all_counted else []

    def is_current(self) -> bool:
        """Return True if no buffer was replaced or written to since the copies."""
        now = list(tensors_of(own for own, _ in self._known))
        return (
            self._all_counted
            and len(now) == len(self._tensors)
            and all(map(is_, now, self._tensors))
            and self._count() == self._writes
        )

    def restore(self) -> None:
        """Put the very same buffers back, with their values."""
        if self.is_current():
            return
        for own, known in self._known:
            _put_back(own, known)
        for buffer, values in self._written():
            with torch.no_grad(), torch.inference_mode(buffer.is_inference()):
                buffer.copy_(values)
        self._writes = self._count()

    def _written(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each buffer whose values are others, and the copy of it.

        One that was written the same values is left alone: writing would make a graph
        of the user's that it takes part in invalid.
        """
        copies = self._copies()
        for place, buffer in enumerate(self._tensors):
            if self._all_counted and write_count(buffer) == self._writes[place]:
                continue
            if not _equal(buffer, copies[place]):
                yield buffer, copies[place]

    def changes(self) -> Iterator[tuple[int, str]]:
        """Yield the place of the module and the name of each buffer that changed."""
        written = {id(buffer) for buffer, _ in self._written()}
        for place, (own, known) in enumerate(self._known):
            now = dict(own.items())
            for name in {**known, **now}:
                buffer = known.get(name)
                if now.get(name) is not buffer or id(buffer) in written:
                    yield place, name


def _put_back(own: dict[str, Tensor | None], known: dict[str, Tensor | None]) -> None:
    for name in set(own.keys()) - set(known):
        del own[name]
    for name, buffer in known.items():
        if name not in own or own[name] is not buffer:
            own[name] = buffer


class _Copies:
    """Copies of tensors, those of one kind in one piece of memory.

    Networks have hundreds of small buffers, which are copied together in a third of
    the time.
    """

    def __init__(self, tensors: list[Tensor]) -> None:
        kinds: dict[tuple, list[int]] = {}
        self._alone: dict[int, Tensor] = {}
        for place, tensor in enumerate(tensors):
            if type(tensor) is Tensor and _is_plain(tensor):
                kind = tensor.dtype, tensor.device
                kinds.setdefault(kind, []).append(place)
            else:
                self._alone[place] = tensor.clone()
        self._shapes = [tensor.shape for tensor in tensors]
        self._joined = [
            (places, torch.cat([_flat(tensors[place]) for place in places]))
            for places in kinds.values()
        ]

    def __call__(self) -> dict[int, Tensor]:
        """Return the copies by the places of the tensors."""
        copies = dict(self._alone)
        for places, joined in self._joined:
            shapes = [self._shapes[place] for place in places]
            pieces = joined.split([shape.numel() for shape in shapes])
            for place, shape, piece in zip(places, shapes, pieces, strict=True):
                copies[place] = piece.view(shape)
        return copies


def _is_plain(tensor: Tensor) -> bool:
    # Quantised tensors have scales of their own, which one piece of memory has not.
    return tensor.layout == torch.strided and not tensor.is_quantized


def _flat(tensor: Tensor) -> Tensor:
    return tensor if tensor.ndim == 1 else tensor.reshape(-1)


def _equal(one: Tensor, other: Tensor) -> bool:
    """Compare two tensors value by value, NaN equal to NaN."""
    if one.layout != torch.strided:
        one, other = one.to_dense(), other.to_dense()
    return bool(((one == other) | ((one != one) & (other != other))).all())
