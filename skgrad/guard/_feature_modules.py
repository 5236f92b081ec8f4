"""A network and the features of it as one torch module over inputs."""

import copy
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from .._compat import uncompiled
from .._several import call
from ..feature_extraction import LayerActivations, Stability
from ..torch_engine.activations import LOGITS, OutputHooks, not_called
from ..torch_engine.model_state import (
    copied,
    find_logits,
    nothing_compiled,
    ordinary_attention,
)
from ..torch_engine.network_pass import as_it_is
from ..torch_engine.restoring import lock_of
from ._p_value_modules import Kept


class Features(nn.Module):
    """A network, and the features that a transformer takes from it."""

    def __init__(self, transformer):
        super().__init__()
        module = transformer._module()
        with lock_of(module):  # not while another thread has it in another mode
            self.network = copied(module)
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)
        families = transformer._families.values()
        modules = [FAMILIES[type(one)](one) for one in families]
        self.outputs = [output for one in modules for output in one.outputs]
        self.families = nn.ModuleList(modules)

    def forward(self, x):
        """Return logits (n_samples, n_classes) and features."""
        # One thread at a time has its hooks on the network.
        with lock_of(self.network), self._as_it_is_written():
            run = _Pass(self.network, x, self.outputs)
            columns = [family(run) for family in self.families]
        return run.logits, torch.cat(columns, dim=1)

    @contextmanager
    def _as_it_is_written(self):
        """Let all layers be called, as in the passes of a transformer."""
        parts = list(self.network.modules())
        compiled = any(uncompiled(part) is not None for part in parts)
        eager = nothing_compiled() if compiled else nullcontext()
        with ordinary_attention(parts), eager:
            yield


class _Pass:
    """What families ask a `NetworkPass` for, without looks at the values.

    Each look would wait for a GPU, and a tracer has no values.
    """

    def __init__(self, network, x, outputs):
        self._network, self.x = network, x
        kept = [output for output in outputs if output.layer != LOGITS]
        gradients = torch.is_grad_enabled()
        self._hooks = OutputHooks(kept, x, gradients=gradients, stop=False)
        with self._hooks.on(network):
            self.logits = self.logits_at(x)

    def logits_at(self, x, within=as_it_is):
        # The network may overwrite its inputs.
        with within(self._network, x):
            return find_logits(call(self._network, x.clone()), x.shape[0])

    def outputs(self, outputs):
        return [self._output(output) for output in outputs]

    def _output(self, output):
        if output.layer == LOGITS:
            return self.logits
        if output not in self._hooks.found:
            raise ValueError(not_called(output.layer))
        return self._hooks.found[output]


class _Activations(nn.Module):
    def __init__(self, family):
        super().__init__()
        self.family, self.outputs = family, family._outputs

    def forward(self, run):
        return self.family._columns(run)


class _Stability(Kept):
    """The family with what it learnt in buffers, which move with the module."""

    outputs = ()

    def __init__(self, family):
        super().__init__()
        self.family = family
        self.ranged, self.noisy = list(family._range), list(family._noise)
        for number, (low, high) in enumerate(family._range.values()):
            self.keep(**{f"low_{number}": low, f"high_{number}": high})
        for number, noise in enumerate(family._noise.values()):
            self.keep(**{f"noise_{number}": noise})

    def forward(self, run):
        family = copy.copy(self.family)
        family._range = {
            key: (getattr(self, f"low_{number}"), getattr(self, f"high_{number}"))
            for number, key in enumerate(self.ranged)
        }
        family._noise = {
            key: getattr(self, f"noise_{number}")
            for number, key in enumerate(self.noisy)
        }
        return family._columns(run)


FAMILIES: dict[type, Any] = {
    LayerActivations: _Activations,
    Stability: _Stability,
}
