"""Paper B's adaptive attack on the geometry of input gradients."""

from functools import partial
from numbers import Real

import torch
from sklearn.utils import check_random_state
from torch.nn import functional as F  # noqa: N812

from .._compat import Interval, validate_params
from ..torch_engine.input_gradients import (
    Maps,
    cosine_statistics,
    recorded_cosines,
    recorded_logits,
)
from ..torch_engine.model_state import check_finite
from ..torch_engine.smooth_relu import SmoothReLU
from ._balls import LinfBall
from ._base import CONSTRAINTS, POSITIVE, run_attack
from ._descent import N_STEPS, descend


@validate_params(
    {
        **CONSTRAINTS,
        "eps": [POSITIVE],
        "cosine_weight": [Interval(Real, 0, 1, closed="both")],
        "step_size": [POSITIVE, None],
        "n_steps": [N_STEPS],
        "softplus_beta": [POSITIVE],
        "random_start": ["boolean"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def cosine_similarity_attack(
    model,
    X,
    y=None,
    *,
    eps,
    cosine_weight=0.8,
    step_size=None,
    n_steps=100,
    softplus_beta=10.0,
    random_start=True,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Cosine similarity attack (CSA): leave the class, keep the gradients in order.

    Paper B tells untrustworthy inputs by input gradients that point apart, those of
    the classes that were not predicted. This attack on its detector looks for inputs
    that are misclassified and whose gradients agree. It climbs

    .. math:: w \frac{1}{|S_1|} \sum_{(i, j) \in S_1} \cos(\nabla_x L_i, \nabla_x L_j)
              + (1 - w) L_y, \qquad L_i = \mathrm{CE}(F(x), i),

    by projected signed steps as `pgd` does, with :math:`S_1` the pairs of classes
    without the predicted one, which is asked for anew at each step.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier under attack, with 3 or more classes, returning logits. It is
        never changed.
    X : array-like of shape (n_samples, *input_shape)
        Clean inputs.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    eps : float
        Largest change of a value, in units of X.
    cosine_weight : float, default=0.8
        The weight :math:`w` of the cosines, in [0, 1]; 0.8 in paper B.
    step_size : float, default=None
        The step; None for eps / 4, as in paper B.
    n_steps : int, default=100
        Number of steps, all of which are taken; 100 in paper B.
    softplus_beta : float, default=10.0
        Sharpness of the Softplus :math:`\log(1 + e^{\beta x}) / \beta` that stands in
        for ReLU during the steps. Small values give smooth gradients of another
        network, large ones those of the network with little curvature.
    random_start : bool, default=True
        Start at a uniform random point of the ball instead of X.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest legal value, such as per channel of shape (c, 1, 1).
    batch_size : int, default=128
        Samples per batch; changes no result beyond rounding.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the start.

    Returns
    -------
    AttackResult
        With ``X_adv``, the ``success`` mask and the size of the changes. Success means
        that the model itself, with its own ReLU, is fooled; what the detector thinks
        of ``X_adv``, its ``predict`` tells.

    Raises
    ------
    ValueError
        If the model has fewer than 3 classes, or an input or option is not legal.

    See Also
    --------
    adaptive_pgd : Against any detector of these, and far more often successful.

    Notes
    -----
    Cost per step: one forward pass, one backward pass to the input for each class, and
    about twice all that to differentiate them. Memory grows with the number of classes;
    lower ``batch_size`` where it does not suffice.

    The paper's saliency maps are signs, which have no derivative: what is climbed are
    the cosines of the gradients themselves. The second derivative of ReLU is 0, so
    Softplus takes the place of `torch.nn.ReLU`, `torch.nn.functional.relu`,
    `torch.relu` and ``Tensor.relu`` during the steps, as in the paper, which does not
    tell its beta; other activations stay, and compiled or scripted models keep their
    ReLU. The two terms are added as they are, cosines in [-1, 1] and the unbounded
    cross-entropy. Where the network is sure, the second has next to no gradient beside
    the first: in the paper 6 to 14 percent of the inputs were misclassified, here on
    MNIST most.

    References
    ----------
    Schwinn et al. (2021), "Identifying Untrustworthy Predictions in Neural Networks by
    Geometric Gradient Analysis", Eq. 5 and Sec. 5.3.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import cosine_similarity_attack
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)
    ... )
    >>> result = cosine_similarity_attack(
    ...     model, [[0.5, 0.5]], eps=0.25, n_steps=3, random_state=0
    ... )
    >>> result.X_adv.shape
    (1, 2)
    """
    start = check_random_state(random_state) if random_start else None
    perturb = partial(
        _climb,
        eps=eps,
        step_size=eps / 4 if step_size is None else step_size,
        n_steps=n_steps,
        weight=cosine_weight,
        beta=softplus_beta,
        start=start,
    )
    return run_attack(
        perturb,
        model,
        X,
        y,
        bounds=bounds,
        batch_size=batch_size,
        device=device,
        random_state=start,
    )


def _climb(batch, *, eps, step_size, n_steps, weight, beta, start):
    """Take the steps on one batch."""
    ball, moved = LinfBall(eps), batch.x
    if start is not None:
        moved = batch.within(moved + ball.draw(start, moved))
    return descend(
        batch,
        moved,
        ball=ball,
        step_size=step_size,
        n_steps=n_steps,
        ascent=partial(_ascent, weight=weight, beta=beta),
    )


def _ascent(batch, x, *, weight, beta):
    """Return the gradient of the objective, and the logits."""
    with torch.enable_grad(), SmoothReLU(beta, exact=False):
        leaf = x.clone().requires_grad_(True)
        logits = recorded_logits(batch.module, leaf)
        _check_classes(logits)
        matrices, predicted = recorded_cosines(logits, leaf, Maps(sign=False))
        mean_of_others = cosine_statistics(matrices, predicted)[:, 0]
        loss = F.cross_entropy(logits, batch.classes, reduction="none")
        objective = weight * mean_of_others + (1 - weight) * loss
        (gradient,) = torch.autograd.grad(objective.sum(), leaf)
    batch.watch.see(gradient)
    return check_finite(gradient), logits.detach()


def _check_classes(logits):
    if logits.shape[1] < 3:
        raise ValueError(
            "model must have 3 or more classes, so that there are pairs without the "
            f"predicted one; it has {logits.shape[1]}. Use pgd."
        )
