"""Paper B's adaptive attack on the geometry of input gradients."""

from functools import partial

import torch
from sklearn.utils import check_random_state
from torch.nn.functional import cross_entropy

from ..torch_engine.cosines import Maps, cosine_statistics
from ..torch_engine.model_state import check_finite_gradients
from ..torch_engine.network_pass import NetworkPass, Wanted
from ..torch_engine.smooth_relu import SmoothReLU
from ._balls import LinfBall
from ._base import SHARE, checked, run_attack
from ._descent import descend


@checked(cosine_weight=[SHARE])
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
    r"""Cosine similarity attack (CSA): leave the class, keep the gradients aligned.

    Paper B detects untrustworthy inputs by the input gradients of the classes that were
    not predicted, which point in different directions. This attack on its detector
    looks for misclassified inputs whose gradients agree. It ascends

    .. math:: w \frac{1}{|S_1|} \sum_{(i, j) \in S_1} \cos(\nabla_x L_i, \nabla_x L_j)
              + (1 - w) L_y, \qquad L_i = \mathrm{CE}(F(x), i),

    by projected signed steps as `pgd` does, with :math:`S_1` the pairs of classes
    without the predicted one, which is determined again at each step.

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
    cosine_weight : float, default=0.8
        The weight :math:`w` of the cosines, in [0, 1]; 0.8 in paper B.
    step_size : float, default=None
        The step; None for eps / 4, as in paper B.
    n_steps : int, default=100
        Number of steps, all of which are taken; 100 in paper B.
    softplus_beta : float, default=10.0
        Sharpness of the Softplus :math:`\log(1 + e^{\beta x}) / \beta` that replaces
        ReLU during the steps.
    random_start : bool, default=True
        Start at a uniform random point of the ball instead of X.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the start.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes. Success is
        that the model itself, with its own ReLU, is fooled.

    See Also
    --------
    adaptive_pgd : Against any detector of skgrad, and far more often successful.

    Notes
    -----
    Cost per step: one forward pass, one backward pass to the input for each class, and
    about twice all that to differentiate them. Memory grows with the number of classes,
    of which there must be 3 or more.

    The paper's saliency maps are signs, which have no derivative: the cosines here are
    those of the gradients themselves. The second derivative of ReLU is 0, so Softplus
    replaces it during the steps, as in the paper, which does not give its beta;
    compiled or scripted models keep their ReLU.

    References
    ----------
    Schwinn et al. (2021), "Identifying Untrustworthy Predictions in Neural Networks by
    Geometric Gradient Analysis", Eq. 5 and Sec. 5.3.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import cosine_similarity_attack
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh())
    >>> cosine_similarity_attack(model, [[0.5, 0.5]], eps=0.25, n_steps=3).X_adv.shape
    (1, 2)
    """
    random_state = check_random_state(random_state)
    perturb = partial(
        descend,
        ball=LinfBall(eps),
        step_size=step_size,
        n_steps=n_steps,
        ascent=partial(_ascent, weight=cosine_weight, beta=softplus_beta),
        start=random_state if random_start else None,
    )
    return run_attack(
        perturb, model, X, y, None, bounds, batch_size, device, random_state
    )


def _ascent(batch, x, *, weight, beta):
    """Return the gradient of the objective (paper B, Eq. 5), and the logits."""
    # Not exact: paper B (Sec. 5.3) computes with Softplus altogether.
    with torch.enable_grad(), SmoothReLU(beta, exact=False):
        leaf = x.clone().requires_grad_(True)
        wanted = Wanted(inputs=True, logits=True)
        run = NetworkPass(batch.module, leaf, wanted, create_graph=True)
        logits = run.logits
        if logits.shape[1] < 3:
            raise ValueError(
                "model must have 3 or more classes, so that there are pairs without "
                f"the predicted one; it has {logits.shape[1]}. Use pgd."
            )
        matrices, predicted = run.cosines(Maps(sign=False))
        # The first statistic is the mean over S_1, the pairs without the predicted one.
        mean_of_others = cosine_statistics(matrices, predicted)[:, 0]
        loss = cross_entropy(logits, batch.classes, reduction="none")
        objective = weight * mean_of_others + (1 - weight) * loss
        # The gradient of a sum holds each sample's own gradient.
        (gradient,) = torch.autograd.grad(objective.sum(), leaf)
    batch.monitor.update(gradient)
    return check_finite_gradients(gradient), logits.detach()
