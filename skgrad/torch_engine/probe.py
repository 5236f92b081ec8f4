"""What fit learns about a network, from one recording of three samples."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from .._compat import is_quantised
from .._messages import warn
from .activations import (
    HIDDEN,
    LOGITS,
    PENULTIMATE,
    LayerOutput,
    called_again,
    check_finite_output,
    check_layers,
    check_rows,
    has_rows,
    layers_are_hidden,
    not_called,
    pooled,
    same_values,
)
from .gradient_pass import recorded_forward
from .gradient_recorder import Recorder
from .gradient_uses import leaves_in_graph
from .model_state import (
    as_logits,
    check_finite,
    check_recorded,
    forward,
    two_logits,
)
from .parameter_gradients import gradient_parameters
from .sigmoid import warn_of_sigmoid

# Enough to see along which axis the samples lie, and that none is in another's place.
N_SAMPLES = 3


class Call(NamedTuple):
    """One call of a layer: its name, its inputs and a copy of its output."""

    layer: str
    inputs: Any
    output: Any


class Probe:
    """One recording of up to three samples, and what it shows about a network.

    ``layers`` are the names of layers whose calls are noted; with ``leaves`` those of
    all layers with parameters and without children are noted too. With ``norms`` the
    calls that have rules for gradient norms are recorded, with ``inputs`` the gradient
    can reach the inputs. The model is held by ``frozen``, with parameter gradients for
    the norms. Raises ValueError if the model cannot take ``x`` or returns no logits, or
    if these differ from one pass to the next or depend on other samples.

    ``calls`` holds the calls in order, ``logits`` and ``x`` are of the samples, which
    are three different ones for the norms.
    ``recorder`` is None if no norms are wanted, or the model cannot be recorded.

    Cost: a forward pass over three samples, and one over a single sample.
    """

    def __init__(
        self,
        module: nn.Module,
        x: Tensor,
        *,
        layers: Sequence[str] = (),
        leaves: bool = False,
        norms: bool = False,
        inputs: bool = False,
    ) -> None:
        self.module = module
        self.parameters = gradient_parameters(module) if norms else {}
        self.calls: list[Call] = []
        self.recorder: Recorder | None = None
        # The axis of the samples shows in three that differ, if need be made up.
        self.x = three_samples(x) if norms else x[:N_SAMPLES]
        if inputs:
            self.x = self.x.detach().clone().requires_grad_(True)
        self._layers, self._leaves = layers, leaves
        # A model may differentiate itself, so all passes are run alike.
        with torch.set_grad_enabled(norms or inputs):
            self.logits = self._record() if norms else self._run()
            self._check_alone()
        self.n_classes = self.logits.shape[1]
        warn_of_probabilities(self.logits.detach())
        warn_of_sigmoid(module, self.x.detach(), self.logits.detach())

    def _record(self) -> Tensor:
        recorder = Recorder(self.parameters.values(), self.x.device, with_leaves=True)
        try:
            with self._noting():
                output = recorded_forward(self.module, self.x.clone(), recorder)
        except torch.OutOfMemoryError:  # says nothing about X
            raise
        except Exception:  # no rules, or an error of the model, which comes again
            return self._run()
        self.recorder = recorder
        return as_logits(output, len(self.x))

    def _run(self) -> Tensor:
        with self._noting():
            return forward(self.module, self.x)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Note the calls of layers."""
        self.calls.clear()
        # A layer with two names is one leaf, though either name may be asked for.
        leaves = {n for n, part in self.module.named_modules() if is_leaf(part)}
        wanted = {*self._layers, *(leaves if self._leaves else ())}
        with ExitStack() as hooks:
            for name, layer in self.module.named_modules(remove_duplicate=False):
                if name in wanted and not layers_are_hidden(layer):
                    hook = partial(self._note, name)
                    hooks.enter_context(layer.register_forward_hook(hook))
            yield

    def _note(self, name: str, layer: nn.Module, inputs: Any, output: Any) -> None:
        # Cloned, because a layer that works in place may write into it later.
        kept = output.detach().clone() if isinstance(output, Tensor) else output
        self.calls.append(Call(name, inputs, kept))

    def _check_alone(self) -> None:
        """Compare the logits with those of the first sample alone."""
        logits = self.logits.detach()
        try:
            alone = forward(self.module, self.x[:1].detach()).detach()
        except ValueError as error:
            raise ValueError(f"{_MIXES} It fails on one sample: {error}") from error
        if _close(alone, logits[:1]):
            return
        if not _close(forward(self.module, self.x.detach()), logits):
            raise ValueError(
                "model must give the same logits each time, but two passes over the "
                "same X differ. Look for dropout that is on in evaluation mode, or "
                "added noise."
            )
        raise ValueError(_MIXES)

    def check_input_gradient(self) -> None:
        """Raise unless a finite gradient reaches the inputs, at one backward pass."""
        # Through its parameters the logits may have a gradient all the same.
        if id(self.x) not in leaves_in_graph(self.logits):
            check_recorded(self.logits.detach(), "input")
        (gradient,) = torch.autograd.grad(
            self.logits, self.x, self.logits.detach(), retain_graph=True
        )
        check_finite(gradient)

    def pooled_output(self, output: LayerOutput) -> Tensor:
        """Return the pooled output of a layer that was noted, or the logits.

        Raises ValueError if the layer was not called once, or returned anything but
        finite floating-point values with one row per sample.
        """
        layer, pooling, head = output
        if layer == LOGITS:
            return self.logits.detach()
        # A head may be the model itself, whose name is empty.
        noted = layer if head is None else head
        calls = [call for call in self.calls if call.layer == noted]
        if len(calls) != 1:
            raise ValueError(called_again(layer) if calls else not_called(layer))
        result = calls[0].output
        if head is not None:
            inputs = calls[0].inputs
            result = inputs[0].detach() if inputs else None
        check_rows(layer, result, len(self.x))
        columns = pooled(result, pooling)
        check_finite_output(layer, columns)
        return columns


