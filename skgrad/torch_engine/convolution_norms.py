"""Squared norms of the weight gradients of convolutions, sample by sample."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .cotangents import wide
from .gradient_norms import (
    CHUNK,
    in_chunks,
    matrix_products,
    norms_by_grams,
    outer_norms,
    position_gram,
    squares,
    unsafe,
)
from .model_state import at_least_float32

# What a pass over a Gram matrix costs per entry, in multiply-adds of a matrix product:
# it is bound by memory.
_PASS = 16
# How many multiply-adds torch's convolution kernels do on a CPU in the time of one in
# a matrix product, and what calling them costs per sample (both measured on 2 cores).
_LIBRARY_SPEED = 2.5
_LIBRARY_CALL = 1_500_000


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
    """Squared norms for the weight of a convolution of any dimension.

    With k an offset in the kernel and p a position in the output, the gradient is
    ``W_k = sum_p g_p x_{p+k}^T``. Its norm comes from these products, or without them
    from Gram matrices over positions: ``|W|^2 = sum_{p,q} (g_p . g_q) sum_k (x_{p+k} .
    x_{q+k})``. The inner sum over k adds up shifted windows of one Gram matrix of x,
    so that the kernel's size hardly counts. The cheaper way is taken.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_in, *spatial)
        The layer's input.
    gradient : Tensor of shape (n_samples, n_out, *positions)
        The gradient at its output.
    kernel_size, stride, padding, dilation : sequence of int
        As in `torch.nn.Conv2d`, one entry per spatial axis; padding is that before
        the first entry, whatever lies beyond either end counts as 0.
    groups : int
        As in `torch.nn.Conv2d`.

    Returns
    -------
    Tensor of shape (n_samples,)
        Squared Frobenius norms. For a transposed convolution exchange x and gradient.
    """
    x, gradient = at_least_float32(x), at_least_float32(gradient)
    form = _Form(
        [
            _Axis(*numbers)
            for numbers in zip(
                kernel_size, stride, padding, dilation, gradient.shape[2:], strict=True
            )
        ]
    )
    n_samples, n_in, n_out = len(x), x.shape[1] // groups, gradient.shape[1] // groups
    if form.pointwise:
        x, gradient = (
            t.reshape(n_samples * groups, -1, form.n_positions) for t in (x, gradient)
        )
        return outer_norms(x, gradient).view(n_samples, groups).sum(dim=1)
    way = form.cheapest_way(x, gradient, groups)
    if way == "library":
        return _by_library(x, gradient, groups, form)
    # A group is a convolution of its own: it counts as a sample till the end.
    x, gradient = (
        t.reshape(n_samples * groups, -1, *t.shape[2:]) for t in (x, gradient)
    )
    norms_of: Callable[[Tensor, Tensor], Tensor]
    if way == "grams":
        norms_of = partial(norms_by_grams, gram_of=form.window_gram)
        largest = math.prod(x.shape[2:]) ** 2
    else:
        norms_of, largest = partial(_by_products, form=form), n_in * n_out
    norms = in_chunks(norms_of, x, gradient, largest)
    return norms.view(n_samples, groups).sum(dim=1)


class _Axis(NamedTuple):
    """A convolution along one axis.

    Its position p sees the entries s p + k d - a of x, with stride s, dilation d and
    padding a. Write k d - a as s o + f with 0 <= f < s. Then all k of one phase f see
    the same image, every s-th entry of x from f on, shifted by o.
    """

    kernel_size: int
    stride: int
    padding: int
    dilation: int
    n_positions: int

    def shift(self, k: int) -> tuple[int, int]:
        """Return o and f of an entry of the kernel."""
        return divmod(k * self.dilation - self.padding, self.stride)

    @property
    def needed(self) -> int:
        """Length of the padded x that the positions see."""
        reach = (self.kernel_size - 1) * self.dilation
        return (self.n_positions - 1) * self.stride + reach + 1

    def covers(self, length: int) -> bool:
        """Tell whether padding both ends of x alike gives these positions."""
        rest = length + 2 * self.padding - self.needed
        return 0 <= rest < self.stride


class _Form:
    """The arithmetic of a convolution.

    Attributes
    ----------
    axes : list of _Axis
        One per spatial axis.
    phases : dict of tuple to list of tuple
        The shifts o of all entries of the kernel, by their phase f.
    """

    def __init__(self, axes: list[_Axis]) -> None:
        self.axes = axes
        self.phases: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for index in product(*(range(axis.kernel_size) for axis in axes)):
            pairs = [axis.shift(k) for k, axis in zip(index, axes, strict=True)]
            phase = tuple(f for _, f in pairs)
            self.phases.setdefault(phase, []).append(tuple(o for o, _ in pairs))
        self.stride = [axis.stride for axis in axes]
        self.positions = [axis.n_positions for axis in axes]
        self.n_positions = math.prod(self.positions)
        self.n_offsets = math.prod(axis.kernel_size for axis in axes)

    @property
    def pointwise(self) -> bool:
        """Whether each position sees one entry of x, and the next the next."""
        padding = [axis.padding for axis in self.axes]
        return self.n_offsets == math.prod(self.stride) == 1 and not any(padding)

    def cheapest_way(self, x: Tensor, gradient: Tensor, groups: int) -> str:
        """Return "grams", "products" or "library", by estimated multiply-adds.

        The estimates are for one sample and one group.
        """
        n_in, n_out = x.shape[1] // groups, gradient.shape[1] // groups
        positions, offsets = self.n_positions, self.n_offsets
        image = math.prod(x.shape[2:]) / math.prod(self.stride)
        directly = offsets * positions * n_in * n_out
        costs = {
            "grams": len(self.phases) * image**2 * (n_in + _PASS)
            + positions**2 * (n_out + _PASS * offsets),
            "products": directly + _PASS // 4 * offsets * positions * (n_in + n_out),
        }
        # The library is erratic where a group has one channel.
        if x.device.type == "cpu" and n_in * n_out > 1:
            # Its groups are computed in the same call.
            costs["library"] = directly / _LIBRARY_SPEED + _LIBRARY_CALL / groups
        if image**2 > CHUNK:
            del costs["grams"]
        return min(costs, key=lambda way: costs[way])

    def images(self, x: Tensor) -> Iterator[tuple[Tensor, list[tuple[int, ...]]]]:
        """Yield each phase's image (n, n_in, *sizes) with its shifts."""
        for phase, shifts in self.phases.items():
            starts = zip(phase, self.stride, strict=True)
            every = [slice(f, None, s) for f, s in starts]
            yield x[(slice(None), slice(None), *every)], shifts

    def window_gram(self, x: Tensor) -> Tensor:
        """Return the products (m, n_positions, n_positions) of what positions see."""
        windows = x.new_zeros(len(x), *self.positions, *self.positions)
        for image, shifts in self.images(x):
            sizes = image.shape[2:]
            gram = position_gram(image.flatten(2)).view(len(x), *sizes, *sizes)
            for shift in shifts:
                here, there = self._overlap(shift, sizes)
                if here:
                    every = slice(None)
                    windows[(every, *here, *here)] += gram[(every, *there, *there)]
        return windows.view(len(x), self.n_positions, self.n_positions)

    def _overlap(
        self, shift: Sequence[int], sizes: Sequence[int]
    ) -> tuple[list[slice], list[slice]]:
        """Return which positions see the image at a shift, and where; or nothing."""
        here, there = [], []
        for o, n, size in zip(shift, self.positions, sizes, strict=True):
            start, stop = max(0, -o), min(n, size - o)
            if stop <= start:
                return [], []
            here.append(slice(start, stop))
            there.append(slice(start + o, stop + o))
        return here, there


