"""Hold a network over many calls, so that each of them costs little."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .._compat import children_of, parameters_of, write_count
from .._messages import warn
from .buffers import Buffers
from .network import Network, set_mode
from .restoring import lock_of

# Each entry lives as long as a block that holds its network.
_HELD: dict[nn.Module, "HeldNetwork"] = {}


def held_network(module: nn.Module) -> "HeldNetwork | None":
    """Return the network if a block holds this very module, else None.

    A wrapper or a part of a held module has other modules, so it counts as not held.
    """
    return _HELD.get(module)


@contextmanager
def held(module: nn.Module) -> Iterator[None]:
    """Hold a network in evaluation mode; several blocks and threads may do so at once.

    The lock of the network is taken by each call, not by the block: a block that kept
    it would let the threads of a server wait for its end. The last block to end
    restores the modes, and warns if the network was changed in between.
    """
    lock = lock_of(module)
    # Tensors made in the caller's inference mode have no count of writes.
    with lock, torch.inference_mode(False):
        if module not in _HELD:
            _HELD[module] = HeldNetwork(module)
        network = _HELD[module]
        network.n_blocks += 1
    try:
        yield
    finally:
        changes: list[str] = []
        with lock:
            network.n_blocks -= 1
            if not network.n_blocks:
                del _HELD[module]
                changes = network.release()
        if changes:
            warn(
                f"model changed while skgrad.hold held it: {'; '.join(changes)}. "
                "Answers in between may come from different networks. Leave the block "
                "before the model is trained or loaded, and enter it again after.",
                UserWarning,
            )


class HeldNetwork(Network):
    """A network that is in evaluation mode and was checked, over many calls.

    A call still looks at modes, flags and counts of writes, which costs next to
    nothing. So it is right and restores everything also where other code works on the
    network.
    """

    def __init__(self, module: nn.Module) -> None:
        self.n_blocks = 0
        self._facts = _facts(module)
        self._noticed: dict[str, dict[str, None]] = {}
        self._in_call = False
        self._modes_before: dict[nn.Module, bool] = {}
        self._walk(module)

    def _walk(self, module: nn.Module) -> None:
        """Take in the layers that are there now, and set evaluation mode."""
        super().__init__(module)
        self.check_initialised()
        self._names = [name for name, _ in module.named_modules()]
        self._children = [list(children_of(part).values()) for part in self.parts]
        self._buffers = Buffers(self.parts)
        for part in self.parts:
            self._modes_before.setdefault(part, part.training)
        self._set_modes([False] * len(self.parts))

    @contextmanager
    def still(self, *, requires_grad: bool) -> Iterator[None]:
        """Hold the network still for one call, as `Network.still` does."""
        # What a call inside of a call finds was made by the outer one.
        outer, self._in_call = self._in_call, True
        try:
            if not outer:
                self._notice()
            with super().still(requires_grad=requires_grad):
                yield
        finally:
            self._in_call = outer

    def _copied_buffers(self) -> Buffers:
        return self._buffers if self._buffers.is_current() else Buffers(self.parts)

    def _notice(self) -> None:
        """Notice what others did to layers, modes and buffers since the last call."""
        pairs = zip(self._children, self.parts, strict=True)
        if any(kept != list(children_of(part).values()) for kept, part in pairs):
            self._walk(self.module)
        for path, part in zip(self._names, self.parts, strict=True):
            if getattr(part, "training", False):
                self._add("mode of", path)
        if not self._buffers.is_current():
            for place, name in self._buffers.changes():
                self._add("buffer", _joined(self._names[place], name))
            # What others wrote stays: it is not undone at the end of a call.
            self._buffers = Buffers(self.parts)

    def _add(self, kind: str, path: str) -> None:
        # The inner dict is an ordered set.
        self._noticed.setdefault(kind, {})[path] = None

    def release(self) -> list[str]:
        """Restore the modes; return what changed while the network was held."""
        self._notice()
        # Layers that were replaced get back their modes as well.
        for part, training in self._modes_before.items():
            set_mode(part, training)
        facts = _facts(self.module)
        for kind, path in {**self._facts, **facts}:
            before, now = self._facts.get((kind, path)), facts.get((kind, path))
            if before is None or now is None or not _same(before, now):
                self._add(kind, path)
        return [_listed(kind, list(paths)) for kind, paths in self._noticed.items()]


def _facts(module: nn.Module) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Return what tells a change, by kind and name, of modules and parameters."""
    facts: dict[tuple[str, str], tuple[Any, ...]] = {}
    for path, part in module.named_modules():
        facts["module", path] = (part,)
        for name, parameter in parameters_of(part).items():
            kept: tuple[Any, ...] = ()
            if parameter is not None:
                # A second tensor on its memory, which nothing else gets meanwhile. One
                # of inference mode, which has no count, was not there at the start.
                counted = not parameter.is_inference()
                kept = counted and write_count(parameter), parameter.detach()
            facts["parameter", _joined(path, name)] = (parameter, *kept)
    return facts


def _same(before: tuple[Any, ...], now: tuple[Any, ...]) -> bool:
    if before[0] is not now[0] or before[1:2] != now[1:2]:
        return False
    # model.half() and an assignment to .data give a parameter other memory. Tensors of
    # other layouts and classes may have no memory of their own.
    if type(before[0]) is not nn.Parameter or before[0].layout != torch.strided:
        return True
    return before[2].data_ptr() == now[2].data_ptr()


def _listed(kind: str, paths: list[str]) -> str:
    shown = ", ".join(repr(path) if path else "the model" for path in paths[:3])
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"{kind} {shown}{more}"


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
