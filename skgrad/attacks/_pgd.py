"""Projected gradient descent."""

from functools import partial

from sklearn.utils import check_random_state

from .._compat import StrOptions
from ._balls import BALLS
from ._base import checked, run_attack
from ._descent import LOSSES, descend, toward_goal


@checked(loss=[StrOptions(set(LOSSES))])
def pgd(
    model,
    X,
    y=None,
    *,
    eps,
    norm="linf",
    step_size=None,
    n_steps=70,
    random_start=True,
    loss="cross_entropy",
    target=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Projected gradient descent within a ball.

    .. math:: x_{t+1} = \Pi_\epsilon(x_t + \alpha\, u(\nabla_x L(F(x_t), y))),

    with :math:`\Pi_\epsilon` the projection on :math:`\|x' - x\| \le \epsilon` and
    then on the bounds, and u(g) the steepest step of length 1: sgn(g) in the maximum
    norm, g / ||g|| in the Euclidean norm. With a target t: minus and
    :math:`L(F(x_t), t)`.

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
    step_size : float, default=None
        The step :math:`\alpha`; None for eps / 4, as in paper B.
    n_steps : int, default=70
        Number of steps, all of which are taken. Paper B: 70, of targeted attacks 100.
    random_start : bool, default=True
        Start at a uniform random point of the ball instead of at X.
    loss : {"cross_entropy", "mse"}, default="cross_entropy"
        With p the softmax of C logits and :math:`[\cdot]` 1 where true:
        :math:`-\log p_y`, paper B's SCE, or its MSE, taken as
        :math:`\frac{1}{C} \sum_j (p_j - [j = y])^2`.
    target : int, array-like of int, {"random", "least_likely"} or None, default=None
        The classes to reach; "random" excludes y, None is any other than y.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the start and random targets.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes.

    See Also
    --------
    bim : The same from X itself, which can stop at success.

    Notes
    -----
    Cost: a forward and a backward pass per step, and a forward pass, two without y.
    Gradients are rescaled as in `fgsm`.

    Paper B's T-SCE and T-MSE are ``target="random", n_steps=100`` with either loss. It
    does not say what the squared error is of. Here it is of probabilities: that of
    logits could also be raised by raising the logit of y.

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
    random_state = check_random_state(random_state)
    perturb = partial(
        descend,
        ball=BALLS[norm](eps),
        step_size=step_size,
        n_steps=n_steps,
        ascent=partial(toward_goal, loss=loss),
        start=random_state if random_start else None,
    )
    return run_attack(
        perturb, model, X, y, target, bounds, batch_size, device, random_state
    )
