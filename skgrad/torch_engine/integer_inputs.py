"""Whether a model takes whole numbers as integers, as token ids are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .._several import Batch, integers_in
from .gradient_uses import leaves_in_graph
from .model_state import forward


def takes_integers(
    module: nn.Module, raw: Any, prepare: Callable[..., Batch]
) -> bool | dict:
    """Return True if a model gets the whole numbers in samples as integers.

    Floats stay floats. An array of integers stays one where the model fails on floats,
    or makes whole numbers of them itself, so that no gradient reaches them: half
    precision does not hold token ids. Others, such as the pixels of images, are cast.
    Of several inputs integers and truth values stay such, unless the model fails then;
    a dict says which inputs these are, by name.
    ``prepare`` returns the samples ``raw`` as the model takes them, with ``integers``
    or without; the model is held by `frozen`.

    Cost: a forward pass or two over the samples if they are integers, else none.
    """
    exact = integers_in(raw)
    if isinstance(exact, dict):
        return _takes_several(module, prepare, exact)
    if not exact:
        return False
    try:
        if _reached_by_gradient(module, prepare(integers=False)):
            return False
    except ValueError as error:
        return _takes_only_integers(module, prepare, error)
    return _error_of(module, prepare(integers=True)) is None


def _takes_several(
    module: nn.Module, prepare: Callable[..., Batch], exact: dict
) -> bool | dict:
    if not any(exact.values()):
        return False
    error = _error_of(module, prepare(integers=exact))
    if error is not None and _error_of(module, prepare(integers=False)) is not None:
        raise error
    return exact if error is None else False


def _reached_by_gradient(module: nn.Module, floats: Any) -> bool:
    with torch.enable_grad():
        leaf = floats.requires_grad_()
        return id(leaf) in leaves_in_graph(forward(module, leaf))


def _takes_only_integers(
    module: nn.Module, prepare: Callable[..., Batch], error: ValueError
) -> bool:
    """Return True for a model that failed on floats; raise if it fails on integers."""
    other = _error_of(module, prepare(integers=True))
    if other is None:
        return True
    # Torch's errors name the type that a lookup needs; then the other error says more.
    raise other if "long" in str(error).lower() else error


def _error_of(module: nn.Module, x: Batch) -> ValueError | None:
    try:
        forward(module, x)
    except ValueError as error:
        return error
    return None
