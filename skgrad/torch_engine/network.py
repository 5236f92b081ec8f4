"""A network as one walk finds it: held still for a call, restored after."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from .._compat import buffers_of, parameters_of, write_count


class Network:
    """The modules of a network, its parameters and its buffers.

    torch walks through all modules anew for each question about a network. Here one
    walk answers all questions of a call.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.parts = list(module.modules())
        self.parameters = list(_tensors(map(parameters_of, self.parts)))

    @property
    def device(self) -> torch.device:
        """The device of the first parameter or buffer, the CPU if there is none."""
        for tensor in chain(self.parameters, self.buffers()):
            return tensor.device
        return torch.device("cpu")

    def buffers(self) -> Iterator[Tensor]:
        """Yield the buffers that are there now; a forward pass may replace them."""
        return _tensors(map(buffers_of, self.parts))

    def check_initialised(self) -> None:
        """Raise unless all parameters and buffers have shapes and values.

        A parameter made under inference mode is rejected too: autograd cannot use it.
        """
        for parameter in self.parameters:
            if nn.parameter.is_lazy(parameter):
                raise ValueError(
                    "model must be initialised; its parameter "
                    f"{self._name(parameter)!r} has no shape yet. "
                    "Call the model once on a batch."
                )
            if parameter.is_inference():
                raise ValueError(
                    "model must not be made under torch.inference_mode; its parameter "
                    f"{self._name(parameter)!r} was. Make or load it outside, or pass "
                    "copy.deepcopy(model)."
                )
        for tensor in chain(self.parameters, self.buffers()):
            if tensor.is_meta:
                raise ValueError(
                    f"model must have values; its {self._name(tensor)!r} is on the "
                    "meta device, which holds none. Load its weights first "
                    "(load_state_dict, assign=True)."
                )

    def _name(self, tensor: Tensor) -> str | None:
        named = chain(self.module.named_parameters(), self.module.named_buffers())
        return next((name for name, other in named if other is tensor), None)

    @contextmanager
    def still(self, *, requires_grad: bool) -> Iterator[None]:
        """Hold the network in evaluation mode, and restore it at the end.

        ``requires_grad`` is that of all parameters inside. Attributes that are no
        buffers keep what a forward pass wrote into them, as after any call of the
        model.
        """
        modes = [part.training for part in self.parts]
        flags = [parameter.requires_grad for parameter in self.parameters]
        buffers = _Buffers(self.parts)
        try:
            for part in self.parts:
                _set_mode(part, False)
            for parameter in self.parameters:
                _set_flag(parameter, requires_grad)
            yield
        finally:
            for part, training in zip(self.parts, modes, strict=True):
                _set_mode(part, training)
            for parameter, flag in zip(self.parameters, flags, strict=True):
                _set_flag(parameter, flag)
            buffers.restore()


def _tensors(owners: Iterable[dict[str, Tensor | None]]) -> Iterator[Tensor]:
    return (t for own in owners if own for t in own.values() if t is not None)


def _set_mode(part: nn.Module, training: bool) -> None:
    if part.training is training:
        return
    # Set directly: a user's own train method may do more than set the mode.
    own = vars(part)
    if "training" in own:
        # nn.Module looks for a parameter, submodule or buffer of this name first,
        # which takes thirty times as long.
        own["training"] = training
    else:  # such as a module of torch.jit
        part.training = training


def _set_flag(parameter: Tensor, requires_grad: bool) -> None:
    if parameter.requires_grad is not requires_grad and parameter.is_floating_point():
        parameter.requires_grad_(requires_grad)


class _Buffers:
    """The buffers of all modules of a network, and copies of their values.

    What was written to is told by torch's count of writes. Writes that it does not
    count, through ``.data`` or a numpy array on the same memory, are not undone.
    """

    def __init__(self, parts: list[nn.Module]) -> None:
        self._known = [
            (own, dict(own.items()) if own else {}) for own in map(buffers_of, parts)
        ]
        self._tensors = list(_tensors(known for _, known in self._known))
        self._writes = list(map(_writes, self._tensors))
        with torch.no_grad():
            self._copies = _Copies(self._tensors)

    def restore(self) -> None:
        """Put the very same buffers back, with their values."""
        for own, known in self._known:
            if own or known:
                _put_back(own, known)
        counts = list(map(_writes, self._tensors))
        written = [
            place
            for place, before in enumerate(self._writes)
            if before is None or counts[place] != before
        ]
        copies = self._copies() if written else {}
        for place in written:
            buffer, values = self._tensors[place], copies[place]
            # A buffer whose values are the same is left alone: writing would make a
            # graph of the user's that it takes part in invalid.
            if not _equal(buffer, values):
                with torch.no_grad(), torch.inference_mode(buffer.is_inference()):
                    buffer.copy_(values)


def _put_back(own: dict[str, Tensor | None], known: dict[str, Tensor | None]) -> None:
    for name in set(own.keys()) - set(known):
        del own[name]
    for name, buffer in known.items():
        if name not in own or own[name] is not buffer:
            own[name] = buffer


def _writes(buffer: Tensor) -> int | None:
    """Return the count of writes, None for a tensor of inference mode: it has none."""
    return None if buffer.is_inference() else write_count(buffer)


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
