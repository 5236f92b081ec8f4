"""What fit learns about a network, from one recording of three samples."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .._compat import is_quantised, is_quantised_by_batch
from .._messages import listed, warn
from .._several import Batch, Several, entries_of
from .activations import called_again, not_called
from .gradient_pass import recorded_forward
from .gradient_recorder import Recorder
from .gradient_uses import leaves_in_graph
from .hidden_layers import takes_no_hooks
from .input_leaf import InputLeaf, embeddings_of
from .layer_axes import Source, as_source, main_output, sample_axis
from .memory_format import takes_channels_last, with_channels_last
from .model_state import (
    as_logits,
    check_finite_gradients,
    check_recorded,
    differentiating,
    forward,
)
from .parameter_gradients import gradient_parameters
from .pooling import mask_key
from .sigmoid import warn_of_sigmoid

# Enough to see along which axis the samples lie, and that none is in another's place.
N_SAMPLES = 3


class Call(NamedTuple):
    """One call of a layer: its name, its inputs and what it returned.

    ``output`` is a copy of the tensor in that, or of the first of several, ``mask``
    says which of the times of a packed sequence there are, and ``samples`` is the axis
    of the samples, None if there is none. ``source`` is what made the channels: the
    last layer inside or before that says so.
    """

    layer: str
    module: nn.Module
    inputs: Any
    result: Any
    output: Any
    source: Source | None
    mask: Tensor | None = None
    samples: int | None = None


class Probe:
    """One recording of up to three samples, and what it shows about a network.

    ``layers`` are the names of layers whose calls are noted; with ``every`` those of
    all layers with parameters are noted too, with ``embeddings`` those that look whole
    numbers up. With ``norms`` the calls that have rules for gradient norms are
    recorded, with ``inputs`` the gradient can reach the inputs. The model is held by
    ``frozen``, with parameter gradients for the norms. Raises ValueError if the model
    cannot take ``x`` or returns no logits, or if these differ from one pass to the next
    or depend on other samples.

    ``calls`` holds the calls in order. ``samples`` are those given, three different
    ones for the norms; ``x`` and ``logits`` are those of the pass; ``leaf`` is their
    `InputLeaf`. ``first`` are more samples, on the CPU, that show how inputs vary; None
    if they are not wanted. ``recorder`` is None if no norms are wanted, or the model
    cannot be recorded. ``channels_last`` is True if gradients are wanted of images that
    the model takes in this order in memory too, see `takes_channels_last`.

    Cost: a forward pass over three samples, and one over a single sample; of more
    samples in ``x``, one over all of them, and one over the last. With gradients
    also that of `takes_channels_last`.
    """

    def __init__(
        self,
        module: nn.Module,
        x: Batch,
        *,
        layers: Sequence[str] = (),
        every: bool = False,
        norms: bool = False,
        inputs: bool = False,
        embeddings: bool = False,
        first: Batch | None = None,
    ) -> None:
        self.module = module
        self._coarse = bool(_quantised_by_batch(module))
        self.first = first
        self.parameters = gradient_parameters(module) if norms else {}
        self.recorder: Recorder | None = None
        self.calls: list[Call] = []
        # The axis of the samples shows in three that differ, if need be made up.
        # That of layers shows in the shapes for several samples and for one.
        places = [0] * N_SAMPLES if len(x) == 1 else slice(N_SAMPLES)
        self.samples = three_samples(x) if norms else x[places]
        self._layers = [*layers, *(embeddings_of(module) if embeddings else ())]
        self._every = every
        # A model may differentiate itself, so all passes are run alike.
        with torch.set_grad_enabled(norms or inputs):
            self.channels_last = (norms or inputs) and takes_channels_last(
                module, self.samples, self.parameters.values()
            )
            last = self.channels_last
            self.x = with_channels_last(self.samples) if last else self.samples
            self.leaf: Any = None
            if inputs:
                self.leaf = InputLeaf(self.x, embeddings_of(module))
                self.x = self.leaf.x
            self.logits = self._record() if norms else self._run()
            self._check_alone()
            # Layers that are quantised by the batch have a warning of their own.
            if len(x) > N_SAMPLES and not self._coarse:
                # Without room for so many, fewer go through the model together later.
                with suppress(torch.OutOfMemoryError):
                    self._check_last(x)
        self.n_classes = self.logits.shape[1]
        warn_of_probabilities(self.logits.detach())
        warn_of_sigmoid(module, self.x.detach(), self.logits.detach())

    def _record(self) -> Tensor:
        recorder = Recorder(self.parameters.values(), self.x.device, with_leaves=True)
        try:
            with self._noting(self.calls):
                output = recorded_forward(self.module, self.x.clone(), recorder)
        except torch.OutOfMemoryError:  # says nothing about X
            raise
        except Exception:  # no rules, or an error of the model, which comes again
            return self._run()
        self.recorder = recorder
        return as_logits(output, len(self.x))

    def _run(self) -> Tensor:
        with self._noting(self.calls):
            return forward(self.module, self.x)

    @contextmanager
    def _noting(self, calls: list[Call]) -> Iterator[None]:
        """Note the calls of layers."""
        calls.clear()
        # A layer with two names is noted once, though either name may be asked for.
        every = {n for n, part in self.module.named_modules() if has_parameters(part)}
        wanted = {*self._layers, *(every if self._every else ())}
        sources: list[Source] = []
        with ExitStack() as hooks:
            if wanted:
                for layer in self.module.modules():
                    source = None if takes_no_hooks(layer) else as_source(layer)
                    if source is not None:
                        hook = partial(_add, sources, source)
                        hooks.enter_context(layer.register_forward_hook(hook))
            for name, layer in self.module.named_modules(remove_duplicate=False):
                if name in wanted and not takes_no_hooks(layer):
                    hook = partial(_note, calls, sources, name)
                    hooks.enter_context(layer.register_forward_hook(hook))
            # The leaf is that of the pass over all samples.
            if self.leaf is not None and calls is self.calls:
                hooks.enter_context(self.leaf.on(self.module))
            yield

    def _check_alone(self) -> None:
        """Compare the logits with those of the first sample alone."""
        logits = self.logits.detach()
        calls: list[Call] = []
        try:
            with self._noting(calls):
                alone = forward(self.module, self.samples[:1].detach()).detach()
        except ValueError as error:
            told = f"it takes {len(self.x)} samples of X together and fails on one."
            raise ValueError(f"{_mixes(told)} {error}") from error
        self._find_samples(calls)
        if _close(alone, logits[:1], coarse=self._coarse):
            return
        if not _close(forward(self.module, self.x.detach()), logits):
            raise ValueError(
                "model must give the same logits each time, but two passes over the "
                "same X differ. Look for dropout that is on in evaluation mode, or "
                "added noise."
            )
        raise ValueError(_mixes(_differs("first", len(self.x))))

    def _check_last(self, x: Batch) -> None:
        """Compare the logits of the last of more samples with those of it alone.

        Three do not show all: where experts have room for a share of the batch, the
        last ones are turned away.
        """
        logits, alone = (forward(self.module, part).detach() for part in (x, x[-1:]))
        if not _close(alone, logits[-1:]):
            raise ValueError(_mixes(_differs("last", len(x))))

    @cached_property
    def reached(self) -> set[str]:
        """The names of the parameters in the graph of the logits, looked for once."""
        graph = leaves_in_graph(self.logits)
        return {name for name, p in self.parameters.items() if id(p) in graph}

    def check_input_gradient(self) -> None:
        """Raise unless a finite gradient reaches the inputs, at one backward pass.

        Warn if it is 0 everywhere.
        """
        source = self.leaf.tensor
        # Through its parameters the logits may have a gradient all the same.
        if source.is_leaf and id(source) not in leaves_in_graph(self.logits):
            check_recorded(self.logits.detach(), "input")
        # Weights that differ, as the sum of all logits may be a constant.
        weights = torch.linspace(1, 2, self.n_classes).to(self.logits)
        # An embedding's output is no leaf where its table has a gradient too.
        with differentiating():
            (gradient,) = torch.autograd.grad(
                self.logits,
                source,
                weights.expand_as(self.logits),
                retain_graph=True,
                materialize_grads=True,
            )
        if not check_finite_gradients(gradient).any():
            warn(
                "model has gradients of 0 at its inputs, for all samples that fit "
                "looks at. Their cosines are 0, and say nothing if that is so "
                "everywhere. Look for rounding or a threshold in its forward, and for "
                "weights of 0 in a later layer.",
                UserWarning,
            )

    def _find_samples(self, calls: Sequence[Call]) -> None:
        """Find the axis of the samples, by calls for one sample alone."""
        if [call.layer for call in calls] != [call.layer for call in self.calls]:
            return
        self.calls = [
            call._replace(samples=_sample_axis(call, alone, len(self.x), self._coarse))
            for call, alone in zip(self.calls, calls, strict=True)
        ]

    def call_of(self, layer: str, shown: str) -> Call:
        """Return the only call of a layer that was noted; errors name ``shown``."""
        calls = [call for call in self.calls if call.layer == layer]
        if len(calls) != 1:
            raise ValueError(called_again(shown) if calls else not_called(shown))
        return calls[0]

    @cached_property
    def shorter_calls(self) -> dict[str, Call]:
        """The calls of layers for texts without their last token, by layer.

        Empty if there is no mask of tokens, or the model takes texts of one length.
        """
        key, entries = mask_key(self.module, self.x), entries_of(self.x.detach())
        n_tokens = 1 if key is None else entries[key].shape[1]
        if n_tokens == 1:
            return {}
        shorter = {
            name: entry[:, :-1] if entry.shape[1:] == (n_tokens,) else entry
            for name, entry in entries.items()
        }
        calls: list[Call] = []
        with torch.no_grad(), self._noting(calls), suppress(ValueError):
            forward(self.module, Several(shorter))
        return {call.layer: call for call in calls}

    def output_with(self, parameter: nn.Parameter, value: Tensor, layer: str) -> Tensor:
        """Return the output of a layer where a parameter has another value."""
        names = {id(p): name for name, p in self.module.named_parameters()}
        changed = Changed(self.module, {names[id(parameter)]: value})
        calls: list[Call] = []
        with torch.no_grad(), self._noting(calls):
            forward(changed, self.x.detach())
        return next(call.output for call in calls if call.layer == layer)


class Changed(nn.Module):
    """A model with other values of parameters.

    The parameters themselves are not written to, as a recorded pass may need them.
    """

    def __init__(self, module: nn.Module, changes: dict[str, Tensor]) -> None:
        super().__init__()
        self.module, self.changes = module, changes

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return what the model returns with these values."""
        return functional_call(self.module, self.changes, inputs, named)


