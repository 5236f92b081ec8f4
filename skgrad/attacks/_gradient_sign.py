"""Attacks that follow the sign of the input gradient."""

from functools import partial
from numbers import Integral, Real

import torch
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from ..torch_engine.input_gradients import loss_input_gradient
from ._base import run_attack

_COMMON = {
    "model": "no_validation",  # the engine's message says more
    "eps": [Interval(Real, 0, None, closed="neither")],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "device": [str, torch.device, None],
}


@validate_params(_COMMON, prefer_skip_nested_validation=True)
def fgsm(model, X, y=None, *, eps, bounds=(0.0, 1.0), batch_size=128, device=None):
    r"""Fast gradient sign method: one step up the loss.

    .. math:: x' = \mathrm{clip}(x + \epsilon \operatorname{sgn} \nabla_x
              \mathrm{CE}(F(x), y)).

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier under attack, returning logits. It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        Clean inputs.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    eps : float
        Largest change of a value, in units of X.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest legal value, such as per channel of shape (c, 1, 1).
    batch_size : int, default=128
        Samples per batch; changes no result beyond rounding.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device.

    Returns
    -------
    AttackResult
        With ``X_adv``, the ``success`` mask and the size of the changes.

    References
    ----------
    Goodfellow, Shlens, Szegedy (2015), "Explaining and Harnessing Adversarial
    Examples", Sec. 4.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import fgsm
    >>> model = torch.nn.Linear(2, 2)
    >>> fgsm(model, [[0.5, 0.5]], eps=0.25).linf.tolist()
    [0.25]
    """

    def perturb(batch):
        gradient = loss_input_gradient(batch.module, batch.x, batch.classes)
        return batch.within(batch.x + eps * gradient.sign())

    return run_attack(
        perturb, model, X, y, bounds=bounds, batch_size=batch_size, device=device
    )


@validate_params(
    {
        **_COMMON,
        "step_size": [Interval(Real, 0, None, closed="neither"), None],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "random_start": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def pgd(
    model,
    X,
    y=None,
    *,
    eps,
    step_size=None,
    n_steps=70,
    random_start=True,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Projected gradient descent within a ball of the maximum norm.

    .. math:: x_{t+1} = \Pi_\epsilon(x_t + \alpha \operatorname{sgn} \nabla_x
              \mathrm{CE}(F(x_t), y)),

    with :math:`\Pi_\epsilon` the projection on :math:`|x' - x|_\infty \le \epsilon`
    and the bounds.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier under attack, returning logits. It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        Clean inputs.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    eps : float
        Largest change of a value, in units of X.
    step_size : float, default=None
        The step :math:`\alpha`; None for eps / 4, as in paper B.
    n_steps : int, default=70
        Number of steps, all of which are taken; 70 in paper B.
    random_start : bool, default=True
        Start at a uniform random point of the ball instead of X.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest legal value, such as per channel of shape (c, 1, 1).
    batch_size : int, default=128
        Samples per batch; changes no result beyond rounding.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the start.

    Returns
    -------
    AttackResult
        With ``X_adv``, the ``success`` mask and the size of the changes.

    Notes
    -----
    The sign is taken of a rescaled gradient that does not vanish where the softmax
    saturates, so the attack does not stall at confident inputs.

    References
    ----------
    Madry et al. (2018), "Towards Deep Learning Models Resistant to Adversarial
    Attacks", Sec. 2.1.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import pgd
    >>> model = torch.nn.Linear(2, 2)
    >>> result = pgd(model, [[0.5, 0.5]], eps=0.25, n_steps=9, random_state=0)
    >>> result.linf.tolist()
    [0.25]
    """
    start = check_random_state(random_state) if random_start else None
    perturb = partial(
        _descend,
        eps=eps,
        step_size=eps / 4 if step_size is None else step_size,
        n_steps=n_steps,
        start=start,
    )
    return run_attack(
        perturb, model, X, y, bounds=bounds, batch_size=batch_size, device=device
    )


def _descend(batch, *, eps, step_size, n_steps, start):
    """Take the steps on one batch."""
    x = batch.x
    low, high = torch.maximum(x - eps, batch.low), torch.minimum(x + eps, batch.high)
    moved = x
    if start is not None:
        # numpy draws in the order of the samples, whatever the batch size.
        noise = torch.as_tensor(start.uniform(-eps, eps, size=tuple(x.shape)))
        moved = (x + noise.to(x)).clamp(low, high)
    for _ in range(n_steps):
        gradient = loss_input_gradient(batch.module, moved, batch.classes)
        moved = (moved + step_size * gradient.sign()).clamp(low, high)
    return moved
