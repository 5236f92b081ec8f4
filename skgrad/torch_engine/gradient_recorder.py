"""Watch a forward pass for the calls whose parameter gradients have a rule."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from .._compat import has_gradient_hooks, write_count
from .gradient_rules import (
    BROADCASTS,
    RULES,
    Claim,
    Norms,
    Rule,
    broadcast,
    linear,
    linear_block,
)


class Use:
    """One recorded call: its input ``x`` (None once it is no longer wanted) and claim.

    ``call`` is its number, which the uses of one attention share; ``norms`` holds those
    of its parameters that have a rule, by identity; ``axis`` is that of x along which
    the samples lie, set when it is known. It is not ``certain`` if a gradient passed
    through while it was being recorded: the model differentiates itself, and the logits
    depend on the call in a second way.
    """

    def __init__(self, x: Tensor, claim: Claim, call: int, known: set[int]) -> None:
        self.x: Tensor | None = x
        self.claim = claim
        self.call = call
        self.norms: dict[int, Norms] = {
            id(tensor): norms for tensor, norms in claim.parts if id(tensor) in known
        }
        self.axis = 0
        self.certain = True
        self._writes = write_count(x)

    def overwritten(self) -> bool:
        """Return True if something wrote into the input after the call."""
        return self.x is not None and write_count(self.x) != self._writes


class Recorder(TorchFunctionMode):
    """Record the calls of ruled functions, and cut their parameters off the graph.

    While it is active, a function with a rule runs on its detached parameters, and its
    output passes through a `Tap`. What is left in the graph of the logits are the
    parameters that are used in any other way. With ``create_graph`` the inputs of the
    calls stay in the graph, so that the norms can be differentiated. With
    ``with_leaves`` each detached parameter is a leaf of the graph, in ``leaves`` under
    the identity of the parameter, so that autograd gives its gradient too.

    All taps depend on the leaf ``token``. Differentiating with respect to it runs the
    backward pass down to the first tap and computes nothing else; ``on_gradient`` is
    called in it with each use and the gradient at its output. ``uses`` holds the calls
    in order; ``reorders`` is True if the order of the samples may depend on their
    values, as in a model that sorts them.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        device: torch.device,
        *,
        create_graph: bool = False,
        with_leaves: bool = False,
    ) -> None:
        super().__init__()
        # A user's hook on a parameter may change its gradient, which no rule sees.
        self._known = {id(p) for p in parameters if not has_gradient_hooks(p)}
        self._create_graph = create_graph
        self._with_leaves = with_leaves
        self.leaves: dict[int, list[Tensor]] = {}
        self.token = torch.zeros((), device=device, requires_grad=True)
        self.uses: list[Use] = []
        self.reorders = False
        self._calls = 0
        self._recording = False
        self.on_gradient: Callable[[Use, Tensor], None] | None = None

    def __enter__(self) -> "Recorder":
        self._recording = True
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        self._recording = False
        super().__exit__(*exception)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = self._run(func, args, kwargs or {})
        # Looking up in a parameter, as in a table, moves no sample.
        if not self.reorders and not (args and id(args[0]) in self._known):
            self.reorders = _may_reorder(func, args, result)
        return result

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return func(*args, **kwargs)
        self._calls += 1
        if func in RULES:
            return self._call(func, RULES[func], *args, **kwargs)
        if func in BROADCASTS:
            return self._broadcast(func, BROADCASTS[func], *args, **kwargs)
        if func is Tensor.expand:
            return self._expand(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _call(self, func: Callable, rule: Rule, *args: Any, **kwargs: Any) -> Any:
        # All functions with a rule take their input first, under this name.
        x = args[0] if args else kwargs["input"]
        return self._tapped(func, rule(*args, **kwargs), x, args, kwargs)

    def _broadcast(self, func: Callable, rule: str, *args: Any, **kwargs: Any) -> Any:
        own = [i for i, argument in enumerate(args) if id(argument) in self._known]
        if len(args) != 2 or kwargs or len(own) != 1:
            return func(*args, **kwargs)
        parameter, other = args[own[0]], args[1 - own[0]]
        return self._tapped(func, broadcast(parameter, other, rule), other, args, {})

    def _expand(self, parameter: Tensor, *args: Any, **kwargs: Any) -> Any:
        if id(parameter) not in self._known:
            return parameter.expand(*args, **kwargs)

        def expanded(parameter: Tensor) -> Tensor:
            # A copy, as the model may write into the result.
            return parameter.expand(*args, **kwargs).clone()

        shape_only = parameter.detach().expand(*args, **kwargs)
        claim = broadcast(parameter, shape_only, "expand")
        return self._tapped(expanded, claim, shape_only, (parameter,), {})

    def _tapped(
        self, func: Callable, claim: Claim | None, x: Tensor, args: Any, kwargs: Any
    ) -> Any:
        """Run a call on detached parameters, with a tap behind it."""
        plain = type(x) in (Tensor, nn.Parameter) and x.layout == torch.strided
        if claim is None or not plain or x.is_nested:
            return func(*args, **kwargs)
        kept = x if self._create_graph else x.detach()
        use = Use(kept, claim, self._calls, self._known)
        empty = any(not t.numel() for t, _ in claim.parts if t is not None)
        if empty or not use.norms:
            return func(*args, **kwargs)

        def detached(argument: Any) -> Any:
            return self._detached(argument) if id(argument) in use.norms else argument

        # A parameter that is cut off here has no other use in the graph of the logits,
        # unless the model also uses it where no rule applies.
        options = {name: detached(value) for name, value in kwargs.items()}
        output = func(*map(detached, args), **options)
        # The norms of complex gradients have other formulas.
        if output.is_complex():
            return func(*args, **kwargs)
        self.uses.append(use)
        return Tap.apply(output, self.token, partial(self._on_backward, use))

    def _on_backward(self, use: Use, gradient: Tensor) -> None:
        if self._recording:
            use.certain = False
        elif self.on_gradient is not None:
            self.on_gradient(use, gradient)

    def _attention(self, *args: Any, **kwargs: Any) -> Any:
        """Run torch's attention between projections that are separate calls.

        Its linear layers are functions inside, where no tap can be put. So they are
        computed here, and torch's function gets identities in their place.
        """
        function = F.multi_head_attention_forward
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        out_weight, out_bias = given["out_proj_weight"], given["out_proj_bias"]
        query, key, value = self._projected(given)
        identity = torch.eye(query.shape[-1], dtype=query.dtype, device=query.device)
        given.update(query=query, key=key, value=value, use_separate_proj_weight=False)
        given.update(in_proj_weight=identity.repeat(3, 1), in_proj_bias=None)
        given.update(out_proj_weight=identity, out_proj_bias=None)
        attended, weights = function(*bound.args, **bound.kwargs)
        return self._call(F.linear, linear, attended, out_weight, out_bias), weights

    def _projected(self, given: dict[str, Any]) -> Sequence[Tensor]:
        """Project query, key and value of an attention."""
        inputs = [given[name] for name in ("query", "key", "value")]
        bias = given["in_proj_bias"]
        if given["use_separate_proj_weight"]:
            weights = [given[f"{letter}_proj_weight"] for letter in "qkv"]
            blocks = [self._detached(weight) for weight in weights]
        else:
            weight = given["in_proj_weight"]
            if inputs[0] is inputs[1] is inputs[2]:
                together = self._call(F.linear, linear, inputs[0], weight, bias)
                return together.chunk(3, dim=-1)
            weights, blocks = [weight] * 3, list(self._detached(weight).chunk(3))
        biases = [None] * 3 if bias is None else list(self._detached(bias).chunk(3))
        # The norms of the blocks of a parameter add up to its whole norm.
        projections = zip(inputs, weights, blocks, biases, strict=True)
        return [
            self._call(F.linear, partial(linear_block, weight, bias), x, block, piece)
            for x, weight, block, piece in projections
        ]

    def _detached(self, tensor: Tensor) -> Tensor:
        """Cut a parameter of the model off the graph."""
        if id(tensor) not in self._known:
            return tensor
        cut = tensor.detach()
        if self._with_leaves:
            self.leaves.setdefault(id(tensor), []).append(cut.requires_grad_())
        return cut


class Tap(torch.autograd.Function):
    """Identity that hands over the gradient that passes through it."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, token: Tensor, show: Callable) -> Tensor:
        """Return the output as another tensor on the same memory."""
        ctx.show = show
        # Neither a copy nor a view for autograd, so that an activation may work in
        # place. Only the caller of a ruled function needs its output.
        return output.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Hand over the gradient and pass it on."""
        ctx.show(gradient)
        return gradient, None, None


def leaves_in_graph(logits: Tensor) -> set[int]:
    """Return the identities of all leaf tensors on which the logits depend."""
    found, seen, waiting = set(), set(), [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        # torch's stand-in for an operator without derivative, as of quantised layers.
        if node.name() == "torch::autograd::WarnNotImplemented":
            continue
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting += [parent for parent, _ in node.next_functions]
    return found


# Values that leave torch this way may decide on an order outside of it.
_READ = frozenset(
    {
        *(Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__array__),
        *(Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__),
    }
)


def _may_reorder(func: Any, args: Any, result: Any) -> bool:
    """Return True if the order of samples may depend on values from here on.

    For that a value must become a whole number, a truth or an index first, or the input
    must hold some that are used to look up others.
    """
    if func in _READ:
        return True
    if func in (Tensor.__getitem__, Tensor.__setitem__):
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(isinstance(part, (Tensor, list, np.ndarray)) for part in index)
    # A result that was made of no tensor depends on no value.
    if not any(isinstance(argument, Tensor) for argument in args):
        return False
    results = result if isinstance(result, (tuple, list)) else (result,)
    return any(
        isinstance(r, Tensor) and not (r.is_floating_point() or r.is_complex())
        for r in results
    )