def has_parameters(layer: nn.Module) -> bool:
    """Return True if a module or one inside of it has parameters, or is quantised."""
    return next(layer.parameters(), None) is not None or is_quantised(layer)


def _sample_axis(call: Call, alone: Call, n_samples: int, coarse: bool) -> int | None:
    # Packed sequences may have other lengths too.
    if call.mask is not None:
        return 0
    axis = sample_axis(call.output, alone.output, n_samples)
    if axis is None or not (call.output.is_floating_point() and call.output.numel()):
        return axis
    # A model may have sorted the samples before, as by their lengths.
    same = _close(alone.output, call.output.narrow(axis, 0, 1), coarse=coarse)
    return axis if same else None


def _add(
    sources: list[Source], source: Source, layer: nn.Module, inputs: Any, output: Any
) -> None:
    sources.append(source)


def _note(
    calls: list[Call],
    sources: list[Source],
    name: str,
    layer: nn.Module,
    inputs: Any,
    result: Any,
) -> None:
    output, mask = main_output(result)
    # Cloned, because a layer that works in place may write into it later.
    kept = output.detach().clone() if isinstance(output, Tensor) else output
    source = sources[-1] if sources else None
    calls.append(Call(name, layer, inputs, result, kept, source, mask))


def three_samples(x: Any) -> Any:
    """Return three different samples, as equal ones would hide a change of order."""
    if len(x) >= N_SAMPLES:
        return x[:N_SAMPLES]
    return x.map(_three_of) if isinstance(x, Several) else _three_of(x)


