"""The tensor at which gradients with respect to the inputs are taken."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .._several import Batch, Several, entries_of
from .activations import has_rows

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


class InputLeaf:
    """The inputs of a pass, and the tensor at which their gradients are taken.

    ``x`` is what the model gets. The ``tensor`` is x itself; of several inputs, the one
    of floats, or all of these side by side (n_samples, n_values). Without floats it is
    the output of the first of the ``embeddings``, names of layers, that is called with
    a row per sample; its name is ``embedding``.
    """

    def __init__(self, x: Batch, embeddings: Sequence[str]) -> None:
        self.x = x
        self.embedding: str | None = None
        self._tensor: Tensor | None = None
        self._embeddings = embeddings if not has_floats(x) else ()
        if isinstance(x, Several):
            self._join_floats(x)
        elif x.is_floating_point():
            self.x = self._tensor = x.detach().clone().requires_grad_(True)

    def _join_floats(self, x: Several) -> None:
        floats = {key: x.entries[key] for key in x.float_keys()}
        if not floats:
            return
        shapes = [entry.shape for entry in floats.values()]
        # A single one keeps its shape; of several only one leaf can be differentiated.
        leaf = next(iter(floats.values()))
        if len(floats) > 1:
            leaf = torch.cat([e.reshape(len(x), -1) for e in floats.values()], dim=1)
        leaf = self._tensor = leaf.detach().clone().requires_grad_(True)
        if len(floats) > 1:
            with torch.enable_grad():
                parts = leaf.split([shape[1:].numel() for shape in shapes], dim=1)
                pairs = zip(floats, parts, shapes, strict=True)
                views = {key: part.reshape(shape) for key, part, shape in pairs}
        else:
            views = dict.fromkeys(floats, leaf)
        self.x = Several({**x.entries, **views})

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        """Find the tensor while a model runs, if it is the output of a layer."""
        if self._embeddings:
            self._tensor = self.embedding = None
        with ExitStack() as hooks:
            for name in self._embeddings:
                hook = partial(self._replace, name)
                layer = module.get_submodule(name)
                hooks.enter_context(layer.register_forward_hook(hook))
            yield

    def _replace(self, name: str, layer: nn.Module, inputs: Any, output: Any) -> Any:
        if self._tensor is not None or not has_rows(output, len(self.x), 0):
            return None
        # With gradients of parameters it is in their graph, and stays there.
        if not output.requires_grad:
            output = output.detach().requires_grad_(True)
        self._tensor, self.embedding = output, name
        # A model may write into a copy.
        with torch.enable_grad():
            return output.clone()

    @property
    def tensor(self) -> Tensor:
        """The tensor (n_samples, ...), known after the pass."""
        if self._tensor is None:
            raise ValueError(
                "model must take floats, or look whole numbers up in a "
                "torch.nn.Embedding, with one row per sample, for gradients at its "
                "inputs: they are taken at the floats or at the output of the "
                "embedding. It did neither; use other features, such as layer outputs."
            )
        return self._tensor


def has_floats(x: Batch) -> bool:
    """Return True if a tensor, or one of several, holds floats."""
    return any(tensor.is_floating_point() for tensor in entries_of(x).values())


def embeddings_of(module: nn.Module) -> list[str]:
    """Name the layers of a model that look whole numbers up."""
    return [n for n, part in module.named_modules() if isinstance(part, _EMBEDDINGS)]
