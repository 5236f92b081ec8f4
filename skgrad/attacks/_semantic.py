"""Negative images."""

import torch

from .._compat import validate_params
from .._messages import brief
from ._base import CONSTRAINTS, run_attack


@validate_params(CONSTRAINTS, prefer_skip_nested_validation=True)
def semantic(model, X, y=None, *, bounds=(0.0, 1.0), batch_size=128, device=None):
    r"""Semantic attack: negative images, which people still recognise.

    .. math:: x' = x_{low} + x_{high} - x.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier under attack, returning logits. It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        Clean inputs.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest legal value, such as per channel of shape (c, 1, 1);
        finite.
    batch_size : int, default=128
        Samples per batch; changes no result beyond rounding.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device.

    Returns
    -------
    AttackResult
        With ``X_adv``, the ``success`` mask and the size of the changes.

    Raises
    ------
    ValueError
        If an argument is not legal.

    Notes
    -----
    Cost: one forward pass; no gradient. One forward pass more without y.

    References
    ----------
    Hosseini, Xiao, Jaiswal, Poovendran (2017), "On the Limitation of Convolutional
    Neural Networks in Recognizing Negative Images".

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import semantic
    >>> model = torch.nn.Linear(2, 2)
    >>> semantic(model, [[0.0, 0.75]]).X_adv.tolist()
    [[1.0, 0.25]]
    """

    def perturb(batch):
        total = batch.low + batch.high
        if not torch.isfinite(total).all():
            raise ValueError(
                "bounds must be finite to turn values within them; got "
                f"{brief(bounds)}."
            )
        return batch.within(total - batch.x)

    return run_attack(
        perturb, model, X, y, bounds=bounds, batch_size=batch_size, device=device
    )
