"""The attack of Carlini and Wagner."""

from numbers import Integral, Real

from .._compat import Interval, validate_params
from ._foolbox import run_foolbox
from ._library import LIMITS, import_library


@validate_params(
    {
        **LIMITS,
        "binary_search_steps": [Interval(Integral, 1, None, closed="left")],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "step_size": [Interval(Real, 0, None, closed="neither")],
        "confidence": [Interval(Real, 0, None, closed="left")],
        "initial_const": [Interval(Real, 0, None, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def carlini_wagner(
    model,
    X,
    y=None,
    *,
    target=None,
    binary_search_steps=6,
    n_steps=200,
    step_size=0.05,
    confidence=0.0,
    initial_const=0.1,
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
        The classes to reach; None for any but y.
    binary_search_steps : int, default=6
        How many constants :math:`c` are tried; they grow tenfold until one succeeds.
    n_steps : int, default=200
        Steps of Adam for each constant.
    step_size : float, default=0.05
        The learning rate of Adam, in the space of the inverse hyperbolic tangents of
        the values.
    confidence : float, default=0.0
        The lead :math:`\kappa` in logits that the new class is to have.
    initial_const : float, default=0.1
        The first constant.
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
        With ``X_adv``, the ``success`` mask and the size of the changes. Where no
        constant succeeded, the input is the clean one.

    Raises
    ------
    ImportError
        If foolbox is not installed.

    See Also
    --------
    foolbox_attack : Any attack of foolbox, and what bounds mean for all of them.

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
    foolbox = import_library("foolbox")
    attack = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=binary_search_steps,
        steps=n_steps,
        stepsize=step_size,
        confidence=confidence,
        initial_const=initial_const,
        abort_early=False,
    )
    return run_foolbox(
        lambda n_rows: attack,
        model,
        X,
        y,
        eps=None,
        target=target,
        bounds=bounds,
        batch_size=batch_size,
        device=device,
        random_state=random_state,
    )
