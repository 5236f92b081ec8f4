"""The order of images in memory, on which the speed of backward passes depends."""

import torch

from .._several import Batch, Several


def with_channels_last(x: Batch) -> Batch:
    """Return images (n_samples, n_channels, height, width) with channels side by side.

    Shape and values are the same. On a CPU torch computes convolutions, normalisations
    and their gradients faster in this order, or as fast. Other inputs are returned as
    they are, and so is a single image, whose strides may leave the order open.
    """
    if isinstance(x, Several) or x.ndim != 4 or len(x) == 1 or x.device.type != "cpu":
        return x
    return x.contiguous(memory_format=torch.channels_last)


def in_order_of_axes(x: Batch) -> Batch:
    """Return inputs whose values lie in memory in the order of their axes."""
    return x if isinstance(x, Several) else x.contiguous()
