"""Projected gradient descent against a classifier and its detector together."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._several import Several, only_one
from ..torch_engine.model_state import check_finite_gradients, unwrap_model
from ..torch_engine.scaling import unit
from ..torch_engine.smooth_relu import SmoothReLU
from ._balls import LinfBall, per_sample
from ._base import POSITIVE_INTEGER, SHARE, checked, run_attack
from ._descent import goal_cotangent
from ._detector_features import DetectorFeatures, check_pipeline
from ._detector_score import DetectorScore
from ._inputs import checked_inputs

# Random points of a sample's ball, to estimate the spread of its features.
_N_PROBES = 8


@checked(detector_weight=[SHARE], n_draws=[POSITIVE_INTEGER, None])
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
    softplus_beta=10.0,
    n_draws=None,
    target=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Projected gradient descent that fools a classifier and its detector.

    While an input is not misclassified the attack follows the loss, as `pgd` does; from
    then on the score of the detector, and the loss again where that loses the
    misclassification:

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
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The clean inputs, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    detector : Pipeline
        A fitted pipeline. Its first step is one of the library's transformers over
        this model, or a FeatureUnion of them; the others are any that end in an
        outlier detector with scores or in a binary classifier of anomalies. A
        ConformalDetector, FrozenEstimator or search around such a pipeline is taken.
    eps : float
        Largest change of a value, in units of X.
    detector_weight : float, default=1.0
        The weight w of the detector once the classifier is fooled, in [0, 1].
    step_size : float, default=None
        The first step :math:`\alpha_1`; the others shrink linearly towards 0. None
        for 4 eps / ``n_steps``, so that all steps together cross the ball once.
    n_steps : int, default=40
        Number of steps, all of which are taken.
    softplus_beta : float, default=10.0
        Sharpness of the Softplus that lends ReLU its second derivative, see Notes.
    n_draws : int, default=None
        Over how many patterns of noise the features are averaged, drawn again at each
        step: for an attacker who does not know the pattern that `Stability` drew for
        the detector. None is for one who does.
    target : int, array-like of int, {"random", "least_likely"} or None, default=None
        The classes to reach; "random" excludes y, None is any other than y.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the starts, points to estimate the spread of features, random targets.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes. Success is
        that the classifier is fooled; ``detector.predict(X_adv)`` shows the detector.

    See Also
    --------
    cosine_similarity_attack : Paper B's own attack on its features.
    pgd : Against the classifier alone.

    Notes
    -----
    The gradient of the features is exact, but for signs, which have no derivative: with
    ``sign=True`` it is that of the cosines of the gradients themselves. ReLU gets the
    second derivative of Softplus and keeps its values and its first derivative;
    compiled or scripted models keep their ReLU. The rounding of `Stability` gets the
    derivative 1 (straight-through, backward pass differentiable approximation); what
    users' functions do is differentiated as autograd does.

    The gradient of the score with respect to the features is by central differences,
    as the detector may be anything. Their width is the standard deviation of the
    feature over 8 random points of the sample's ball: wide enough to see over the steps
    of a histogram. Where the score is flat all the same, the features are drawn towards
    those of the clean input.

    With ``n_draws`` the attack follows the expectation over the noise, estimated again
    at each step (expectation over transformation). Changes other than noise are known.

    Cost per step and draw: the features and their gradient (about twice as much again).
    Per step: two scores of the detector per feature and sample. Parameters without a
    rule (see ``ConfoundingGradientTransformer.routes_``) take one pass per sample. All
    class gradients of a batch are in memory together.

    References
    ----------
    Athalye, Carlini, Wagner (2018), "Obfuscated Gradients Give a False Sense of
    Security", Sec. 4.1 (straight-through), Sec. 4.2 (expectation over transformation).

    Carlini, Wagner (2017), "Adversarial Examples Are Not Easily Detected: Bypassing
    Ten Detection Methods".

    Bryniarski et al. (2022), "Evading Adversarial Example Detection Defenses with
    Orthogonal Projected Gradient Descent" (selective steps).

    Examples
    --------
    >>> import torch
    >>> import skgrad
    >>> model, X = torch.nn.Linear(2, 3), torch.rand(100, 2)
    >>> detector = skgrad.make_uniform_detector(model, "logits").fit(X)
    >>> skgrad.attacks.adaptive_pgd(model, X[:5], detector=detector, eps=0.1).linf.shape
    (5,)
    """
    unwrap_model(model)  # an error about the model comes before one about the detector
    if isinstance(X := checked_inputs(X), Several):
        raise TypeError(only_one(X))
    pipeline, random_state = check_pipeline(detector), check_random_state(random_state)
    perturb = _AdaptiveDescent(
        DetectorFeatures(pipeline[0], model, n_draws, random_state),
        DetectorScore(pipeline[1:]),
        ball=LinfBall(eps),
        step_size=4 * eps / n_steps if step_size is None else step_size,
        n_steps=n_steps,
        weight=detector_weight,
        beta=softplus_beta,
        random_state=random_state,
    )
    return run_attack(
        perturb, model, X, y, target, bounds, batch_size, device, random_state
    )


