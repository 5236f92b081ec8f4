"""The fingerprint of a network, the same on any device and version of torch."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._compat import inner_tensors, uncompiled
from .network import Network
from .restoring import lock_of

# Settings of torch's layers that change what they return in evaluation mode. They are
# listed, so that a new setting in a later version of torch changes no fingerprint.
# fmt: off
_SETTINGS = (
    "align_corners", "alpha", "approximate", "batch_first", "beta", "bidirectional",
    "ceil_mode", "count_include_pad", "dilation", "dim", "divisor_override", "end_dim",
    "eps", "groups", "kernel_size", "lambd", "lower", "max_val", "min_val", "mode",
    "negative_slope", "norm_first", "normalized_shape", "num_groups", "num_heads",
    "output_padding", "output_size", "padding", "padding_mode", "scale_factor", "size",
    "start_dim", "stride", "threshold", "upper", "upscale_factor", "value",
)
# fmt: on


def network_identity(module: nn.Module) -> dict[str, Any]:
    """Describe a network so that it is recognised in another process.

    Returns its ``class`` (str), ``n_parameters`` (int) and ``fingerprint``, a hash of
    the names and classes of all layers, of their settings such as a stride, and of the
    names, shapes, dtypes and values of all that ``state_dict`` holds and of the buffers
    that it leaves out. Its device, train or eval mode and ``requires_grad`` do not
    count, nor does code in its ``forward``, nor whether it is compiled or spread over
    devices.
    """
    module = _unwrapped(module)
    Network(module).check_initialised()
    # Pickles and the code of methods would show more differences, but they change with
    # the versions of torch and Python.
    content = blake2b(digest_size=16)
    with lock_of(module):  # another thread may have buffers in use
        for name, part in module.named_modules():
            content.update(f"{name}:{class_name(part)};".encode())
            content.update(_settings(part).encode())
        values = {**dict(module.named_buffers()), **module.state_dict()}
        for name, value in sorted(values.items()):
            for tensor in _tensors(value):
                content.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
                content.update(as_bytes(tensor).data)
    return {
        "class": class_name(module),
        "n_parameters": sum(parameter.numel() for parameter in module.parameters()),
        "fingerprint": content.hexdigest(),
    }


def _unwrapped(module: nn.Module) -> nn.Module:
    """Return the network inside of torch.compile and parallel wrappers."""
    while True:
        inner = uncompiled(module)
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def _settings(part: nn.Module) -> str:
    """Return the settings of a layer of torch, or of a subclass of one, as text."""
    # In a user's own module such a name may stand for anything, also for a trace of
    # the last input.
    kinds = [base for base in type(part).__mro__ if base is not nn.Module]
    if not any(base.__module__.startswith("torch.nn.") for base in kinds):
        return ""
    known = ((name, vars(part).get(name)) for name in _SETTINGS)
    return "".join(f"{n}={_plain(v)};" for n, v in known if _plain(v) is not None)


def _plain(value: Any) -> str | None:
    """Return the text of a setting, the same for (2, 2) and torch.Size([2, 2])."""
    if isinstance(value, (tuple, list)):
        return f"({','.join(map(str, map(_plain, value)))})"
    return str(value) if isinstance(value, (bool, int, float, str)) else None


def class_name(module: nn.Module) -> str:
    """Return the name of the class of a module."""
    # Scripted and traced modules keep the name of the class that they were made of.
    return getattr(module, "original_name", None) or type(module).__name__


def _tensors(value: Any) -> Iterator[Tensor]:
    """Find the tensors in one entry of a state_dict: quantised layers have tuples."""
    if isinstance(value, Tensor) and (inside := inner_tensors(value)):
        yield from _tensors(list(inside.values()))
    elif isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


def as_bytes(tensor: Tensor) -> np.ndarray:
    """Return the values of a tensor as an array of bytes, on the CPU.

    Where the tensor is there and contiguous, the array shares its memory.
    """
    if not tensor.numel():  # torch cannot view an empty tensor as bytes
        return np.empty(0, dtype=np.uint8)
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    values = tensor.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    return values.view(torch.uint8).numpy()
