"""Negative images."""

import torch

from .._messages import brief
from ._base import checked, run_attack


@checked()
def semantic(model, X, y=None, *, bounds=(0.0, 1.0), batch_size=128, device=None):
    r"""Semantic attack: negative images, which people still recognise.

    .. math:: x' = x_{low} + x_{high} - x.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The clean inputs, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes.

    Notes
    -----
    Cost: one forward pass, two without y; no gradient. The bounds must be finite.

    References
    ----------
    Hosseini, Xiao, Jaiswal, Poovendran (2017), "On the Limitation of Convolutional
    Neural Networks in Recognizing Negative Images".

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import semantic
    >>> semantic(torch.nn.Linear(2, 2), [[0.0, 0.75]]).X_adv.tolist()
    [[1.0, 0.25]]
    """

    def perturb(batch):
        total = batch.low + batch.high
        if not torch.isfinite(total).all():
            raise ValueError(f"bounds must be finite; got {brief(bounds)}.")
        return batch.clip(total - batch.x)

    return run_attack(perturb, model, X, y, None, bounds, batch_size, device, None)