def _bring_to(x: Tensor, before: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Pad x with zeros before, and pad or cut it behind, to these spatial sizes."""
    pads: list[int] = []
    for have, left, want in zip(x.shape[2:], before, sizes, strict=True):
        pads = [left, want - have - left, *pads]  # F.pad counts from the last axis
    return F.pad(x, pads) if any(pads) else x


def _by_library(x: Tensor, gradient: Tensor, groups: int, form: _Form) -> Tensor:
    """Let torch compute the weight gradients, of a few samples at a time.

    On a CPU its convolution kernels are faster than its matrix products. Samples go in
    as groups of one grouped convolution, so that each core has one to work on.
    """
    padding = [axis.padding for axis in form.axes]
    if not all(map(_Axis.covers, form.axes, x.shape[2:])):
        x = _bring_to(x, padding, [axis.needed for axis in form.axes])
        padding = [0] * len(padding)
    dilation = [axis.dilation for axis in form.axes]
    kernel = [axis.kernel_size for axis in form.axes]
    settings = (form.stride, padding, dilation, False, [0] * len(padding))

    def lengths(x: Tensor, gradient: Tensor) -> Tensor:
        n, n_out = gradient.shape[:2]
        shape = (n * n_out, x.shape[1] // groups, *kernel)
        (_, weights, _) = torch.ops.aten.convolution_backward.default(
            gradient.reshape(1, -1, *gradient.shape[2:]),
            x.reshape(1, -1, *x.shape[2:]),
            x.new_empty(1).expand(shape),  # only its shape is read
            *(None, *settings, n * groups, [False, True, False]),
        )
        return torch.linalg.vector_norm(weights.view(n, -1), dim=1)

    step = max(4, torch.get_num_threads())
    pieces = zip(x.split(step), gradient.split(step), strict=True)
    found = torch.cat([lengths(*piece) for piece in pieces]).double()
    redo = unsafe(found)
    if x.dtype == torch.float32 and redo.any():
        found[redo] = lengths(x[redo].double(), gradient[redo].double())
    return found.square()


def _by_products(x: Tensor, gradient: Tensor, form: _Form) -> Tensor:
    """Add the squared norms of the weight gradient, one kernel entry at a time.

    Positions are laid out in one row, as wide as the padded image. A shift in space
    is then a shift along that row, and no shifted copy of the image is needed.
    """
    norms = x.new_zeros(len(x), dtype=wide(x.device))
    for image, shifts in form.images(x):
        along_axes = list(zip(*shifts, strict=True))
        first = [min(along) for along in along_axes]
        sizes = [
            p + max(along) - min(along)
            for p, along in zip(form.positions, along_axes, strict=True)
        ]
        row = _bring_to(image, [-o for o in first], sizes).flatten(2)
        steps = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
        last = sum((p - 1) * s for p, s in zip(form.positions, steps, strict=True))
        spread = _bring_to(gradient, [0] * len(sizes), [form.positions[0], *sizes[1:]])
        spread = spread.flatten(2)[:, :, : last + 1]
        for shift in shifts:
            start = sum(
                (o - least) * s for o, least, s in zip(shift, first, steps, strict=True)
            )
            norms += squares(
                matrix_products(spread, row[:, :, start : start + last + 1])
            )
    return norms
