"""Pickle a torch module by content."""

import copy
from contextlib import suppress
from weakref import WeakValueDictionary

import numpy as np
import torch
import torch.fx
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from .._compat import is_of_torchao
from ..torch_engine.fingerprint import as_bytes
from ..torch_engine.hidden_layers import hidden_parts, takes_no_hooks
from ..torch_engine.model_state import check_device, copied, unwrap_model
from ..torch_engine.restoring import lock_of


class PortableModel:
    """Stands for a model in the pickle of an estimator.

    torch pickles a tensor together with the address of its memory, so the pickle of
    a copy differs and `joblib.hash`, on which ``Pipeline(memory=...)`` rests, never
    recognises it. Here the module is taken apart into its structure and numpy
    arrays, and both hash by content. Unpickling gives the module back, on the CPU if
    its device is not there. Of a skorch net only the module travels: a transformer
    needs no optimizer, history or callbacks, and they would change the hash.
    """

    # While one is being pickled, the next estimator around the same model finds it,
    # so that both share the network in the pickle and after it.
    _alive: WeakValueDictionary = WeakValueDictionary()

    def __init__(self, model):
        self.model = model

    @classmethod
    def of(cls, model):
        """Return the one that stands for ``model`` at present."""
        portable = cls._alive.get(id(model))
        if portable is None or portable.model is not model:
            portable = cls._alive[id(model)] = cls(model)
        return portable

    def __reduce__(self):
        module = unwrap_model(self.model)
        for name, part in module.named_modules():
            if is_parametrized(part):
                raise TypeError(
                    "model cannot be pickled or hashed with parametrizations, which "
                    f"{name or 'the model'!r} has. Apply "
                    "torch.nn.utils.parametrize.remove_parametrizations first."
                )
        with lock_of(module):  # not while another thread has it in evaluation mode
            tensors = {id(tensor): tensor for tensor in _tensors_of(module)}
            slots = [_Slot(tensor) for tensor in tensors.values()]
            # deepcopy finds the tensors in its memo and puts the slots in their place.
            skeleton = copy.deepcopy(module, dict(zip(tensors, slots, strict=True)))
        return _assemble, (skeleton, slots)


class UnpicklableModel:
    """Stands for a model that no pickle can hold, and says so.

    It is copied as the model itself.
    """

    def __init__(self, model):
        self.model = model

    def __deepcopy__(self, memo):
        return copied(self.model, memo)

    def __reduce__(self):
        raise TypeError(
            "model cannot be pickled, nor sent to another process: torch.jit, "
            "torch.export or torchao made it. Write the detector to a file with "
            "skgrad.save, which leaves the network out, or give the module that it was "
            "made of."
        )


def stand_in(model, module):
    """Return what stands for a model in the state of an estimator.

    ``module`` is the torch module of it.
    """
    if is_portable(module):
        return PortableModel.of(model)
    without_pickle = (
        any(map(takes_no_hooks, module.modules()))
        or any(map(is_of_torchao, module.parameters()))
        or "torch.export" in hidden_parts(module).values()
    )
    # What torch.fx traced is pickled by its own way.
    return UnpicklableModel(model) if without_pickle else model


class _Slot:
    """The bytes of one tensor and what is needed to make it again."""

    def __init__(self, tensor):
        self.content = as_bytes(tensor)
        self.shape = tuple(tensor.shape)
        self.dtype = str(tensor.dtype).removeprefix("torch.")
        self.device = str(tensor.device)
        self.requires_grad = tensor.requires_grad
        self.is_parameter = isinstance(tensor, nn.Parameter)

    def tensor(self):
        dtype = getattr(torch, self.dtype)
        if self.content.size:
            # A copy: joblib may have mapped the array from a file, to read only.
            content = torch.from_numpy(np.array(self.content))
            tensor = content.view(dtype).view(self.shape)
        else:  # torch cannot view an empty tensor as another dtype
            tensor = torch.empty(self.shape, dtype=dtype)
        with suppress(ValueError):  # the device need not be there
            tensor = tensor.to(check_device(self.device))
        if self.is_parameter:
            return nn.Parameter(tensor, requires_grad=self.requires_grad)
        return tensor.requires_grad_(self.requires_grad)


def is_portable(module):
    """Return True if a module can be taken apart.

    Traced and scripted modules are copied and pickled by functions of their own.
    torchao puts functions into its layers that no pickle can hold.
    """
    own_ways = (torch.fx.GraphModule, torch.jit.ScriptModule)
    if any(isinstance(part, own_ways) for part in module.modules()):
        return False
    return not any(map(is_of_torchao, module.parameters()))


def _tensors_of(module):
    """Find the tensors in a module: parameters, buffers, attributes, containers."""
    found, seen, waiting = [], set(), [module]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            # A sparse or quantized tensor is more than its bytes; deepcopy copies it.
            if thing.layout == torch.strided and not thing.is_quantized:
                found.append(thing)
        elif isinstance(thing, nn.Module):
            waiting += vars(thing).values()
        elif isinstance(thing, dict):
            waiting += thing.values()
        elif isinstance(thing, (list, tuple, set)):
            waiting += thing
    return found


def _assemble(skeleton, slots):
    """Put the tensors back into the structure."""
    return copy.deepcopy(skeleton, {id(slot): slot.tensor() for slot in slots})
