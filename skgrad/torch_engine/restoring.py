"""Locks of networks, and what is shared by the process: generators and settings."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .._compat import parameters_of

# Modes, flags and buffers of a network are shared by all threads that use it, so one
# thread at a time holds it. Threads on different networks run in parallel. The lock is
# that of the first layer with parameters, which a network has in common with a wrapper
# around it and with other networks on the same backbone. Networks that share only later
# layers count as different ones.
_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()

# Held while torch's global generators are seeded, so that the draws of two threads do
# not mix. A thread that holds it must not wait for a network: `frozen` waits for it.
_PROCESS_LOCK = threading.RLock()


def lock_of(module: nn.Module) -> threading.RLock:
    """Return the lock of a network, the same one for every thread."""
    first = next((m for m in module.modules() if _has_parameters(m)), module)
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(first, threading.RLock())


def _has_parameters(module: nn.Module) -> bool:
    return any(p is not None for p in parameters_of(module).values())


class SharedSetting:
    """A setting of the whole process, made by its first user and undone by its last.

    If each thread undid what it found, threads that overlap would leave the setting of
    one another behind. ``make`` returns the context manager that makes and undoes it.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self._make = make
        self._made: AbstractContextManager[Any] | None = None
        self._n_users = 0

    def __enter__(self) -> None:
        with _PROCESS_LOCK:
            if self._made is None:
                made = self._make()
                made.__enter__()
                self._made = made
            self._n_users += 1

    def __exit__(self, *error: Any) -> None:
        with _PROCESS_LOCK:
            self._n_users -= 1
            if not self._n_users and self._made is not None:
                made, self._made = self._made, None
                made.__exit__(None, None, None)


@contextmanager
def _generator_restored(device: torch.device) -> Iterator[None]:
    """Restore torch's global generator of a device, the CPU or a GPU, at the end."""
    library: Any = torch if device.type == "cpu" else torch.cuda
    place = () if device.type == "cpu" else (device,)
    before = library.get_rng_state(*place)
    try:
        yield
    finally:
        # All threads share the generator, and it does not record who drew from it.
        # Models rarely draw in evaluation mode. Writing only where it moved, threads
        # whose models draw nothing leave one another alone.
        if not torch.equal(library.get_rng_state(*place), before):
            library.set_rng_state(before, *place)


# The shared restoring of the generator of each device.
_GENERATORS: dict[torch.device, SharedSetting] = {}


def _generator_of(device: torch.device) -> SharedSetting:
    setting = SharedSetting(partial(_generator_restored, device))
    return _GENERATORS.setdefault(device, setting)


@contextmanager
def generators_restored(device: torch.device) -> Iterator[None]:
    """Restore torch's global generators of the CPU and of ``device`` at the end."""
    on_gpu = _generator_of(device) if device.type == "cuda" else nullcontext()
    with _generator_of(torch.device("cpu")), on_gpu:
        yield


@contextmanager
def torch_seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators of the CPU and of ``device``, then restore them.

    Other threads wait for their turn to seed. No network is to be held inside that
    was not held before, see `_PROCESS_LOCK`.
    """
    with _PROCESS_LOCK:
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            # torch.manual_seed would also seed GPUs, which nobody restores.
            torch.default_generator.manual_seed(seed)
            if devices:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            yield