@dataclass
class _AdaptiveDescent:
    """The steps of the attack on one batch."""

    features: DetectorFeatures
    score: DetectorScore
    ball: LinfBall
    step_size: float
    n_steps: int
    weight: float
    beta: float
    random_state: np.random.RandomState

    def __call__(self, batch):
        self.features.check(batch.module, batch.x)
        self.features.restart()
        self.score.template = self.features.first_step.transform(batch.x[:1])
        # All points of one sample together, so that they do not depend on batch_size.
        several = batch.x[:, None].expand(-1, 1 + _N_PROBES, *batch.x.shape[1:])
        noise = self.ball.draw(self.random_state, several).unbind(dim=1)
        x, *probes = (batch.clip(batch.x + change) for change in noise)
        clean = self._values(batch, batch.x)
        widths = np.std([self._values(batch, probe) for probe in probes], axis=0)
        best = _BestIterates(batch)
        for step in range(self.n_steps):
            direction = self._direction(batch, x, clean, widths, best)
            # Steps that stay long jump over where both are fooled.
            size = self.step_size * (1 - step / self.n_steps)
            x = batch.clip(self.ball.project(x + size * direction.sign(), batch.x))
        reached = batch.reached(batch.logits(x))
        best.update(x, reached, self.score(self._values(batch, x)))
        return best.x

    def _values(self, batch, x):
        return self.features.values(batch.module, x).cpu().numpy()

    def _direction(self, batch, x, clean, widths, best):
        """Return the direction of the next step, and let x compete for the best."""
        # ReLU has no second derivative, which features made of gradients need.
        with torch.enable_grad(), SmoothReLU(self.beta):
            leaf = x.clone().requires_grad_(True)
            features, logits = self.features.recorded(batch.module, leaf)
        values = features.detach().cpu().numpy()
        reached = batch.reached(logits)
        best.update(x, reached, self.score(values))
        (direction,) = torch.autograd.grad(
            logits, leaf, goal_cotangent(batch, logits.detach()), retain_graph=True
        )
        batch.monitor.update(direction)
        direction = unit(check_finite_gradients(direction)).to(x)
        # Selective steps (Bryniarski et al.): the detector counts where the
        # classifier is fooled. The sum of both from the start fools it less often.
        if self.weight and reached.any():
            cotangent = np.zeros_like(values)
            rows = reached.cpu().numpy()
            cotangent[rows] = score_cotangent(
                self.score, values[rows], clean[rows], widths[rows]
            )
            (climb,) = torch.autograd.grad(
                features, leaf, torch.as_tensor(cotangent).to(features)
            )
            mixed = (1 - self.weight) * direction + self.weight * unit(climb).to(x)
            direction = torch.where(per_sample(reached, x), mixed, direction)
        return check_finite_gradients(direction)


def score_cotangent(score, values, clean, widths):
    """Return the directions in which the features of some samples raise the score.

    ``values`` are the features now, ``clean`` those of the clean inputs, and ``widths``
    their spread. The largest entry of a direction is 1 in size, unless all are 0.
    """
    directions = score.gradient(values, widths)
    flat = ~directions.any(axis=1)
    # In units of the widths, as for a Gaussian; features that do not move get 0.
    scale = np.where(widths == 0, np.inf, widths)[flat]
    directions[flat] = (clean[flat] - values[flat]) / scale / scale
    # Scaled, because squares of tiny derivatives underflow in the backward pass.
    size = np.abs(directions).max(axis=1, keepdims=True)
    return directions / np.where(size == 0, 1, size)


class _BestIterates:
    """The best iterate of each sample: one that reaches the goal, then by score."""

    def __init__(self, batch):
        self.x = batch.x.clone()
        self._reached = np.zeros(len(self.x), dtype=bool)
        self._scores = np.full(len(self.x), -np.inf)

    def update(self, x, reached, scores):
        """Replace the iterates where x is better."""
        reached = reached.cpu().numpy()
        higher = (reached == self._reached) & (scores > self._scores)
        better = (reached & ~self._reached) | higher
        self._reached[better], self._scores[better] = reached[better], scores[better]
        rows = torch.as_tensor(better, device=x.device)
        self.x[rows] = x[rows]
