"""Squared norms of the weight gradients of convolutions, sample by sample."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import chain, product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.nn.grad import conv1d_weight, conv2d_weight, conv3d_weight

from .gradient_norms import (
    CHUNK,
    in_chunks,
    norms_by_grams,
    outer_norms,
    position_gram,
    squares,
)
from .model_state import at_least_float32

# Torch's convolutions run close to the peak of a processor, while a pass over a Gram
# matrix waits for memory. So Gram matrices must save this factor of multiply-adds.
_WORTHWHILE = 4
# One product with copies of what the positions see is faster than torch's convolutions
# where channels are few, and a sample's copies fit into a cache.
_FEW_CHANNELS = 64
_FEW_ENTRIES = 2**18
# Copies of more samples at a time than fit into these numbers leave the cache.
_COPIES = 2**19
# Numbers of a large image.
_LARGE = 2**16


def convolution_weight(
    x: Tensor,
    gradient: Tensor,
    *,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Compute squared norms for the weight of a convolution of any dimension.

    With k an offset in the kernel and p a position in the output, the gradient is
    ``W_k = sum_p g_p x_{p+k}^T``. Its norm comes from the W_k, which torch computes,
    as a convolution or as one product; or from Gram matrices over positions: ``|W|^2 =
    sum_{p,q} (g_p . g_q) sum_k (x_{p+k} . x_{q+k})``. These are small where an image
    has few positions and many channels, as in the last layers of a network.

    The input x is (n_samples, n_in, *spatial), the gradient (n_samples, n_out,
    *positions); for a transposed convolution they are exchanged. The settings are those
    of `torch.nn.Conv2d`, one entry per spatial axis. Padding is what lies before the
    first entry, and whatever lies beyond either end counts as 0.
    """
    x, gradient = at_least_float32(x), at_least_float32(gradient)
    sizes = x.shape[2:], gradient.shape[2:]
    along = zip(kernel_size, stride, padding, dilation, *sizes, strict=True)
    axes = [_Axis(*numbers) for numbers in along]
    if math.prod(stride) == 1 and gradient.shape[1] < x.shape[1]:
        # Copies of the smaller one cost less, and Gram matrices do not care.
        x, gradient, axes = gradient, x, [axis.reversed() for axis in axes]
    n_samples, n_in, n_out = len(x), x.shape[1] // groups, gradient.shape[1] // groups
    seen = n_in * math.prod(kernel_size) * math.prod(gradient.shape[2:])
    pointwise = math.prod(kernel_size) == 1
    # Torch has fast kernels for single channels.
    few = n_in * n_out > 1 and n_in <= _FEW_CHANNELS and seen <= _FEW_ENTRIES
    few = few and x.device.type == "cpu"
    if not (pointwise or few or _has_cheap_grams(axes, n_in, n_out)):
        return _norms_by_weights(x, gradient, axes, groups)
    # A group is a convolution by itself, so it counts as a sample until the end.
    x = x.reshape(n_samples * groups, n_in, *x.shape[2:])
    gradient = gradient.reshape(n_samples * groups, n_out, *gradient.shape[2:])
    if pointwise:
        image = _image(_padded(x, axes), [0] * len(axes), axes)
        norms = outer_norms(image.flatten(2), gradient.flatten(2))
    elif few:
        norms = in_chunks(
            lambda x, g: outer_norms(_copies(x, axes), g.flatten(2)),
            *(x, gradient, seen, _COPIES),
        )
    else:
        by_grams = partial(norms_by_grams, gram_of=partial(_window_gram, axes=axes))
        norms = in_chunks(by_grams, x, gradient, _image_size(axes) ** 2)
    return norms if groups == 1 else norms.view(n_samples, groups).sum(dim=1)