def _three_of(x: Tensor) -> Tensor:
    places = torch.arange(N_SAMPLES, device=x.device)
    rounds, filled = places // len(x), x[places % len(x)]
    # One of several inputs may have a single number per sample.
    if x.ndim == 1:
        return filled
    if not x.is_floating_point():
        rolled = zip(filled, rounds.tolist(), strict=True)
        return torch.stack([one.roll(k, -1) for one, k in rolled])
    # Within the range of the real ones, as a logarithm in the model may need.
    shares = rounds.view(-1, *[1] * (x.ndim - 1)) / 10
    return ((1 - shares) * filled + shares * x.mean()).to(x.dtype)


def _mixes(told: str) -> str:
    return (
        f"model must treat each sample by itself, but it does not: {told} Look for "
        "BatchNorm without running statistics, squeeze(), a softmax over the wrong "
        "axis, or experts with a capacity."
    )


def _differs(which: str, n_samples: int) -> str:
    return (
        f"of {n_samples} samples of X together, the {which} one has other logits than "
        "alone."
    )


def _quantised_by_batch(module: nn.Module) -> list[str]:
    return [n for n, part in module.named_modules() if is_quantised_by_batch(part)]


def _close(one: Tensor, other: Tensor, *, coarse: bool = False) -> bool:
    """Return True if logits or outputs of a layer are equal up to rounding."""
    # That of TF32, with which GPUs multiply float32, or of half precision; if coarse,
    # of 8 bits in each of several layers.
    margin = 0.003 if other.dtype.itemsize >= 4 else 0.02
    margin = 0.1 if coarse else margin
    size = other.abs().max().item()
    # NaN has a message of its own.
    return torch.allclose(one, other, rtol=margin, atol=margin * size, equal_nan=True)


def warn_of_batch_scales(module: nn.Module, batch_size: int) -> None:
    """Warn of layers that round by the largest value in a batch of several samples."""
    layers = _quantised_by_batch(module)
    if layers and batch_size > 1:
        warn(
            f"model has layers that are quantised dynamically, {listed(layers, 3)}. "
            "They take one scale for a whole batch, so the scores of an input vary "
            "with the others in it. batch_size=1 gives each input its own.",
            UserWarning,
        )


def warn_of_probabilities(logits: Tensor) -> None:
    """Warn if logits look like probabilities or their logarithms."""
    normalised = [logits.exp().sum(dim=1)]
    if (logits >= 0).all():
        normalised.append(logits.sum(dim=1))
    if any(torch.allclose(s, torch.ones_like(s), atol=1e-3) for s in normalised):
        warn(
            "model returns rows that look like probabilities or their logarithms. "
            "skgrad needs logits: remove the softmax or log-softmax from its forward.",
            UserWarning,
        )
