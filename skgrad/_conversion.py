"""The only way from tensors to arrays, and back."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Return a tensor of any device and dtype as an array, bfloat16 as float32.

    numpy has no bfloat16, and takes no tensor that autograd watches.
    """
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy(
        force=True
    )


def as_tensor(sample: Any) -> Tensor:
    """Return a sample as a tensor; an array is copied."""
    if isinstance(sample, np.ndarray):
        # A native copy: torch takes no other byte order, strides or read-only memory.
        native = sample.dtype.newbyteorder("=")
        return torch.from_numpy(np.array(sample, dtype=native, order="C"))
    return torch.as_tensor(sample)
