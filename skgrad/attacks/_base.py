"""The one way in and out of every attack."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import Dataset

from ..torch_engine.batching import as_batchable, batches, prepare_batch
from ..torch_engine.model_state import (
    as_logits,
    forward,
    frozen,
    on_device,
    placement,
    unwrap_model,
)


@dataclass(frozen=True)
class AttackResult:
    """What an attack returns.

    Parameters
    ----------
    X_adv : ndarray of shape (n_samples, *input_shape)
        The adversarial inputs, in the order of X.
    success : ndarray of bool of shape (n_samples,)
        Whether the model predicts another class than y for the adversarial input.
    linf : ndarray of shape (n_samples,)
        Largest absolute change of any value.
    l2 : ndarray of shape (n_samples,)
        Euclidean length of the change.
    """

    X_adv: np.ndarray
    success: np.ndarray
    linf: np.ndarray
    l2: np.ndarray


def run_attack(perturb, model, X, y, *, bounds, batch_size, device):
    """Run an attack batch by batch, the model held still.

    Parameters
    ----------
    perturb : callable
        ``perturb(module, x, classes, low, high)`` returns the adversarial batch.
    model : torch.nn.Module or fitted skorch net
        The classifier under attack.
    X : array-like of shape (n_samples, *input_shape)
        Clean inputs.
    y : array-like of int of shape (n_samples,) or None
        Their classes; None for the model's own predictions.
    bounds : tuple of two floats or arrays
        The lowest and highest legal value.
    batch_size : int
        Samples per batch.
    device : str, torch.device or None
        Where to compute.

    Returns
    -------
    AttackResult
        The adversarial inputs and how they fare.
    """
    module = on_device(unwrap_model(model), device)
    place = placement(module)
    X = as_batchable(X)
    if isinstance(X, Dataset):
        raise TypeError("X must be an array or tensor; got a Dataset. Stack it first.")
    y = _checked_labels(y, len(X))
    low, high = _checked_bounds(bounds, tuple(X.shape[1:]), place)
    parts = []
    with frozen(module):
        for number, batch in enumerate(batches(X, batch_size)):
            x = prepare_batch(batch, input_shape=None, **place)
            _check_within(x, low, high)
            start = number * batch_size
            classes = _classes(module, x, None if y is None else y[start:][: len(x)])
            # A value that rounding left outside stays; eps and bounds hold for all.
            adversarial = perturb(
                module, x, classes, torch.minimum(low, x), torch.maximum(high, x)
            ).detach()
            # A copy goes in: a model that works in place must not change the result.
            logits = as_logits(module(adversarial.clone()), len(x))
            fooled = logits.argmax(dim=1) != classes
            change = (adversarial - x).flatten(1)
            parts.append(
                (adversarial, fooled, change.abs().amax(dim=1), change.norm(dim=1))
            )
    return AttackResult(*map(_to_numpy, zip(*parts, strict=True)))


def _to_numpy(batches):
    joined = torch.cat(batches).cpu()
    # numpy has no bfloat16.
    return (joined.float() if joined.dtype == torch.bfloat16 else joined).numpy()


def _classes(module, x, y):
    """Return the classes that the attack is to leave, as a tensor beside x."""
    logits = forward(module, x)
    if y is None:
        return logits.argmax(dim=1)
    if y.min() < 0 or y.max() >= logits.shape[1]:
        raise ValueError(
            f"y must hold classes 0 to {logits.shape[1] - 1}, as the model has "
            f"{logits.shape[1]} logits; got {y.min()} to {y.max()}."
        )
    return torch.as_tensor(y, device=x.device)


def _checked_labels(y, n_samples):
    if y is None:
        return None
    y = y.cpu().numpy() if isinstance(y, torch.Tensor) else np.asarray(y)
    if y.shape != (n_samples,) or y.dtype.kind not in "iu":
        raise ValueError(
            f"y must be None or {n_samples} integer classes, one per sample of X; got "
            f"{y.dtype} of shape {y.shape}."
        )
    return y.astype(np.int64)


def _checked_bounds(bounds, shape, place):
    """Return the bounds as two tensors that broadcast with one sample."""
    try:
        low, high = (torch.as_tensor(bound, **place) for bound in bounds)
        fits = torch.broadcast_shapes(low.shape, high.shape, shape) == shape
    except (TypeError, ValueError, RuntimeError):
        fits = False
    if not fits:
        raise ValueError(
            "bounds must be a pair (lowest, highest) of numbers, or of arrays that "
            f"broadcast to one sample of shape {shape}; got {bounds!r}."
        )
    if not (low < high).all():
        raise ValueError(f"bounds must have lowest < highest; got {bounds!r}.")
    return low, high


def _check_within(x, low, high):
    # Room for the rounding of a normalisation.
    slack = torch.nan_to_num(1e-5 * (high - low), posinf=0.0)
    if (x < low - slack).any() or (x > high + slack).any():
        raise ValueError(
            f"X must lie within bounds; it spans [{x.min().item():.4g}, "
            f"{x.max().item():.4g}]. Give the bounds of the inputs that the model "
            "takes, after any normalisation."
        )
