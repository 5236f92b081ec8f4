"""Pickling a torch module by content."""

import copy

import numpy as np
import torch
from torch import nn

from ..torch_engine.model_state import unwrap_model


class PortableModel:
    """Stands for a model in the pickle of an estimator.

    torch pickles a tensor together with the address of its memory, so the pickle of
    a copy differs and `joblib.hash`, on which ``Pipeline(memory=...)`` rests, never
    recognises it. Here the module is taken apart into its structure and numpy
    arrays, and both hash by content. Unpickling gives the module back, on the CPU if
    its device is not there. Of a skorch net only the module travels: its optimizer,
    history and callbacks are nothing to a transformer, and change the hash.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The model. Not copied until it is pickled.
    """

    def __init__(self, model):
        self.model = model

    def __reduce__(self):
        module = unwrap_model(self.model)
        tensors = {id(t): t for t in _tensors_of(module)}
        slots = [_Slot(tensor) for tensor in tensors.values()]
        # deepcopy finds the tensors in its memo and puts the slots in their place.
        skeleton = copy.deepcopy(module, dict(zip(tensors, slots, strict=True)))
        return _assemble, (skeleton, slots)


class _Slot:
    """One tensor as numpy bytes and what is needed to make it again."""

    def __init__(self, tensor):
        content = tensor.detach().cpu().contiguous().reshape(-1)
        self.content = content.view(torch.uint8).numpy()
        self.shape = tuple(tensor.shape)
        self.dtype = str(tensor.dtype).removeprefix("torch.")
        self.device = str(tensor.device)
        self.requires_grad = tensor.requires_grad
        self.is_parameter = isinstance(tensor, nn.Parameter)

    def tensor(self):
        content = torch.from_numpy(np.array(self.content))
        tensor = content.view(getattr(torch, self.dtype)).reshape(self.shape)
        if not self.device.startswith("cuda") or torch.cuda.is_available():
            tensor = tensor.to(self.device)
        if self.is_parameter:
            return nn.Parameter(tensor, requires_grad=self.requires_grad)
        return tensor.requires_grad_(self.requires_grad)


def _tensors_of(module):
    """Yield the tensors held by a module: parameters, buffers, plain attributes."""
    for part in module.modules():
        for holder in (part._parameters, part._buffers, vars(part)):
            yield from (v for v in holder.values() if isinstance(v, torch.Tensor))


def _assemble(skeleton, slots):
    """Put the tensors back into the structure."""
    return copy.deepcopy(skeleton, {id(slot): slot.tensor() for slot in slots})
