"""What a network is known by, on any device and under any version of torch."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from .restoring import LOCK


def network_identity(module: nn.Module) -> dict[str, Any]:
    """Describe a network so that it is recognised in another process.

    Parameters
    ----------
    module : torch.nn.Module
        The network. Its device, train or eval mode and ``requires_grad`` do not count,
        nor does what its ``forward`` does beyond its layers and their values.

    Returns
    -------
    dict
        ``class`` (str), ``n_parameters`` (int) and ``fingerprint``, a hash of the names
        and classes of all layers and of the names, shapes, dtypes and values of all
        that ``state_dict`` holds.
    """
    _check_initialised(module)
    # Pickles and the code of methods would tell more, but look different under
    # another version of torch or Python.
    content = blake2b(digest_size=16)
    with LOCK:  # another thread may have buffers in use
        for name, part in module.named_modules():
            content.update(f"{name}:{_class_name(part)};".encode())
        for name, value in sorted(module.state_dict().items()):
            for tensor in _tensors(value):
                content.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
                content.update(_bytes(tensor))
    return {
        "class": _class_name(module),
        "n_parameters": sum(parameter.numel() for parameter in module.parameters()),
        "fingerprint": content.hexdigest(),
    }


def _check_initialised(module: nn.Module) -> None:
    if any(nn.parameter.is_lazy(parameter) for parameter in module.parameters()):
        raise ValueError(
            "model must be initialised; some of its parameters have no shape yet. Call "
            "the model once on a batch."
        )


def _class_name(module: nn.Module) -> str:
    # Scripted and traced modules remember what they were made of.
    return getattr(module, "original_name", None) or type(module).__name__


def _tensors(value: Any) -> Iterator[Tensor]:
    """Find the tensors in one entry of a state_dict: quantised layers have tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


def _bytes(tensor: Tensor) -> bytes:
    tensor = tensor.detach()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if not tensor.numel():  # torch cannot view nothing as bytes
        return b""
    content = tensor.resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    return content.view(torch.uint8).numpy().tobytes()
