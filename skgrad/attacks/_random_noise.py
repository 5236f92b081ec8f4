"""Uniform noise around inputs."""

from sklearn.utils import check_random_state

from ._balls import BALLS
from ._base import checked, run_attack


@checked()
def random_noise(
    model,
    X,
    y=None,
    *,
    eps,
    norm="linf",
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Add uniform noise from the ball: paper B's noise attack.

    .. math:: x' = \mathrm{clip}(x + \delta), \quad
              \delta \sim U\{\|\delta\| \le \epsilon\}.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The clean inputs, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    eps : float
        Largest change in the norm, in units of X.
    norm : {"linf", "l2"}, default="linf"
        Maximum or Euclidean norm, the latter over all values of a sample.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the noise.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes.

    See Also
    --------
    skgrad.datasets.make_uniform_noise : Noise without an input in it.

    Notes
    -----
    Cost: one forward pass, two without y; no gradient.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import random_noise
    >>> random_noise(torch.nn.Linear(2, 2), [[0.5, 0.5]], eps=0.25).X_adv.shape
    (1, 2)
    """
    random_state, ball = check_random_state(random_state), BALLS[norm](eps)

    def perturb(batch):
        return batch.clip(batch.x + ball.draw(random_state, batch.x))

    return run_attack(
        perturb, model, X, y, None, bounds, batch_size, device, random_state
    )