class _Axis(NamedTuple):
    """A convolution along one axis.

    Its position p sees the entries s p + k d - a of x, with stride s, dilation d and
    padding a. Write k d - a as s o + f with 0 <= f < s. All k of one phase f see the
    same image, every s-th entry of x from f on, shifted by o.
    """

    kernel_size: int
    stride: int
    padding: int
    dilation: int
    length: int
    n_positions: int

    def reversed(self) -> "_Axis":
        """Return the axis with x and the gradient in each other's place, for stride 1.

        The weight's gradient is the same, with its entries in reversed order.
        """
        padding = (self.kernel_size - 1) * self.dilation - self.padding
        return self._replace(
            padding=padding, length=self.n_positions, n_positions=self.length
        )

    def shift(self, k: int) -> tuple[int, int]:
        """Return o and f of an entry of the kernel."""
        return divmod(k * self.dilation - self.padding, self.stride)

    @property
    def needed(self) -> int:
        """The length of the padded x that the positions see."""
        reach = (self.kernel_size - 1) * self.dilation
        return (self.n_positions - 1) * self.stride + reach + 1

    @property
    def fits(self) -> bool:
        """Whether padding both ends of x alike gives these positions."""
        spare = self.length + 2 * self.padding - self.needed
        return self.padding >= 0 and 0 <= spare < self.stride


def _padded(x: Tensor, axes: Sequence[_Axis]) -> Tensor:
    """Bring x to the entries that the positions see, with zeros beyond its ends."""
    # F.pad counts from the last axis, and cuts where a number is negative.
    pads = [(a.padding, a.needed - a.length - a.padding) for a in reversed(axes)]
    return F.pad(x, list(chain(*pads))) if any(map(any, pads)) else x


def _phases(axes: Sequence[_Axis]) -> dict[tuple[int, ...], list[tuple[int, ...]]]:
    """Return the shifts o of all entries of the kernel, by their phase f."""
    phases: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for entry in product(*(range(axis.kernel_size) for axis in axes)):
        shifts, phase = zip(*map(_Axis.shift, axes, entry), strict=True)
        phases.setdefault(phase, []).append(shifts)
    return phases


