"""Estimators without their network: what `skgrad.save` writes, `skgrad.load` fills in.

While one of these works, the estimators around a network give and take their state
with a number in place of the network.
"""

from contextlib import contextmanager
from contextvars import ContextVar

import torch

from .._messages import warn
from ..torch_engine.fingerprint import network_identity
from ..torch_engine.model_state import check_device, unwrap_model

# Stands in a state for the network; the number of one of those that are left out.
REFERENCE = "network_"
_TENSOR = "tensor_"

_LEFT_OUT: ContextVar = ContextVar("left_out", default=None)
_GIVEN: ContextVar = ContextVar("given", default=None)


class LeftOut:
    """The networks that are left out: what each is known by, each once.

    Attributes
    ----------
    identities : list of dict
        What `network_identity` says of each.
    models : list
        The networks, as the estimators hold them.
    refused : Exception or None
        What was wrong with a model that is no network.
    """

    def __init__(self):
        self.identities = []
        self.models = []
        self.refused = None
        self._modules = []

    def number_of(self, model):
        """Return the number of a model, a new one if it was not seen before."""
        try:
            return self._number_of(model, unwrap_model(model))
        except (TypeError, ValueError) as error:
            self.refused = error
            raise

    def _number_of(self, model, module):
        for number, known in enumerate(self._modules):
            if module is known:
                return number
        identity = network_identity(module)
        # A copy with the same content is the same network.
        if identity in self.identities:
            return self.identities.index(identity)
        self.identities.append(identity)
        self.models.append(model)
        self._modules.append(module)
        return len(self._modules) - 1


@contextmanager
def leaving_out():
    """Let estimators give their state without their network, and list those.

    Yields
    ------
    LeftOut
        The networks met so far.
    """
    left_out = LeftOut()
    token = _LEFT_OUT.set(left_out)
    try:
        yield left_out
    finally:
        _LEFT_OUT.reset(token)


@contextmanager
def filling_in(models):
    """Let estimators take these models for the numbers in their state."""
    token = _GIVEN.set(models)
    try:
        yield
    finally:
        _GIVEN.reset(token)


def is_leaving_out():
    """Tell whether estimators are asked for their state without their network."""
    return _LEFT_OUT.get() is not None


def without_network(state):
    """Return the state of an estimator as a file may hold it.

    A folder of this machine does not travel either.
    """
    number = _LEFT_OUT.get().number_of(state["model"])
    state = {key: _as_arrays(value) for key, value in state.items() if key != "model"}
    state[REFERENCE] = number
    if state.get("device") is not None:
        state["device"] = str(state["device"])
    if "memory" in state:
        state["memory"] = None
    return state


def with_network(state):
    """Return the state of an estimator with its network, from one without."""
    models = _GIVEN.get()
    if models is None:
        raise ValueError("Only skgrad.load can read what skgrad.save wrote.")
    number = state[REFERENCE]
    state = {key: _as_tensors(value) for key, value in state.items()}
    del state[REFERENCE]
    state["model"] = models[number]
    state["device"] = _reached(state.get("device"))
    return state


def _as_arrays(value):
    """Replace tensors, also those in lists and dicts, by arrays that are marked."""
    if isinstance(value, torch.Tensor):
        return {_TENSOR: value.detach().cpu().numpy()}
    if type(value) is list:
        return [_as_arrays(part) for part in value]
    if type(value) is dict:
        return {key: _as_arrays(part) for key, part in value.items()}
    return value


def _as_tensors(value):
    """Undo `_as_arrays`."""
    if type(value) is list:
        return [_as_tensors(part) for part in value]
    if type(value) is dict:
        if value.keys() == {_TENSOR}:
            return torch.from_numpy(value[_TENSOR])
        return {key: _as_tensors(part) for key, part in value.items()}
    return value


def _reached(device):
    """Return the device, None with a warning if this machine has none such."""
    try:
        if device is not None:
            check_device(device)
    except ValueError:
        warn(
            f"device={device!r}, on which this detector was saved, is not here: the "
            "features are computed where the model is (device=None).",
            UserWarning,
        )
        return None
    return device
