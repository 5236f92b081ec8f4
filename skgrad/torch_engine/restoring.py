"""What was there before a call is there after it: modules, generators, one thread."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

# One thread at a time: the modes of a model, the flags of its parameters and the
# random state are shared, and what is restored must be what was there.
LOCK = threading.RLock()

# What puts the models back that are held at this moment, the last one first.
_HELD: list[Callable[[], None]] = []


@contextmanager
def restoring(restore: Callable[[], None]) -> Iterator[None]:
    """Call ``restore`` at the end, whatever happens.

    Parameters
    ----------
    restore : callable
        May be called several times.

    Yields
    ------
    None
        To be entered while `LOCK` is held.
    """
    _HELD.append(restore)
    try:
        yield
    finally:
        try:
            restore()
        except KeyboardInterrupt:  # it hit the restoring itself, which so begins anew
            restore()
            raise
        finally:
            _HELD.remove(restore)


def _after_fork() -> None:
    """Let a child process go on without the threads of its parent.

    A thread that held a model will never come to put it back there.
    """
    if not LOCK._is_owned():  # type: ignore[attr-defined]
        LOCK._at_fork_reinit()  # type: ignore[attr-defined]
        while _HELD:
            _HELD.pop()()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed torch's global generators: that of the CPU and that of ``device``.

    `torch.manual_seed` would also seed the GPUs that nobody restores.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def generators_kept(device: torch.device) -> Iterator[None]:
    """Restore torch's global generators at the end: of the CPU and of ``device``.

    Other threads that use models wait: their draws and these would mix.

    Parameters
    ----------
    device : torch.device
        The only device besides the CPU from whose generator is drawn inside.

    Yields
    ------
    None
        The generators are as they were before.
    """
    devices = [device] if device.type == "cuda" else []
    with LOCK, torch.random.fork_rng(devices=devices):
        yield


@contextmanager
def seeded_training(seed: int, device: torch.device) -> Iterator[None]:
    """Let a network of one's own be trained, with torch's generators seeded.

    Parameters
    ----------
    seed : int
        Seeds the generators of the CPU and of ``device``, which are restored.
    device : torch.device
        Where the network is trained.

    Yields
    ------
    None
        Autograd is enabled inside, whatever the caller's grad or inference mode.
    """
    with generators_kept(device), torch.inference_mode(False), torch.enable_grad():
        seed_torch(seed, device)
        yield


class ModuleState:
    """The mode, the attributes and the buffers of one module, and their way back.

    Parameters
    ----------
    module : torch.nn.Module
        The module alone, without those inside of it.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.training = module.training
        # What a forward pass keeps in the module, such as its last activations, and
        # what it writes into lists, dicts and sets there; not into other objects. Also
        # hooks of ours: an interrupt may come before anybody holds on to one.
        self.attributes = dict(vars(module))
        self.containers = [
            (value, list(value.items() if isinstance(value, dict) else value))
            for value in self.attributes.values()
            if type(value) in _CONTAINERS
        ]
        self.buffers = dict(module._buffers.items())
        self.contents = {
            name: buffer.clone()
            for name, buffer in self.buffers.items()
            if buffer is not None
        }

    def restore(self) -> None:
        """Put everything back."""
        _rebind(vars(self.module), self.attributes)
        for container, things in self.containers:
            _refill(container, things)
        self.module.training = self.training
        _rebind(self.module._buffers, self.buffers)
        for name, content in self.contents.items():
            buffer = self.buffers[name]
            # One that was not written to is left alone, so that a graph of the user's
            # in which it takes part stays valid.
            if buffer is None or _same(buffer, content):
                continue
            if buffer.shape != content.shape or buffer.dtype != content.dtype:
                buffer.data = content
            else:
                # Inference mode only where it must be: if an interrupt strikes its
                # exit, its guard puts the grad mode of in here back when the
                # traceback is freed, which may be long after.
                inside = buffer.is_inference()
                with torch.inference_mode() if inside else torch.no_grad():
                    buffer.copy_(content)


def _rebind(names: Any, objects: dict[str, Any]) -> None:
    """Let names stand for what they stood for, and remove others."""
    for name in set(names.keys()) - set(objects):
        del names[name]
    for name, value in objects.items():
        # The names of a TorchScript module have no get.
        if name not in names or names[name] is not value:
            names[name] = value


_CONTAINERS = {dict, OrderedDict, list, set}


def _refill(container: Any, content: list[Any]) -> None:
    """Let a container hold the very same things again, in the same order."""
    is_dict = isinstance(container, dict)
    now = list(container.items() if is_dict else container)
    if len(now) != len(content) or any(
        # The items of a dict are new pairs of the old keys and values.
        one is not other and not (is_dict and all(map(is_, one, other)))
        for one, other in zip(now, content, strict=True)
    ):
        container.clear()
        fill = container.extend if isinstance(container, list) else container.update
        fill(content)


def _same(one: Tensor, other: Tensor) -> bool:
    """Compare two tensors value by value, NaN equal to NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.layout != torch.strided:
        one, other = one.to_dense(), other.to_dense()
    return bool(((one == other) | ((one != one) & (other != other))).all())
