"""Pickling a torch module by content."""

import copy
import pickle
import weakref
import zlib
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType
from weakref import WeakValueDictionary

import joblib
import numpy as np
import torch
import torch.fx
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from ..torch_engine.model_state import check_device, unwrap_model
from ..torch_engine.restoring import LOCK
from ._code import code_ids, code_of, is_plain


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

    # While one is being pickled, the next estimator around the same model finds it,
    # so that they share the network in the pickle and behind it.
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
                    f"model cannot be pickled or hashed: torch refuses it for layers "
                    f"with parametrizations, and {name or 'the model'!r} has some. "
                    "Apply torch.nn.utils.parametrize.remove_parametrizations first."
                )
        with LOCK:  # not while another thread has it in evaluation mode
            return self._taken_apart(module)

    def _taken_apart(self, module):
        tensors = {id(t): t for t in _tensors_of(module)}
        contents = _contents(module, tensors.values())
        slots = [_Slot(*pair) for pair in zip(tensors.values(), contents, strict=True)]
        # deepcopy finds the tensors in its memo and puts the slots in their place.
        skeleton = copy.deepcopy(module, dict(zip(tensors, slots, strict=True)))
        return _assemble, (skeleton, slots)


class _Slot:
    """One tensor as numpy bytes and what is needed to make it again."""

    def __init__(self, tensor, content):
        self.content = content
        self.shape = tuple(tensor.shape)
        self.dtype = str(tensor.dtype).removeprefix("torch.")
        self.device = str(tensor.device)
        self.requires_grad = tensor.requires_grad
        self.is_parameter = isinstance(tensor, nn.Parameter)

    def tensor(self):
        dtype = getattr(torch, self.dtype)
        if self.content.size:
            content = torch.from_numpy(_writable(self.content))
            tensor = content.view(dtype).view(self.shape)
        else:  # torch cannot view nothing as something else
            tensor = torch.empty(self.shape, dtype=dtype)
        if _reachable(self.device):
            tensor = tensor.to(self.device)
        if self.is_parameter:
            return nn.Parameter(tensor, requires_grad=self.requires_grad)
        return tensor.requires_grad_(self.requires_grad)


def _contents(module, tensors):
    """Return the bytes of tensors: the same arrays as long as they do not change.

    Each task of a parallel search pickles the model anew. joblib writes a large array
    to disk for all its processes, but once only if it comes as the same object.
    """
    known, now = _CONTENTS.get(module, {}), {}
    for tensor in tensors:
        content = _bytes_of(tensor)
        state = _tensor_state(tensor, content)
        before = known.get(id(tensor))
        unchanged = before is not None and before[0] == state
        now[id(tensor)] = before if unchanged else (state, content)
    _CONTENTS[module] = now
    return [content for _, content in now.values()]


# The latest bytes of tensors by module, each with the state that they were taken in.
# They take no memory where the module is on the CPU.
_CONTENTS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _bytes_of(tensor):
    content = tensor.detach().resolve_conj().resolve_neg().cpu().reshape(-1)
    return content.contiguous().view(torch.uint8).numpy()


def _writable(content):
    """Return an array that may be written to, and nobody else sees what is written.

    One that is mapped from a file is mapped again: the processes of a search then
    share its pages until one of them writes.
    """
    if type(content) is np.memmap and content.filename is not None:
        # Gone, if the search ended or was stopped: then its values are copied.
        with suppress(OSError, ValueError):
            return np.memmap(
                content.filename,
                mode="c",
                dtype=content.dtype,
                shape=content.shape,
                offset=content.offset,
            )
    return np.array(content)


def content_hash(module):
    """Hash all that the results of a frozen module depend on, but for its device.

    That is its structure, its tensors and the code of its classes; not that of
    functions which these call. A hash is taken again only after something changed.
    """
    state = quick_state(module)
    known = _HASHES.get(module)
    if state is not None and known is not None and known[0] == state:
        return known[1]
    result = _content_hash(module)
    if state is not None:
        _HASHES[module] = state, result
    return result


