"""Projected gradient descent against a classifier and its detector together."""

from numbers import Real

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._compat import Interval, validate_params
from ..torch_engine.input_gradients import recorded_logits
from ..torch_engine.model_state import check_finite, unwrap_model
from ..torch_engine.smooth_relu import SmoothReLU
from ._balls import L2Ball, LinfBall, per_sample
from ._base import CONSTRAINTS, POSITIVE, run_attack
from ._descent import N_STEPS, goal_cotangent
from ._detector_features import DetectorFeatures, find_pipeline
from ._detector_score import DetectorScore

# Random points of a sample's ball by which the spread of its features is told.
_N_PROBES = 8


@validate_params(
    {
        **CONSTRAINTS,
        "detector": "no_validation",
        "eps": [POSITIVE],
        "detector_weight": [Interval(Real, 0, 1, closed="both")],
        "step_size": [POSITIVE, None],
        "n_steps": [N_STEPS],
        "softplus_beta": [POSITIVE],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def adaptive_pgd(
    model,
    X,
    y=None,
    *,
    detector,
    eps,
    detector_weight=1.0,
    step_size=None,
    n_steps=40,
    target=None,
    softplus_beta=10.0,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Projected gradient descent that fools a classifier and its detector.

    A detector that was only tried on attacks that do not know it may owe its figures
    to that. Here it is known. While an input is not misclassified the attack follows
    the loss, as `pgd` does; from then on the score of the detector, and the loss again
    where that loses the misclassification:

    .. math:: x_{t+1} = \Pi_\epsilon\left(x_t + \alpha_t \operatorname{sgn}
              \left((1 - w) \frac{\nabla_x L}{|\nabla_x L|}
              + w \frac{\nabla_x s}{|\nabla_x s|}\right)\right)

    with w = 0 while the prediction is right and ``detector_weight`` otherwise, the
    loss L, the score s of the detector (the higher, the more trusted), and
    :math:`\Pi_\epsilon` the projection on the ball of the maximum norm and the bounds.
    Of all iterates the misclassified one with the highest score is returned, or where
    none is misclassified the one with the highest score.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier under attack, returning logits. It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        Clean inputs.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    detector : Pipeline
        A fitted pipeline. Its first step is one of the library's transformers over
        this model, or a FeatureUnion of them; the others are any that end in an
        outlier detector with scores or in a binary classifier of anomalies. A
        ConformalDetector, FrozenEstimator or search around such a pipeline will do.
    eps : float
        Largest change of a value, in units of X.
    detector_weight : float, default=1.0
        The weight of the detector once the classifier is fooled, in [0, 1]. 0 leaves
        the detector's score to choose among the iterates alone.
    step_size : float, default=None
        The first step :math:`\alpha_1`; the others shrink linearly towards 0, because
        steps that stay long jump over where both are fooled. None for 4 eps /
        ``n_steps``: together they then cross the ball once.
    n_steps : int, default=40
        Number of steps, all of which are taken.
    target : int, array-like of int, str or None, default=None
        The classes to reach: one for all, one per sample, "random" or "least_likely".
        None for any but y.
    softplus_beta : float, default=10.0
        Sharpness of the Softplus that lends ReLU its second derivative, see Notes.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest legal value, such as per channel of shape (c, 1, 1).
    batch_size : int, default=128
        Samples per batch; changes no result beyond rounding, which in float32 may turn
        the sign of a step.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the starts, the points that tell how far features spread, and random
        targets.

    Returns
    -------
    AttackResult
        With ``X_adv``, the ``success`` mask and the size of the changes. Success means
        that the classifier is fooled. Whether the detector is too, its ``predict`` on
        ``X_adv`` tells: +1 where it is.

    Raises
    ------
    TypeError
        If the detector is no such pipeline, or has no scores.
    sklearn.exceptions.NotFittedError
        If the detector is not fitted.
    ValueError
        If the detector is one of another model, its features cannot be differentiated,
        or an input or option is not legal.

    See Also
    --------
    cosine_similarity_attack : Paper B's own attack on its features.
    pgd : Against the classifier alone.

    Notes
    -----
    The gradient of the score is the product of two. That of the features with respect
    to the input is exact: activations by autograd, norms of parameter gradients and
    cosines of input gradients by differentiating gradients. Signs have no derivative;
    for ``sign=True`` that of the cosines of the gradients themselves stands in, at the
    values of the signs. Nor has ReLU a second derivative; it gets that of Softplus
    with ``softplus_beta``, called as module, function or method of that name, and keeps
    its values and its first derivative. Compiled or scripted models keep their ReLU.

    That of the score with respect to the features is by central differences, as the
    detector may be anything. Their width is the standard deviation of the feature over
    8 random points of the sample's ball: wide enough to see over the steps of a
    histogram, and of the size of the changes that are made. Where the score is flat
    all the same, the features are drawn towards those of the clean input.

    Cost per step: the features, their gradient (about twice as much again), and two
    scores of the detector per feature and sample. Parameters without a rule (see
    ``ConfoundingGradientTransformer.routes_``) take one pass per sample. All class
    gradients of a batch are in memory together; lower ``batch_size`` where they do not
    fit.

    A sum of both gradients from the start left up to four in five digits classified
    rightly. Once the classifier is fooled a ``detector_weight`` of 1 did best on MNIST,
    one of 0.5 to 0.75 a little better on digits.

    References
    ----------
    Carlini, Wagner (2017), "Adversarial Examples Are Not Easily Detected: Bypassing
    Ten Detection Methods".

    Bryniarski et al. (2022), "Evading Adversarial Example Detection Defenses with
    Orthogonal Projected Gradient Descent" (selective steps).

    Examples
    --------
    >>> import torch
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgrad import LODA, LayerActivationTransformer
    >>> from skgrad.attacks import adaptive_pgd
    >>> model = torch.nn.Linear(2, 3)
    >>> X = torch.rand(100, 2)
    >>> detector = make_pipeline(LayerActivationTransformer(model), LODA()).fit(X)
    >>> result = adaptive_pgd(
    ...     model, X[:5], detector=detector, eps=0.25, n_steps=3, random_state=0
    ... )
    >>> detector.predict(result.X_adv).shape
    (5,)
    """
    random_state = check_random_state(random_state)
    perturb = _Descent(
        *_take_apart(detector, model),
        eps=eps,
        step_size=4 * eps / n_steps if step_size is None else step_size,
        n_steps=n_steps,
        weight=detector_weight,
        beta=softplus_beta,
        random_state=random_state,
    )
    return run_attack(
        perturb,
        model,
        X,
        y,
        bounds=bounds,
        batch_size=batch_size,
        device=device,
        target=target,
        random_state=random_state,
    )


def _take_apart(detector, model):
    """Return the features of a detector and its score as a function of them."""
    unwrap_model(model)  # what is no model is told first
    pipeline = find_pipeline(detector)
    return DetectorFeatures(pipeline[0], model), DetectorScore(pipeline[1:])


class _Descent:
    """The steps of the attack on one batch."""

    def __init__(
        self, features, score, *, eps, step_size, n_steps, weight, beta, random_state
    ):
        self.features = features
        self.score = score
        self.ball = LinfBall(eps)
        self.step_size = step_size
        self.n_steps = n_steps
        self.weight = weight
        self.beta = beta
        self.random_state = random_state

    def __call__(self, batch):
        self.features.check(batch.module, batch.x)
        self.score.take_form_of(self.features.extract.transform(batch.x[:1]))
        moved, *probes = self._draw(batch, 1 + _N_PROBES)
        aim = _Aim(
            self.score,
            home=self._values(batch, batch.x),
            widths=np.std([self._values(batch, probe) for probe in probes], axis=0),
        )
        best = _Best(batch)
        for step in range(self.n_steps):
            direction = self._direction(batch, moved, aim, best)
            size = self.step_size * (1 - step / self.n_steps)
            moved = self.ball.project(moved + size * direction.sign(), batch.x)
            moved = batch.within(moved)
        logits = batch.logits(moved)
        best.update(
            moved, batch.reached(logits), self.score(self._values(batch, moved))
        )
        return best.x

    def _draw(self, batch, n_points):
        """Draw points of each sample's ball, sample after sample."""
        # All points of one sample together: the same whatever the batch size.
        several = batch.x[:, None].expand(-1, n_points, *batch.x.shape[1:])
        noise = self.ball.draw(self.random_state, several)
        return [batch.within(batch.x + one) for one in noise.unbind(dim=1)]

    def _values(self, batch, x):
        return self.features.values(batch.module, x).cpu().numpy()

    def _direction(self, batch, x, aim, best):
        """Return the direction of the next step, having noted where this one is."""
        with torch.enable_grad(), SmoothReLU(self.beta):
            leaf = x.clone().requires_grad_(True)
            features = self.features.recorded(batch.module, leaf)
            logits = recorded_logits(batch.module, leaf)
        values = features.detach().cpu().numpy()
        reached = batch.reached(logits)
        best.update(x, reached, self.score(values))
        (direction,) = torch.autograd.grad(
            logits, leaf, goal_cotangent(batch, logits.detach())
        )
        batch.watch.see(direction)
        direction = _unit(check_finite(direction))
        if self.weight and reached.any():
            slopes = torch.as_tensor(aim.slopes(values, reached.cpu().numpy()))
            (climb,) = torch.autograd.grad(features, leaf, slopes.to(features))
            mixed = (1 - self.weight) * direction + self.weight * _unit(climb)
            direction = torch.where(per_sample(reached, x), mixed, direction)
        return check_finite(direction)


# Gradients at length 1; one that vanishes stays 0.
_unit = L2Ball(1).direction


class _Aim:
    """Where the features of a batch are to go.

    Parameters
    ----------
    score : DetectorScore
        What is to rise.
    home : ndarray of shape (n_samples, n_features)
        The features of the clean inputs.
    widths : ndarray of shape (n_samples, n_features)
        How far they spread.
    """

    def __init__(self, score, *, home, widths):
        self._score, self._home, self._widths = score, home, widths

    def slopes(self, values, wanted):
        """Return the direction (n_samples, n_features) for the samples wanted."""
        slopes = np.zeros_like(values)
        values, widths = values[wanted], self._widths[wanted]
        found = self._score.slopes(values, widths)
        flat = ~found.any(axis=1)
        scale = np.where(widths == 0, np.inf, widths)[flat]
        found[flat] = (self._home[wanted][flat] - values[flat]) / scale / scale
        size = np.abs(found).max(axis=1, keepdims=True)
        slopes[wanted] = found / np.where(size == 0, 1, size)
        return slopes


class _Best:
    """The best iterate of each sample: goal reached before score.

    Attributes
    ----------
    x : Tensor of shape (n_samples, *input_shape)
        The iterates.
    """

    def __init__(self, batch):
        self.x = batch.x.clone()
        self._reached = np.zeros(len(self.x), dtype=bool)
        self._scores = np.full(len(self.x), -np.inf)

    def update(self, x, reached, scores):
        """Take over where x is better."""
        reached = reached.cpu().numpy()
        higher = (reached == self._reached) & (scores > self._scores)
        better = (reached & ~self._reached) | higher
        self._reached[better], self._scores[better] = reached[better], scores[better]
        where = torch.as_tensor(better, device=x.device)
        self.x[where] = x[where]
