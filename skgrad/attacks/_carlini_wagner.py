"""The attack of Carlini and Wagner."""

from numbers import Real

from sklearn.utils import check_random_state

from .._compat import Interval, validate_params
from ._base import CONSTRAINTS, POSITIVE, POSITIVE_INTEGER, run_attack
from ._foolbox import foolbox_perturb
from ._library import draw_seeds, import_library


@validate_params(
    {
        **CONSTRAINTS,
        "confidence": [Interval(Real, 0, None, closed="left")],
        "initial_const": [POSITIVE],
        "binary_search_steps": [POSITIVE_INTEGER],
        "learning_rate": [POSITIVE],
    },
    prefer_skip_nested_validation=True,
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

    over changes :math:`\delta` within the bounds, with logits :math:`z` of
    :math:`x + \delta`, the class to leave :math:`y`, :math:`\kappa` the
    ``confidence`` and a constant :math:`c` that a binary search makes as small as
    the goal allows. With a target the roles are swapped.

    Needs foolbox: ``pip install "skgrad[attacks]"``.

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
        Learning rate of Adam, in the space of the inverse hyperbolic tangents of the
        values.
    target : int, array-like of int, {"random", "least_likely"} or None, default=None
        The classes to reach, for all or for each; "random" draws them from those other
        than y, "least_likely" is that of the clean input. None for any other than y.
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
        Where no constant succeeded, the input is the clean one.

    See Also
    --------
    foolbox_attack : Any attack of foolbox, and the units of its parameters.

    Notes
    -----
    Cost: ``binary_search_steps * n_steps`` forward and backward passes. The defaults
    are far below the paper's (9 constants from 0.001, up to 10,000 steps of size
    0.01), which take an hour where these take a minute.

    This is foolbox's L2CarliniWagnerAttack without its early stop, which looks at the
    loss of the whole batch.

    References
    ----------
    Carlini, Wagner (2017), "Towards Evaluating the Robustness of Neural Networks",
    Sec. VI-A.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import carlini_wagner
    >>> model = torch.nn.Linear(2, 2)
    >>> carlini_wagner(model, [[0.5, 0.5]], y=[0]).X_adv.shape
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
    random_state = check_random_state(random_state)
    seeds = draw_seeds(X, random_state)
    perturb = foolbox_perturb(lambda n_rows: attack, None, seeds)
    return run_attack(
        perturb, model, X, y, target, bounds, batch_size, device, random_state
    )