def _image_size(axes: Sequence[_Axis]) -> int:
    """Return the number of entries of the largest image of a phase."""
    return math.prod(-(-axis.length // axis.stride) for axis in axes)


def _has_cheap_grams(axes: Sequence[_Axis], n_in: int, n_out: int) -> bool:
    """Return True if Gram matrices take far fewer multiply-adds than weights."""
    image, positions = _image_size(axes), math.prod(axis.n_positions for axis in axes)
    n_offsets = math.prod(axis.kernel_size for axis in axes)
    # Each offset in the kernel adds a window of the Gram matrix of x.
    grams = len(_phases(axes)) * image**2 * n_in + positions**2 * (n_out + n_offsets)
    weights = n_offsets * positions * n_in * n_out
    return _WORTHWHILE * grams < weights and image**2 <= CHUNK


def _image(x: Tensor, phase: Sequence[int], axes: Sequence[_Axis]) -> Tensor:
    """Return what the entries of the kernel of one phase see of x."""
    steps = [slice(f, None, axis.stride) for f, axis in zip(phase, axes, strict=True)]
    return x[(slice(None), slice(None), *steps)]


def _window_gram(x: Tensor, axes: Sequence[_Axis]) -> Tensor:
    """Return the products (m, n_positions, n_positions) of what positions see."""
    positions = [axis.n_positions for axis in axes]
    windows = x.new_zeros(len(x), *positions, *positions)
    for phase, shifts in _phases(axes).items():
        image = _image(x, phase, axes)
        sizes = image.shape[2:]
        gram = position_gram(image.flatten(2)).view(len(x), *sizes, *sizes)
        # Zeros around the Gram matrix cost less than zeros around the image.
        first, last = ([f(o) for o in zip(*shifts, strict=True)] for f in (min, max))
        ends = zip(first, last, positions, sizes, strict=True)
        pads = [(-start, stop + n - size) for start, stop, n, size in ends]
        gram = F.pad(gram, list(chain(*reversed(2 * pads))))
        for shift in shifts:
            seen = [
                slice(o - start, o - start + n)
                for o, start, n in zip(shift, first, positions, strict=True)
            ]
            windows += gram[(slice(None), *seen, *seen)]
    n_positions = math.prod(positions)
    return windows.view(len(x), n_positions, n_positions)


def _copies(x: Tensor, axes: Sequence[_Axis]) -> Tensor:
    """Return copies (n_samples, n_seen, n_positions) of what the positions see of x."""
    windows = _padded(x, axes)
    for number, axis in enumerate(axes):
        reach = (axis.kernel_size - 1) * axis.dilation
        windows = windows.unfold(2 + number, reach + 1, axis.stride)
        windows = windows[..., :: axis.dilation]
    # The entries of the kernel come last; a product needs the positions there.
    first = 2 + len(axes)
    order = [0, 1, *range(first, windows.ndim), *range(2, first)]
    return windows.permute(order).flatten(first).flatten(1, first - 1)


def _norms_by_weights(
    x: Tensor, gradient: Tensor, axes: Sequence[_Axis], groups: int
) -> Tensor:
    """Compute the weight gradients of a few samples at a time, and their norms."""
    kernel_size, stride, padding, dilation = list(zip(*axes, strict=True))[:4]
    n_in, n_out = x.shape[1] // groups, gradient.shape[1] // groups
    on_cpu, depthwise = x.device.type == "cpu", n_in == n_out == 1
    quick = depthwise and on_cpu and _has_kernel(x, kernel_size, dilation)
    convolved = depthwise and not quick
    if convolved or not all(axis.fits for axis in axes):
        x, padding = _padded(x, axes), (0,) * len(axes)

    def norms(x: Tensor, gradient: Tensor) -> Tensor:
        # The samples are groups of one convolution, whose groups torch does at once.
        n, n_groups = len(x), len(x) * groups
        if convolved:
            # The weight's gradient is also x convolved with the gradient, where stride
            # and dilation change places. Torch has fast kernels for single channels.
            image = x.reshape(1, -1, *x.shape[2:])
            kernel = gradient.reshape(-1, 1, *gradient.shape[2:])
            convolve = _CONVOLUTIONS[len(axes)]
            weights = convolve(image, kernel, None, dilation, 0, stride, n_groups)
            return squares(weights.reshape(n, -1))
        if n > 1:  # one sample keeps its order in memory
            x = x.reshape(1, -1, *x.shape[2:])
            gradient = gradient.reshape(1, -1, *gradient.shape[2:])
        shape = (n_groups * n_out, n_in, *kernel_size)
        weights = _WEIGHT_GRADIENTS[len(axes)](
            *(x, shape, gradient, stride, padding, dilation, n_groups)
        )
        return squares(weights.reshape(n, -1))

    if convolved or not on_cpu:
        weight_size = groups * n_out * n_in * math.prod(kernel_size)
        largest = max(weight_size, x[0].numel())
        return in_chunks(norms, x, gradient, largest, _COPIES if on_cpu else None)
    # More samples than cores would only crowd the cache. The quick kernel is one for
    # single samples.
    step = 1 if quick else max(4, torch.get_num_threads())
    pieces = zip(x.split(step), gradient.split(step), strict=True)
    return torch.cat([norms(*piece) for piece in pieces])


def _has_kernel(x: Tensor, kernel_size: Sequence[int], dilation: Sequence[int]) -> bool:
    """Return True if a CPU is quick in the weight gradients of such single channels.

    Of small images the calls for each sample would cost more.
    """
    usual = (*kernel_size, *dilation) == (3, 3, 1, 1)
    return usual and x.dtype == torch.float32 and x[0].numel() > _LARGE


_CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_WEIGHT_GRADIENTS = {1: conv1d_weight, 2: conv2d_weight, 3: conv3d_weight}
