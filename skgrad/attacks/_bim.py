"""The basic iterative method."""

from functools import partial

from ._balls import LinfBall
from ._base import checked, run_attack
from ._descent import descend


@checked()
def bim(
    model,
    X,
    y=None,
    *,
    eps,
    step_size=None,
    n_steps=10,
    stop_at_success=False,
    target=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Take FGSM in small steps: the basic iterative method.

    .. math:: x_{t+1} = \Pi_\epsilon(x_t + \alpha \operatorname{sgn} \nabla_x
              \mathrm{CE}(F(x_t), y)), \quad x_0 = x,

    with :math:`\Pi_\epsilon` the projection on :math:`|x' - x|_\infty \le \epsilon`
    and the bounds. With a target t: minus and :math:`\mathrm{CE}(F(x_t), t)`.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The clean inputs, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    eps : float
        Largest change of a value, in units of X.
    step_size : float, default=None
        The step :math:`\alpha`; None for eps / 4.
    n_steps : int, default=10
        Largest number of steps.
    stop_at_success : bool, default=False
        True lets each sample stay where it first reaches the goal: BIM-a of paper C;
        False takes all steps: BIM-b.
    target : int, array-like of int, {"random", "least_likely"} or None, default=None
        The classes to reach; "random" excludes y, None is any other than y.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws random targets.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes.

    See Also
    --------
    pgd : The same with a random start and a choice of norm and loss.

    Notes
    -----
    Cost: a forward and a backward pass per step, and a forward pass, two without y.
    Samples that stay cost nothing more. Gradients are rescaled as in `fgsm`.

    References
    ----------
    Kurakin, Goodfellow, Bengio (2017), "Adversarial Examples in the Physical World",
    Sec. 2.2, where the step is one of 255 levels.

    Feinman et al. (2017), "Detecting Adversarial Samples from Artifacts", Sec. 2.3
    (BIM-A and BIM-B).

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import bim
    >>> model = torch.nn.Linear(2, 2)
    >>> bim(model, [[0.5, 0.5]], eps=0.25).linf.tolist()
    [0.25]
    """
    perturb = partial(
        descend,
        ball=LinfBall(eps),
        step_size=step_size,
        n_steps=n_steps,
        stop_at_success=stop_at_success,
    )
    return run_attack(
        perturb, model, X, y, target, bounds, batch_size, device, random_state
    )