def quick_state(module):
    """Return something that changes whenever the module does, in little time.

    None if the module holds anything that may change unseen.
    """
    if any(map(_is_special, (*module.parameters(), *module.buffers()))):
        return None
    parts: list[tuple] = []
    for name, part in module.named_modules(remove_duplicate=False):
        parts.append((name, id(type(part)), code_ids(type(part))))
        for key, value in vars(part).items():
            if key in ("_parameters", "_buffers"):
                parts += [(key, n, _tensor_state(t)) for n, t in value.items()]
            elif isinstance(value, torch.Tensor):
                if _is_special(value):
                    return None
                parts.append((key, _tensor_state(value)))
            elif isinstance(value, (type, FunctionType, BuiltinFunctionType)):
                parts.append((key, id(value), id(getattr(value, "__code__", None))))
            elif is_plain(value):
                parts.append((key, repr(value)))
            elif key != "_modules" and value:  # empty dicts of hooks are most of it
                return None
    return parts


def _tensor_state(tensor, content=None):
    """Return something that changes whenever a tensor does.

    torch does not count changes that are made through ``.data``.
    """
    if tensor is None:
        return None
    content = _bytes_of(tensor) if content is None else content
    return id(tensor), tensor.data_ptr(), tensor.dtype, tensor.shape, _checksum(content)


def _checksum(content):
    """Return a number that changes with each byte, also if two change places."""
    end = content.size - content.size % _WEIGHTS.nbytes
    words = content[:end].view(np.uint64).reshape(-1, len(_WEIGHTS))
    # Several times as fast as the checksum of all bytes. Multiplication by an odd
    # number loses nothing where numbers overflow.
    return zlib.crc32(words @ _WEIGHTS, zlib.crc32(content[end:]))


_WEIGHTS = 2 * np.random.RandomState(0).randint(2**62, size=512, dtype=np.uint64) + 1


def _content_hash(module):
    try:
        if not is_portable(module):
            raise TypeError("modules traced or scripted by torch have no such hash.")
        _, (skeleton, slots) = PortableModel(module).__reduce__()
        for slot in slots:
            slot.device = None
        return joblib.hash((skeleton, slots, code_of(module)), hash_name="sha1")
    # Pickle has many ways to fail at what a user's module may hold.
    except _NO_PICKLE as error:
        raise ValueError(
            "memory needs a model whose content can be hashed, so that results of "
            f"another one are never taken for its own: {error} Define its classes at "
            "the top of a file and take lambdas and hooks off it, or use memory=None."
        ) from error


_NO_PICKLE = (TypeError, AttributeError, NotImplementedError, pickle.PicklingError)

# Hashes by module, each with the state that it was taken in.
_HASHES: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def is_portable(module):
    """Tell whether a module can be taken apart.

    Traced and scripted modules have ways of their own to be copied and pickled.
    """
    own_ways = (torch.fx.GraphModule, torch.jit.ScriptModule)
    return not any(isinstance(part, own_ways) for part in module.modules())


def _tensors_of(module):
    """Find the tensors in a module: parameters, buffers, attributes, containers."""
    found, seen, waiting = [], set(), [module]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            if not _is_special(thing):
                found.append(thing)
        elif isinstance(thing, nn.Module):
            waiting += vars(thing).values()
        elif isinstance(thing, dict):
            waiting += thing.values()
        elif isinstance(thing, (list, tuple, set)):
            waiting += thing
    return found


def _is_special(tensor):
    """Tell whether a tensor is more than its bytes: sparse or quantized."""
    return tensor.layout != torch.strided or tensor.is_quantized


def _reachable(device):
    try:
        return bool(check_device(device))
    except ValueError:
        return False


def _assemble(skeleton, slots):
    """Put the tensors back into the structure."""
    return copy.deepcopy(skeleton, {id(slot): slot.tensor() for slot in slots})
