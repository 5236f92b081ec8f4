"""Watch a forward pass for the calls whose parameter gradients have a rule."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

from .._compat import buffers_of, has_gradient_hooks, parameters_of
from .attention import bound_attention, run_attention
from .buffers import tensors_of
from .gradient_rules import (
    BROADCASTS,
    EXPANSIONS,
    RULES,
    Claim,
    Rule,
    broadcast,
    linear,
    linear_block,
)
from .gradient_uses import Use, leaves_in_graph
from .provenance import Provenance
from .recurrence import CELLS, Cell, State, read_call, steps, write_out

# Other types, such as quantised tensors, may compute in ways of their own.
PLAIN = [Tensor, nn.Parameter]


class Watcher:
    """What the taps of a recorder call in a backward pass.

    It holds none of the uses, which would hold the graph that holds the taps: Python
    cannot see, and never frees, a circle that goes through a graph of torch.
    """

    def __init__(self) -> None:
        self.recording = False
        self.on_gradient: Callable[[Use, Tensor], None] | None = None

    def __call__(self, use: Use, gradient: Tensor) -> None:
        """Hand over the gradient at the output of a use."""
        if self.recording:
            use.certain = False
        elif self.on_gradient is not None:
            self.on_gradient(use, gradient)


class Recorder(TorchFunctionMode):
    """Record the calls of ruled functions, and cut their parameters off the graph.

    While it is active, a function with a rule runs on its detached parameters, and its
    output passes through a `Tap`. So does what was made of parameters alone, such as a
    table looked up for all samples or a weight times a scale, where it meets the
    samples. What is left in the graph of the logits are the parameters that are used in
    any other way. With ``create_graph`` the inputs of the calls stay in the graph, so
    that the norms can be differentiated. With ``with_leaves`` the parameters stay in
    the graph too, beyond the nodes ``cuts``, so that autograd gives their gradients.
    Attention is computed between its projections and recurrent layers step by step,
    which rounds differently.

    All taps depend on the leaf ``token``. Differentiating with respect to it runs the
    backward pass down to the first tap and computes nothing else; the ``watcher`` is
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
        self._provenance = Provenance()
        self.cuts: set[Any] = set()
        self.token = torch.zeros((), device=device, requires_grad=True)
        self.uses: list[Use] = []
        self.reorders = False
        self._calls = 0
        self._has_tapped = False
        self.watcher = Watcher()

    def expect(self, module: nn.Module, inputs: Iterable[Any]) -> None:
        """Take the tensors of the batch that the module is about to get."""
        parts = list(module.modules())
        own = chain(map(parameters_of, parts), map(buffers_of, parts))
        self._provenance = Provenance(tensors_of(own), inputs)

    def __enter__(self) -> "Recorder":
        self.watcher.recording = True
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        self.watcher.recording = False
        self._provenance.forget()
        super().__exit__(*exception)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        self._has_tapped = False
        result = self._run(func, args, kwargs)
        # Beyond a tap the samples are in it.
        if not self._has_tapped and self._provenance.follow(func, args, kwargs, result):
            self.reorders = True
        return result

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return func(*args, **kwargs)
        self._calls += 1
        if func in RULES:
            return self._call(func, RULES[func], *args, **kwargs)
        if func in BROADCASTS:
            return self._broadcast(func, BROADCASTS[func], *args, **kwargs)
        if func in (torch.addmm, Tensor.addmm) and len(args) == 3 and not kwargs:
            return self._added_product(func, *args)
        if func in EXPANSIONS and self._is_own(args[0]):
            return self._expand(func, *args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._attention(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._dot_product(*args, **kwargs)
        if func in CELLS:
            return self._recurrence(func, *args, **kwargs)
        return func(*args, **kwargs)

    def _is_own(self, tensor: Any) -> bool:
        """Return True for a parameter, and for what was made of parameters alone."""
        return id(tensor) in self._known or self._is_made(tensor)

    def _is_made(self, tensor: Any) -> bool:
        fixed = isinstance(tensor, Tensor) and self._provenance.is_fixed(tensor)
        return fixed and tensor.grad_fn is not None

    def _made_of(self, tensor: Tensor) -> dict[int, Tensor] | None:
        """Return the parameters that a tensor was made of; None if others are in it."""
        if not self._is_made(tensor):
            return {}
        leaves = leaves_in_graph(tensor)
        whole = leaves.keys() <= self._known and not has_gradient_hooks(tensor)
        return leaves if whole else None

    def _call(self, func: Callable, rule: Rule, *args: Any, **kwargs: Any) -> Any:
        # All functions with a rule take their input first, under this name.
        x = args[0] if args else kwargs["input"]
        claim = rule(*args, **kwargs)

        # Without the input, whose memory a use must let go of.
        rest = args[1:]
        options = {name: one for name, one in kwargs.items() if name != "input"}

        def replay(part: Tensor) -> Tensor:
            return func(part, *rest, **options)

        if claim is not None and self._is_for_all(x, claim):
            return func(*args, **kwargs)
        return self._tapped(func, claim, x, args, kwargs, replay)

    def _added_product(
        self, func: Callable, bias: Tensor, x: Tensor, weight: Tensor
    ) -> Tensor:
        """Run a linear layer that is written as bias + x @ weight."""
        if bias.ndim != 1 or self._provenance.is_fixed(x):
            return func(bias, x, weight)
        claim = linear_block(weight, bias, x, weight, bias)
        return self._tapped(
            func, claim, x, (bias, x, weight), {}, lambda part: func(bias, part, weight)
        )

    def _is_for_all(self, x: Tensor, claim: Claim) -> bool:
        """Return True if a call is made once for all samples, as for their positions.

        Its input is fixed then. If it has the length of the batch it may have been
        repeated for each sample, and is taken for that.
        """
        if self._is_own(x):
            return True
        n_axes = x.ndim - claim.trailing if claim.trailing else 1
        sizes = x.shape[:n_axes] if x.ndim > 1 else ()
        return self._provenance.is_fixed(x) and self._provenance.n_samples not in sizes

    def _broadcast(self, func: Callable, rule: str, *args: Any, **kwargs: Any) -> Any:
        own = [i for i, argument in enumerate(args) if self._is_own(argument)]
        tensors = [one for one in args if isinstance(one, Tensor)]
        if not own or all(map(self._provenance.is_fixed, tensors)):
            return func(*args, **kwargs)
        parameter, other = args[own[0]], args[own[0] - 1]
        if rule and not kwargs and len(args) == 2 and id(parameter) in self._known:
            claim = broadcast(parameter, other, rule)
            return self._tapped(func, claim, other, args, {}, _not_made)
        if own[0] == 0 and func.__name__.endswith("_"):  # the call writes into it
            return func(*args, **kwargs)
        shape = torch.broadcast_shapes(*(one.shape for one in tensors))
        spread = [self._spread(a, shape) if i in own else a for i, a in enumerate(args)]
        return func(*spread, **kwargs)

    def _spread(self, tensor: Tensor, shape: Sequence[int]) -> Tensor:
        """Expand a tensor of parameters to the shape of what it meets, with a tap."""
        spread = tensor.detach().expand(shape)
        claim = broadcast(tensor, spread, "expand")
        return self._tapped(
            Tensor.expand, claim, spread, (tensor, shape), {}, tensor.expand_as
        )

    def _expand(self, func: Callable, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        def expanded(tensor: Tensor) -> Tensor:
            # A copy, as the model may write into the result.
            return func(tensor, *args, **kwargs).clone()

        result = func(tensor.detach(), *args, **kwargs)
        n, before = self._provenance.n_samples, [1] * result.ndim
        before[result.ndim - tensor.ndim :] = tensor.shape
        sizes = list(zip(result.shape, before, strict=True))
        repeats = all(new == old or old == 1 for new, old in sizes)
        # Where no axis can be that of the samples, it is for all of them.
        if not repeats or all(new == old or new % n for new, old in sizes):
            return func(tensor, *args, **kwargs)
        claim = broadcast(tensor, result, "expand")
        return self._tapped(expanded, claim, result, (tensor,), {}, tensor.expand_as)

    def _tapped(
        self,
        func: Callable,
        claim: Claim | None,
        x: Tensor,
        args: Any,
        kwargs: Any,
        replay: Callable[[Tensor], Tensor],
    ) -> Any:
        """Run a call on detached parameters, with a tap behind it."""
        plain = type(x) in PLAIN and x.layout == torch.strided
        if claim is None or not plain or x.is_nested:
            return func(*args, **kwargs)
        kept = x if self._create_graph else x.detach()
        tensors = [tensor for tensor, _ in claim.parts if tensor is not None]
        leaves = [self._made_of(tensor) for tensor in tensors]
        made = {key: leaf for one in leaves for key, leaf in (one or {}).items()}
        use = Use(kept, claim, self._calls, self._known, made, replay)
        empty = any(not tensor.numel() for tensor in tensors)
        if empty or None in leaves or not use.keys:
            return func(*args, **kwargs)
        cut = set(map(id, tensors))

        def given(argument: Any) -> Any:
            # Where axes of the input are exchanged, torch copies a weight that needs no
            # gradient for each of its rows, and multiplies few samples at a time.
            if argument is x and claim.rule == "linear":
                return x.contiguous()
            return self._detached(argument) if id(argument) in cut else argument

        # A parameter that is cut off here has no other use in the graph of the logits,
        # unless the model also uses it where no rule applies.
        options = {name: given(value) for name, value in kwargs.items()}
        output = func(*map(given, args), **options)
        # The norms of complex gradients have other formulas.
        if output.is_complex():
            return func(*args, **kwargs)
        self.uses.append(use)
        self._has_tapped = True
        return Tap.apply(output, self.token, self.watcher, use)

    def _dot_product(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Run torch's dot products with a tap at a mask that is made of parameters."""
        sampled = not self._provenance.is_fixed(query)
        if sampled and attn_mask is not None and self._is_own(attn_mask):
            attn_mask = self._spread(attn_mask, (*query.shape[:-1], key.shape[-2]))
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, *args, **kwargs
        )

    def _attention(self, *args: Any, **kwargs: Any) -> Any:
        """Run torch's attention between projections that are separate calls."""
        given = bound_attention(*args, **kwargs)
        # What is made of parameters would lose them here.
        if any(map(self._is_made, given.arguments.values())):
            return F.multi_head_attention_forward(*args, **kwargs)
        return run_attention(given, partial(self._call, F.linear), self._detached)

    def _recurrence(self, func: Callable, *args: Any, **kwargs: Any) -> Any:
        """Run recurrent layers step by step, where the rule of linear layers holds.

        Not for norms that are differentiated: the states lie beyond the taps, which
        would hold the graph that holds them. Nor in half precision, in which the steps
        would round differently than torch's own functions.
        """
        call = None if self._create_graph else read_call(*args, **kwargs)
        if call is None or type(call.x) not in PLAIN or call.x.dtype.itemsize < 4:
            return func(*args, **kwargs)
        keys = list(map(id, chain(*call.weights)))
        # A weight with two parts in the call would have a sum of gradients.
        if len({*keys}) < len(keys) or not self._known.issuperset(keys):
            return func(*args, **kwargs)
        return write_out(call, partial(self._recurrent_layer, CELLS[func]))

    def _recurrent_layer(
        self,
        cell: Cell,
        x: Tensor,
        state: State,
        weights: Sequence[Tensor],
        backwards: bool,
    ) -> tuple[Tensor, State]:
        """Return the outputs of a layer and its last state."""
        of_input, of_state, *biases = weights
        bias_in, bias = biases or (None, None)
        gates = self._call(F.linear, linear, x, of_input, bias_in)
        # There is one, as the weight is a matrix.
        claim = cast(Claim, linear_block(of_state, bias, gates, of_state, bias))
        use = Use(gates.detach(), claim, self._calls, self._known, {}, _not_made)
        self.uses.append(use)
        # What the state adds to the gates passes through one tap for all steps.
        start = gates.new_zeros(()) if bias is None else self._detached(bias)
        added = Tap.apply(start.expand_as(gates), self.token, self.watcher, use)
        states = [state]
        weight = self._detached(of_state)
        states += steps(cell, gates, added, weight, state, backwards)
        before = torch.stack([h.detach() for h, *_ in states[:-1]])
        outputs = torch.stack([h for h, *_ in states[1:]])
        if backwards:
            before, outputs = before.flip(0), outputs.flip(0)
        use.take(before)
        self._has_tapped = True
        return outputs, states[-1]

    def _detached(self, tensor: Tensor) -> Tensor:
        """Cut a tensor of parameters off the graph."""
        if not self._is_own(tensor):
            return tensor
        if not self._with_leaves:
            return tensor.detach()
        cut = tensor.view_as(tensor)
        self.cuts.add(cut.grad_fn)
        return cut


def _not_made(part: Tensor) -> Tensor:
    raise AssertionError("A parameter itself has a rule.")  # pragma: no cover


class Tap(torch.autograd.Function):
    """Identity that hands over the gradient that passes through it."""

    @staticmethod
    def forward(
        ctx: Any, output: Tensor, token: Tensor, watcher: Watcher, use: Use
    ) -> Tensor:
        """Return the output as another tensor on the same memory."""
        ctx.watcher, ctx.use = watcher, use
        # Neither a copy nor a view for autograd, so that an activation may work in
        # place. Only the caller of a ruled function needs its output.
        return output.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """Hand over the gradient and pass it on."""
        ctx.watcher(ctx.use, gradient)
        return gradient, None, None, None
