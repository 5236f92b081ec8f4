"""A network as one walk finds it: held still for a call, restored after."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from .._compat import buffers_of, parameters_of, write_count
from .buffers import Buffers, tensors_of
from .restoring import lock_of


class Network:
    """The modules of a network, its parameters and its buffers.

    torch walks through all modules again for each question about a network. Here one
    walk answers all questions of a call.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.parts = list(module.modules())
        self.parameters = list(tensors_of(map(parameters_of, self.parts)))
        self.lock = lock_of(module)

    @property
    def device(self) -> torch.device:
        """The device of the first parameter or buffer, the CPU if there is none."""
        return first_device(chain(self.parameters, self.buffers()))

    def buffers(self) -> Iterator[Tensor]:
        """Yield the buffers that are there now; a forward pass may replace them."""
        return tensors_of(map(buffers_of, self.parts))

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
        modes, flags = self._modes(), self._flags()
        buffers = self._copied_buffers()
        try:
            self._set_modes([False] * len(modes))
            self._set_flags([requires_grad] * len(flags))
            yield
        finally:
            self._set_modes(modes)
            self._set_flags(flags)
            buffers.restore()

    def _modes(self) -> list[bool]:
        # What torch.jit.freeze made has no mode: it is in evaluation mode for good.
        return [getattr(part, "training", False) for part in self.parts]

    def _flags(self) -> list[bool]:
        return [parameter.requires_grad for parameter in self.parameters]

    def _set_modes(self, modes: list[bool]) -> None:
        # Here and below what is right already is not written: reading is much cheaper.
        now = self._modes()
        if now != modes:
            for part, old, new in zip(self.parts, now, modes, strict=True):
                if old is not new:
                    set_mode(part, new)

    def _set_flags(self, flags: list[bool]) -> None:
        now = self._flags()
        if now != flags:
            for parameter, old, new in zip(self.parameters, now, flags, strict=True):
                if old is not new and parameter.is_floating_point():
                    parameter.requires_grad_(new)

    def version(self) -> tuple[int, int]:
        """Return what a write to a parameter changes, as in training, or another one.

        Writes that torch does not count, as those through ``.data``, leave it.
        """
        which = hash(tuple(map(id, self.parameters)))
        return which, sum(map(write_count, self.parameters))

    def _copied_buffers(self) -> Buffers:
        return Buffers(self.parts)


def first_device(tensors: Iterable[Tensor]) -> torch.device:
    """Return the device of the first tensor, the CPU if there is none."""
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def set_mode(part: nn.Module, training: bool) -> None:
    """Set the mode of a module, not of those inside of it."""
    # Set directly: a user's own train method may do more than set the mode.
    own = vars(part)
    if "training" in own:
        # nn.Module looks for a parameter, submodule or buffer of this name first,
        # which takes thirty times as long.
        own["training"] = training
    else:  # such as a module of torch.jit
        part.training = training
