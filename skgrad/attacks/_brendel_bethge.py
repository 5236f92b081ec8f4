"""The attack of Brendel and Bethge."""

from ._base import POSITIVE, checked
from ._foolbox import run_foolbox
from ._library import import_library

_NAMES = {"linf": "LinfinityBrendelBethgeAttack", "l2": "L2BrendelBethgeAttack"}


@checked(eps=[POSITIVE, None], learning_rate=[POSITIVE])
def brendel_bethge(
    model,
    X,
    y=None,
    *,
    eps=None,
    norm="linf",
    n_steps=100,
    learning_rate=0.001,
    target=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    """Follow the decision boundary to the point that is nearest to the input.

    The attack starts at an input that reaches the goal, and walks along the boundary,
    where the model is undecided between two classes, by steps within a trust region.

    Needs foolbox and numba: ``pip install ".[attacks]"``.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The clean inputs, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    eps : float, default=None
        Largest change in the norm; larger ones are cut back to it, and may fail then.
    norm : {"linf", "l2"}, default="linf"
        What is minimised: the largest change of a value or the Euclidean length.
    n_steps : int, default=100
        Number of steps; 100 in paper B.
    learning_rate : float, default=0.001
        Radius of the trust region, as a share of the range times the number of values.
    target : int, array-like of int, {"random", "least_likely"} or None, default=None
        The classes to reach; "random" excludes y, None is any other than y.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the noise from which the attack starts, and random targets.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes. Inputs for
        which no starting point is found stay clean.

    See Also
    --------
    foolbox_attack : Any attack of foolbox, units, starting points.

    Notes
    -----
    The first call compiles the solver, up to a minute per norm. Cost per step: a
    forward and a backward pass, and a small optimisation per input on the CPU.

    foolbox multiplies the trust region by the number of samples in the batch; here each
    sample gets the region that it would have alone. Paper B's rate of 0.001, if run on
    batches of 100, is 0.1 here. The rate is halved 20 times in the course of the steps;
    with much fewer than 100 it shrinks before the attack gets anywhere.

    References
    ----------
    Brendel, Rauber, Kuemmerer, Ustyuzhaninov, Bethge (2019), "Accurate, reliable and
    fast robustness evaluation", Sec. 3.
    """
    foolbox = import_library("foolbox")
    import_library("numba")
    attack = getattr(foolbox.attacks, _NAMES[norm])

    def make(n_rows):
        return attack(steps=n_steps, lr=learning_rate / n_rows)

    shared = (model, X, y, target, bounds, batch_size, device, random_state)
    return run_foolbox(make, eps, *shared)
