"""The saliency map attack."""

from numbers import Real

from .._compat import Interval, validate_params
from ._art import art_attack
from ._base import CONSTRAINTS


@validate_params(
    {
        **CONSTRAINTS,
        "theta": [Real],
        "gamma": [Interval(Real, 0, 1, closed="right")],
    },
    prefer_skip_nested_validation=True,
)
def jsma(
    model,
    X,
    y=None,
    *,
    theta=0.1,
    gamma=1.0,
    target=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    """Jacobian-based saliency map attack: change few values, each by much.

    In each step the two values with the largest gradient of the target's logit are
    changed by ``theta``, until the model predicts the target or too many values have
    been changed.

    Needs the Adversarial Robustness Toolbox: ``pip install "skgrad[attacks]"``.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The clean inputs, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    theta : float, default=0.1
        Change of a value per step; negative ones darken.
    gamma : float, default=1.0
        Largest share of the values that may be changed.
    target : int, array-like of int, {"random", "least_likely"} or None, default=None
        The classes to reach. The attack always aims at one: None draws it, and counts
        any other than y as a success.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device. Another one works on a
        private copy.
    random_state : int, RandomState instance or None, default=None
        Draws random targets.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes.

    See Also
    --------
    art_attack : Any attack of the toolbox, and the units of its parameters.

    Notes
    -----
    Cost: a forward and a backward pass per step and distinct target in the batch.

    This is the toolbox's SaliencyMapMethod. It differs from the paper in that a value
    is chosen by the gradient of the target's logit alone, not also by that of the other
    classes. Its random targets are drawn per class; here they are drawn per input.

    References
    ----------
    Papernot et al. (2016), "The Limitations of Deep Learning in Adversarial Settings",
    Sec. III.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import jsma
    >>> model = torch.nn.Linear(3, 2, bias=False)
    >>> weight = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.5]])
    >>> model.weight = torch.nn.Parameter(weight)
    >>> jsma(model, [[0.8, 0.5, 0.2]], target=1, theta=0.25).X_adv.tolist()
    [[0.800000..., 0.75, 0.449999...]]
    """
    return art_attack(
        model,
        X,
        y,
        attack="SaliencyMapMethod",
        options={"theta": theta, "gamma": gamma},
        target=target,
        bounds=bounds,
        batch_size=batch_size,
        device=device,
        random_state=random_state,
    )
