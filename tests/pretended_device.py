"""A device that is not there: tensors that say they lie on one and compute on the CPU.

A GPU raises where tensors of two devices meet, and waits where values are copied back.
Here both happen without one: tensors that `moved` brings there, or ``.to("meta")``
within `device`, raise beside those of the CPU, and copies back are counted. Unlike the
tensors of torch's own meta device they hold values, so results can be compared.
"""

from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from skgrad.torch_engine import gradient_recorder

# Of all devices that need no driver, autograd knows this one alone.
THERE = torch.device("meta")
_COPIES = ("aten::_to_copy", "aten::copy_")
# A GPU takes indices from the CPU too.
_INDEXING = ("aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_")


class There(torch.Tensor):
    """A tensor on the device; ``here`` is the one on the CPU that holds its values."""

    is_meta = False  # it holds values

    @staticmethod
    def __new__(cls, here):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=THERE,
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {}, None)

    def tolist(self):
        return self.here.tolist()

    def numpy(self, **options):
        raise TypeError("can't convert a tensor on a device to numpy: use cpu() first.")

    def __repr__(self):
        return f"There({self.here})"


class Device(TorchDispatchMode):
    """While it is entered, ``.to("meta")`` and ``device="meta"`` give `There`.

    ``copied`` holds the shapes of what was copied back, ``read`` how many single values
    Python asked for.
    """

    def __init__(self):
        super().__init__()
        self.copied, self.read = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {}, self)


@contextmanager
def device(monkeypatch):
    """Enter a `Device` and return it."""
    # It has no automatic casting, unlike a GPU.
    monkeypatch.setattr(torch, "autocast", lambda *given, **options: nullcontext())
    monkeypatch.setattr(gradient_recorder, "PLAIN", [*gradient_recorder.PLAIN, There])
    # torch.tensor moves its values where no mode sees it.
    make = torch.tensor

    def tensor(values, *, device=None, **options):
        made = make(values, **options)
        return made if device is None else made.to(device)

    monkeypatch.setattr(torch, "tensor", tensor)
    with Device() as entered:
        yield entered


def moved(net):
    """Bring a network there, in place."""
    for module in net.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                there = nn.Parameter(There(parameter.detach()))
                module._parameters[name] = there.requires_grad_(parameter.requires_grad)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = There(buffer)
    return net


def _computed(function, args, kwargs, mode):
    name = function.name()
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    there = [t for t in tensors if isinstance(t, There)]
    target = kwargs.get("device")
    to_there = bool(there) if target is None else torch.device(target) == THERE
    if name in _COPIES:
        to_there = isinstance(args[0], There) if name == "aten::copy_" else to_there
        if mode and there and not to_there:
            mode.copied.append(tuple(args[0].shape))
    elif name == "aten::_local_scalar_dense" and mode:
        mode.read += 1
    else:
        _check_one_device(name, tensors, there)
    generator = kwargs.get("generator")
    if to_there and generator is not None and generator.device != THERE:
        raise RuntimeError(f"{name} needs a generator of its device.")
    if target is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if to_there and torch.Tag.inplace_view in function.tags:
        with no_dispatch():  # the shape of the tensor itself changes as well
            function(*args, **kwargs)
    args, kwargs = tree_map(_here, (args, kwargs))
    result = function(*args, **kwargs)
    in_place = name.split(".")[0].endswith("_") and not name.startswith("aten::__")
    if in_place:
        return _in_place(tensors, result)
    if not to_there:
        return result
    return tree_map(lambda t: There(t) if isinstance(t, torch.Tensor) else t, result)


def _in_place(tensors, result):
    """Return the tensor that was changed, as the caller knows it."""
    return next((t for t in tensors if _here(t) is result), result)


def _here(value):
    return value.here if isinstance(value, There) else value


def _check_one_device(name, tensors, there):
    """Raise where a GPU would; single numbers of the CPU are taken everywhere."""
    others = [t for t in tensors if not isinstance(t, There) and t.ndim]
    if name.startswith(_INDEXING) and isinstance(tensors[0], There):
        return
    if there and others:
        raise RuntimeError(f"{name} got tensors on two devices.")
