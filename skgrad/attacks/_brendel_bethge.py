"""The attack of Brendel and Bethge."""

from numbers import Integral, Real

from .._compat import Interval, StrOptions, validate_params
from ._foolbox import EPS, run_foolbox
from ._library import LIMITS, import_library

_NORMS = {"linf": "LinfinityBrendelBethgeAttack", "l2": "L2BrendelBethgeAttack"}


@validate_params(
    {
        **LIMITS,
        **EPS,
        "norm": [StrOptions(set(_NORMS))],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def brendel_bethge(
    model,
    X,
    y=None,
    *,
    norm="linf",
    eps=None,
    target=None,
    n_steps=100,
    learning_rate=0.001,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    """Follow the decision boundary to the point that is nearest to the input.

    The attack starts far away, at an input that reaches the goal, and walks along the
    boundary by steps within a trust region. Its results lie on the boundary: the model
    is as unsure of them as can be.

    Needs the extra: ``pip install "skgrad[attacks]"``.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier under attack, returning logits. It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        Clean inputs.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    norm : {"linf", "l2"}, default="linf"
        What is made small: the largest change of a value or the Euclidean length.
    eps : float, default=None
        Largest change that counts as a success, in that norm. Larger ones are cut back
        to it and fail where that leads back to the class.
    target : int, array-like of int, "random", "least_likely" or None, default=None
        The classes to reach; None for any but y.
    n_steps : int, default=100
        Number of steps; 100 in paper B.
    learning_rate : float, default=0.001
        Radius of the trust region, as a share of the range times the number of values;
        0.001 in paper B.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest legal value, such as per channel of shape (c, 1, 1).
    batch_size : int, default=128
        Samples per batch; changes no result beyond rounding.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the noise that the attack starts from, and random targets.

    Returns
    -------
    AttackResult
        With ``X_adv``, the ``success`` mask and the size of the changes. An input for
        which no starting point was found is the clean one.

    Raises
    ------
    ImportError
        If foolbox or numba is not installed.

    See Also
    --------
    foolbox_attack : Any attack of foolbox, and what bounds mean for all of them.

    Notes
    -----
    The first call of a process compiles the solver, which takes up to a minute per
    norm. Each step then costs a forward and a backward pass, and a small optimisation
    per input on the CPU.

    foolbox multiplies the trust region by the number of samples in the batch, so that
    its results depend on it. Here each sample gets the region that it would have alone.
    So paper B's rate of 0.001, if its authors ran foolbox on batches of 100, is 0.1
    here: then fewer steps lead farther, above all in the Euclidean norm. The rate is
    halved 20 times in the course of the steps; with much fewer than 100 it shrinks
    before the attack gets anywhere. The starting points are described in
    `foolbox_attack`.

    References
    ----------
    Brendel, Rauber, Kuemmerer, Ustyuzhaninov, Bethge (2019), "Accurate, reliable and
    fast robustness evaluation", Sec. 3.
    """
    foolbox = import_library("foolbox")
    import_library("numba")
    attack = getattr(foolbox.attacks, _NORMS[norm])

    def make(n_rows):
        return attack(steps=n_steps, lr=learning_rate / n_rows)

    return run_foolbox(
        make,
        model,
        X,
        y,
        eps=eps,
        target=target,
        bounds=bounds,
        batch_size=batch_size,
        device=device,
        random_state=random_state,
    )
