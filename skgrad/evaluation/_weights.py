"""Weights on disk: tensors and their names, nothing that could be executed."""

import copy
import json
from hashlib import blake2b

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from .._files import as_path, replacing
from .._messages import brief, cut

# The format's names of types.
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_HASH = "skgrad.blake2b"
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def save_network(network, path):
    """Write the weights of a network into a safetensors file.

    Parameters
    ----------
    network : torch.nn.Module or fitted skorch net
        Whose weights and buffers to write.
    path : str or Path
        The file. It appears whole or not at all; an older one is replaced.

    See Also
    --------
    load_network : The way back.

    Notes
    -----
    The format: the header's length (8 bytes, little endian); a header in JSON with
    type, shape and place of each tensor; the tensors' bytes. A hash of them goes into
    the header's ``__metadata__``, so that `load_network` notices a flipped bit.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skgrad.evaluation import LeNet, load_network, save_network
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_network(LeNet(), Path(folder) / "lenet.safetensors")
    ...     model = load_network(LeNet, Path(folder) / "lenet.safetensors")
    >>> model.training
    False
    """
    module = getattr(network, "module_", network)
    if not isinstance(module, nn.Module):
        raise TypeError(
            "network must be a torch.nn.Module or a fitted skorch net; got "
            f"{type(network).__name__}."
        )
    header, chunks, end = {}, [], 0
    for name, tensor in module.state_dict().items():
        _check_tensor(name, tensor)
        raw = _as_bytes(tensor)
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [end, end + len(raw)],
        }
        end += len(raw)
        chunks.append(raw)
    metadata = {_HASH: _hash(header, b"".join(chunks))}
    text = json.dumps({"__metadata__": metadata, **header}).encode()
    # Tensors start at multiples of 8 bytes, as readers expect.
    text += b" " * (-len(text) % 8)
    size = len(text).to_bytes(8, "little")
    with replacing(path) as part:
        part.write_bytes(b"".join([size, text, *chunks]))


def _check_tensor(name, tensor):
    if is_lazy(tensor) or tensor.is_meta or tensor.layout != torch.strided:
        raise ValueError(
            f"network must have all weights, and dense ones; {name!r} is not there "
            "yet, or sparse. Call the network once on inputs, or load its weights."
        )
    if tensor.dtype not in _NAMES:
        raise ValueError(
            f"network must have weights of {', '.join(map(str, _NAMES))}; {name!r} is "
            f"of {tensor.dtype}."
        )


def load_network(network, path):
    """Make a network with the weights of a safetensors file.

    Parameters
    ----------
    network : class, function or torch.nn.Module
        What makes the network when called without arguments; or a network of the same
        structure, of which a copy gets the weights.
    path : str or Path
        The file.

    Returns
    -------
    torch.nn.Module
        The network, in evaluation mode.

    Raises
    ------
    ValueError
        If the file is no safetensors file, or if its tensors are not the network's.

    See Also
    --------
    save_network : The way there.
    """
    module = _made(network)
    try:
        module.load_state_dict(load_safetensors(path))
    except RuntimeError as error:
        raise ValueError(
            f"path must hold the weights of a {type(module).__name__}; {str(path)!r} "
            f"does not: {cut(str(error), 300)}"
        ) from error
    return module.eval()


def _made(network):
    """Return a new network."""
    if isinstance(network, nn.Module):
        return copy.deepcopy(network)
    legal = "network must be a torch.nn.Module, or make one when called without "
    try:
        module = network()
    except TypeError as error:
        raise TypeError(
            f"{legal}arguments; got {brief(network, 200)}: {error}."
        ) from error
    if not isinstance(module, nn.Module):
        raise TypeError(f"{legal}arguments; it made {brief(module, 200)}.")
    return module


def load_safetensors(path):
    """Read tensors by name from a safetensors file.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict of str to Tensor
        The tensors, as `torch.nn.Module.load_state_dict` takes them.

    Raises
    ------
    ValueError
        If the file is no safetensors file, is cut off, holds an unknown type, or is
        not as `save_network` wrote it.
    """
    raw = bytearray(as_path(path).read_bytes())
    start = 8 + int.from_bytes(raw[:8], "little")
    try:
        if start > len(raw):
            raise ValueError(f"the header would end at byte {start} of {len(raw)}")
        header, data = json.loads(raw[8:start]), raw[start:]
        if not isinstance(header, dict):
            raise ValueError(f"its header is a {type(header).__name__}")
        metadata = header.pop("__metadata__", {})
        tensors = {name: _read_tensor(data, entry) for name, entry in header.items()}
        _check_data(header, data, metadata)
        return tensors
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"path must be a whole safetensors file; {str(path)!r} is not: {error}. "
            "Download or save it again."
        ) from error


def _check_data(header, data, metadata):
    """Refuse data that are not the tensors', or not those that were saved."""
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if end != len(data):
        raise ValueError(f"its tensors end at byte {end} of {len(data)}")
    # Files of others have no hash.
    if metadata.get(_HASH, known := _hash(header, data)) != known:
        raise ValueError("its weights are not those that were saved")


def _hash(header, data):
    hashed = blake2b(json.dumps(header, sort_keys=True).encode(), digest_size=16)
    hashed.update(data)
    return hashed.hexdigest()


def _read_tensor(data, entry):
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"unknown type {entry['dtype']!r}")
    first, last = entry["data_offsets"]
    if not 0 <= first <= last <= len(data):
        raise ValueError(f"a tensor would end at byte {last} of {len(data)}")
    dtype, shape = _DTYPES[entry["dtype"]], entry["shape"]
    if first == last:
        return torch.empty(0, dtype=dtype).reshape(shape)
    return torch.frombuffer(data[first:last], dtype=dtype).reshape(shape)


def _as_bytes(tensor):
    # numpy knows no bfloat16; bytes are bytes.
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()
