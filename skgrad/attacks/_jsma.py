"""The saliency map attack."""

from numbers import Real

from .._compat import Interval, validate_params
from ._art import art_attack
from ._library import LIMITS


@validate_params(
    {
        **LIMITS,
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
    target=None,
    theta=0.1,
    gamma=1.0,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    """Change few values, those that speak most for another class (JSMA).

    In each step the two values with the largest gradient of the target's logit are
    changed by ``theta``, until the model predicts the target or too many values have
    been changed.

    Needs the extra: ``pip install "skgrad[attacks]"``.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier under attack, returning logits. It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        Clean inputs.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    target : int, array-like of int, "random", "least_likely" or None, default=None
        The classes to reach. The attack always aims at one: None draws it, and counts
        any class but y as a success.
    theta : float, default=0.1
        Change of a value per step; negative ones darken.
    gamma : float, default=1.0
        Largest share of the values that may be changed.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest legal value, such as per channel of shape (c, 1, 1).
    batch_size : int, default=128
        Samples per batch; changes no result beyond rounding.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws random targets.

    Returns
    -------
    AttackResult
        With ``X_adv``, the ``success`` mask and the size of the changes.

    Raises
    ------
    ImportError
        If the Adversarial Robustness Toolbox is not installed.

    See Also
    --------
    art_attack : Any attack of the toolbox, and what bounds mean for all of them.

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
