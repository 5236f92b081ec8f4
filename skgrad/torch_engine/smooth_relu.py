"""ReLU with a second derivative, to differentiate gradients."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

_OUT_OF_PLACE = frozenset({F.relu, torch.relu, Tensor.relu})
_IN_PLACE = frozenset({torch.relu_, Tensor.relu_})


class SmoothReLU(TorchFunctionMode):
    r"""Replace ReLU by a curved one, in whatever way a model calls it.

    The second derivative of ReLU is 0, so gradients of gradients do not show where
    units switch on and off. While this mode is active, `torch.nn.ReLU`, `F.relu`,
    `torch.relu`, ``Tensor.relu`` and their in-place forms have the second derivative of
    the Softplus log(1 + exp(beta x)) / beta, which is
    :math:`\beta \sigma(\beta x) \sigma(-\beta x)`. With ``exact`` they keep ReLU's
    values and first derivative, so logits and gradients are those of the model;
    without, they compute Softplus. The model is not changed. The ReLU of compiled and
    scripted models is not replaced.
    """

    def __init__(self, beta: float, *, exact: bool = True) -> None:
        super().__init__()
        self._relu: Callable[[Tensor], Tensor]
        if exact:
            self._relu = lambda x: _CurvedReLU.apply(x, beta)
        else:
            self._relu = lambda x: F.softplus(x, beta)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _OUT_OF_PLACE and func not in _IN_PLACE:
            return func(*args, **kwargs)
        return self._replace(func in _IN_PLACE, *args, **kwargs)

    def _replace(self, in_place: bool, input: Tensor, inplace: bool = False) -> Tensor:
        if not (in_place or inplace):
            return self._relu(input)
        # A clone, because autograd needs the values that are overwritten.
        return input.copy_(self._relu(input.clone()))


class _CurvedReLU(torch.autograd.Function):
    """ReLU whose gradient is a `_Gate`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, beta: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.beta = beta
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return _Gate.apply(x, gradient, ctx.beta), None


class _Gate(torch.autograd.Function):
    """The gradient where x > 0, with the derivative in x of Softplus's gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Tensor, beta: float) -> Tensor:
        ctx.save_for_backward(x, gradient)
        ctx.beta = beta
        return gradient * (x > 0)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, None]:
        x, gradient = ctx.saved_tensors
        # sigma(z) (1 - sigma(z)) without the difference, which is 0 for large z.
        open_, shut = torch.sigmoid(ctx.beta * x), torch.sigmoid(-ctx.beta * x)
        return outer * gradient * (ctx.beta * open_ * shut), outer * (x > 0), None
