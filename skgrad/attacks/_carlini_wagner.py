"""The attack of Carlini and Wagner."""

from numbers import Real

from .._compat import Interval
from ._base import POSITIVE, POSITIVE_INTEGER, checked
from ._foolbox import run_foolbox
from ._library import import_library


@checked(
    confidence=[Interval(Real, 0, None, closed="left")],
    initial_const=[POSITIVE],
    binary_search_steps=[POSITIVE_INTEGER],
    learning_rate=[POSITIVE],
)
def carlini_wagner(
    model,
    X,
    y=None,
    *,
    confidence=0.0,
    initial_const=0.1,
    binary_search_steps=6,
    n_steps=200,
    learning_rate=0.05,
    target=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Seek the smallest change in the Euclidean norm that reaches the goal.

    .. math:: \min_\delta \|\delta\|_2^2
              + c\,\max(0, z_y - \max_{j \ne y} z_j + \kappa)

    over changes :math:`\delta` within the bounds, with the logits :math:`z` of
    :math:`x + \delta` and the smallest constant :math:`c` that a binary search finds.
    With a target the roles of y and the others are swapped.

    Needs foolbox: ``pip install ".[attacks]"``.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The clean inputs, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    confidence : float, default=0.0
        The lead :math:`\kappa` in logits that the new class is to have.
    initial_const : float, default=0.1
        The first constant :math:`c`.
    binary_search_steps : int, default=6
        How many constants are tried; they grow tenfold until one succeeds.
    n_steps : int, default=200
        Steps of Adam for each constant.
    learning_rate : float, default=0.05
        Learning rate of Adam, for the inverse hyperbolic tangents of the values.
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
        The adversarial inputs, their success and the size of their changes. Inputs for
        which no constant succeeds stay clean.

    See Also
    --------
    foolbox_attack : Any attack of foolbox, and the units of its parameters.

    Notes
    -----
    Cost: ``binary_search_steps * n_steps`` forward and backward passes; the paper has 9
    constants from 0.001 and up to 10,000 steps of size 0.01. This is foolbox's
    L2CarliniWagnerAttack without its early stop, which depends on the whole batch.

    References
    ----------
    Carlini, Wagner (2017), "Towards Evaluating the Robustness of Neural Networks",
    Sec. VI-A.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import carlini_wagner
    >>> carlini_wagner(torch.nn.Linear(2, 2), [[0.5, 0.5]], y=[0]).X_adv.shape
    (1, 2)
    """
    attack = import_library("foolbox").attacks.L2CarliniWagnerAttack(
        binary_search_steps=binary_search_steps,
        steps=n_steps,
        stepsize=learning_rate,
        confidence=confidence,
        initial_const=initial_const,
        abort_early=False,
    )
    shared = (model, X, y, target, bounds, batch_size, device, random_state)
    return run_foolbox(lambda n_rows: attack, None, *shared)