def three_samples(x: Tensor) -> Tensor:
    """Return three different samples, as equal ones would hide a change of order."""
    if len(x) >= N_SAMPLES:
        return x[:N_SAMPLES]
    places = torch.arange(N_SAMPLES, device=x.device)
    rounds, filled = places // len(x), x[places % len(x)]
    if not x.is_floating_point():
        rolled = zip(filled, rounds.tolist(), strict=True)
        return torch.stack([one.roll(k, -1) for one, k in rolled])
    # Within the range of the real ones, as a logarithm in the model may need.
    shares = rounds.view(-1, *[1] * (x.ndim - 1)) / 10
    return ((1 - shares) * filled + shares * x.mean()).to(x.dtype)


_MIXES = (
    "model must treat each sample by itself, but it does not: its logits for the first "
    "sample of X depend on the second. Look for BatchNorm without running statistics, "
    "squeeze(), or a softmax over the wrong axis."
)


def _close(one: Tensor, other: Tensor) -> bool:
    """Return True if logits are equal up to rounding."""
    # That of TF32, with which GPUs multiply float32, or of half precision.
    margin = 0.003 if other.dtype.itemsize >= 4 else 0.02
    size = other.abs().max().item()
    return torch.allclose(one, other, rtol=margin, atol=margin * size)


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


def candidate_layers(probe: Probe) -> list[str]:
    """Name the layers whose outputs could serve as features, in the order of calls.

    These are the modules without children that have parameters, are called once and
    return a finite floating-point tensor of two or more axes with one row per sample.
    The layer that returns the logits is left out, and so is one named `LOGITS`. The
    probe notes all leaves.
    """
    names = [call.layer for call in probe.calls]
    return [
        name
        for name, _, output in probe.calls
        if name not in ("", LOGITS)
        and names.count(name) == 1
        and has_rows(output, len(probe.x))
        and bool(torch.isfinite(output).all())
        and not _gives_logits(output.flatten(1), probe.logits)
    ]


def spread_layers(probe: Probe, n_layers: int | None) -> list[str]:
    """Name at most ``n_layers`` candidate layers, spread evenly over the depth.

    The first and the last candidate are among them; None takes all. Candidates without
    a parameter of two or more axes are left out: normalisations add little to the
    layer before.
    """
    # A layer whose parameters are all vectors is a normalisation.
    names = [
        name
        for name in candidate_layers(probe)
        if is_quantised(layer := probe.module.get_submodule(name))
        or any(p.ndim >= 2 for p in layer.parameters())
    ]
    if n_layers is None:
        return names
    n_layers = min(n_layers, len(names))
    places = torch.linspace(0, len(names) - 1, n_layers).round().long().tolist()
    return [names[place] for place in places]


def find_head(probe: Probe) -> str | None:
    """Return the name of the layer that returns the logits.

    It is the last module called that has parameters and no children, takes a tensor and
    returns what the model returns; "" is the model itself. None if there is no such
    module. The probe notes all leaves.
    """
    outputs = {
        name: output
        for name, inputs, output in probe.calls
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor)
    }
    found = [n for n, output in outputs.items() if _gives_logits(output, probe.logits)]
    # Layers in a row may return the same values. The last one is the head.
    return found[-1] if found else None


def _gives_logits(output: Tensor, logits: Tensor) -> bool:
    """Return True if an output is the logits, or the one that two were made of."""
    single = output.numel() == len(logits)
    return same_values(two_logits(output) if single else output, logits)


def find_outputs(
    probe: Probe, layers: Sequence[str], pooling: str
) -> tuple[LayerOutput, ...]:
    """Return the outputs to keep of layers that are given by name.

    Where no layer returns the logits, `PENULTIMATE` is replaced by the last layer with
    parameters. The probe notes the layers, and all leaves if `PENULTIMATE` is among
    them. Raises ValueError if a name does not exist or comes twice, or there is none.
    """
    check_layers(probe.module, layers)
    for name, layer in probe.module.named_modules(remove_duplicate=False):
        if name in layers and layers_are_hidden(layer):
            raise ValueError(f"layers: {name!r} cannot be watched.{HIDDEN}")
    if PENULTIMATE not in layers:
        return tuple(LayerOutput(name, pooling) for name in layers)
    head = find_head(probe)
    if head is not None:
        heads = {PENULTIMATE: head}
        return tuple(LayerOutput(name, pooling, heads.get(name)) for name in layers)
    candidates = candidate_layers(probe)
    if not candidates:
        raise ValueError(
            "layers: 'penultimate' needs a layer that returns the logits, or one with "
            "parameters before them; the model has neither."
            + (
                HIDDEN
                if layers_are_hidden(probe.module)
                else " Name layers, as 'logits'."
            )
        )
    names = [candidates[-1] if name == PENULTIMATE else name for name in layers]
    return tuple(LayerOutput(name, pooling) for name in dict.fromkeys(names))


def is_leaf(layer: nn.Module) -> bool:
    """Return True if a module has parameters and no children, or is quantised.

    A weight that `torch.nn.utils.parametrize` computes from others, as weight and
    spectral normalisation do, keeps those in a child that is no layer.
    """
    if is_quantised(layer):
        return True
    made = is_parametrized(layer)
    inside = [name for name, _ in layer.named_children() if name != "parametrizations"]
    return not inside and (made or any(True for _ in layer.parameters(recurse=False)))
