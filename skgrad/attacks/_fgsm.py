"""The fast gradient sign method."""

from ._base import checked, run_attack
from ._descent import toward_goal


@checked()
def fgsm(
    model,
    X,
    y=None,
    *,
    eps,
    target=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Fast gradient sign method: one step up the loss.

    .. math:: x' = \mathrm{clip}(x + \epsilon \operatorname{sgn} \nabla_x
              \mathrm{CE}(F(x), y)).

    With a target t it is a step down: minus and :math:`\mathrm{CE}(F(x), t)`.

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

    Notes
    -----
    Cost: two forward passes, three without y, and a backward pass. The gradient is
    rescaled so that it does not vanish where the softmax saturates.

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
        gradient, _ = toward_goal(batch, batch.x)
        return batch.clip(batch.x + eps * gradient.sign())

    return run_attack(
        perturb, model, X, y, target, bounds, batch_size, device, random_state
    )
