"""The iterative least-likely class method."""

from math import ceil

from ._base import POSITIVE_INTEGER, checked
from ._bim import bim


@checked(n_steps=[POSITIVE_INTEGER, None])
def iterative_least_likely(
    model,
    X,
    y=None,
    *,
    eps,
    step_size=None,
    n_steps=None,
    stop_at_success=False,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
):
    r"""Walk towards the least likely class: `bim` with that target.

    .. math:: x_{t+1} = \Pi_\epsilon(x_t - \alpha \operatorname{sgn} \nabla_x
              \mathrm{CE}(F(x_t), y_{LL})), \quad x_0 = x, \quad
              y_{LL} = \operatorname{argmin}_j F_j(x),

    with :math:`\Pi_\epsilon` the projection on :math:`|x' - x|_\infty \le \epsilon`
    and the bounds.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The clean inputs, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        Checked, but without effect, as the goal is the least likely class.
    eps : float
        Largest change of a value, in units of X.
    step_size : float, default=None
        The step :math:`\alpha`; None for eps / 16.
    n_steps : int, default=None
        Largest number of steps; None for min(E + 4, 1.25 E), rounded up, with E the
        number of steps to the edge of the ball, eps / step_size.
    stop_at_success : bool, default=False
        Whether each sample stays where it first reaches the goal.
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
    The paper's step is one of 255 levels and its eps counts levels: that is
    ``step_size=1 / 255`` for inputs in [0, 1], with the same number of steps. The
    default step is the paper's at eps = 16 / 255, whatever the units of X.

    References
    ----------
    Kurakin, Goodfellow, Bengio (2017), "Adversarial Examples in the Physical World",
    Sec. 2.2 (number of steps), Sec. 2.3.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import iterative_least_likely
    >>> model = torch.nn.Linear(2, 2)
    >>> iterative_least_likely(model, [[0.5, 0.5]], eps=0.25).linf.tolist()
    [0.25]
    """
    step_size = eps / 16 if step_size is None else step_size
    if n_steps is None:
        to_edge = eps / step_size
        # Rounded before the ceiling, so that 10.000000001 does not become 11.
        n_steps = max(1, ceil(round(min(to_edge + 4, 1.25 * to_edge), 6)))
    return bim(
        model,
        X,
        y,
        eps=eps,
        step_size=step_size,
        n_steps=n_steps,
        stop_at_success=stop_at_success,
        target="least_likely",
        bounds=bounds,
        batch_size=batch_size,
        device=device,
    )
