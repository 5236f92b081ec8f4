"""Fooling images, noise of the second kind (NS-II) of paper C."""

from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._compat import Interval, validate_params
from ._base import run_attack
from ._library import LIMITS, seed_each

# Generations after which the mutation rate is halved (Nguyen et al., Sec. 2).
HALF_LIFE = 1000


@validate_params(
    {
        **LIMITS,
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "n_generations": [Interval(Integral, 1, None, closed="left")],
        "n_children": [Interval(Integral, 1, None, closed="left")],
        "mutation_rate": [Interval(Real, 0, 1, closed="right")],
        "mutation_strength": [Interval(Real, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def fooling_images(
    model,
    X,
    y=None,
    *,
    target=None,
    confidence=0.999,
    n_generations=5000,
    n_children=1,
    mutation_rate=0.1,
    mutation_strength=15.0,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Evolve noise until the model is sure that it sees a class.

    Each input is the parent of ``n_children`` mutated copies per generation; the best
    of them takes its place if the model gives it more confidence in the target. No
    gradient is taken. A value is mutated with a probability that halves every 1,000
    generations, by the polynomial mutation: with :math:`u` uniform in [0, 1],
    :math:`\eta` the ``mutation_strength`` and :math:`[a, b]` the bounds,

    .. math:: x' = \mathrm{clip}(x + (b - a)\,\delta), \quad
              \delta = \begin{cases} (2u)^{1/(\eta+1)} - 1 & u < 1/2 \\
              1 - (2 - 2u)^{1/(\eta+1)} & u \ge 1/2. \end{cases}

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier to fool, returning logits. It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        What evolution starts from, such as `skgrad.datasets.make_uniform_noise`.
    y : None
        Ignored, here because all attacks have it: noise has no class to leave.
    target : int, array-like of int, "random", "least_likely" or None, default=None
        The class that each input is to reach. None takes the classes in turn; "random"
        any but the one that the model predicts for the start.
    confidence : float, default=0.999
        The softmax probability of the target that is enough; 0.999 in paper C for
        VGG-16 and ResNet, 0.9999 for LeNet.
    n_generations : int, default=5000
        The most generations that an input gets.
    n_children : int, default=1
        Mutated copies per input and generation.
    mutation_rate : float, default=0.1
        Probability of a value to be mutated, in the first 1,000 generations.
    mutation_strength : float, default=15.0
        The index of the polynomial mutation; the higher, the smaller the steps.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest legal value, such as per channel of shape (c, 1, 1).
    batch_size : int, default=128
        Inputs that evolve side by side.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the mutations, and the targets if they are random.

    Returns
    -------
    AttackResult
        ``success`` tells for which inputs the model predicts the target with the
        confidence asked for. The others come as far as they got.

    Notes
    -----
    Cost: at most ``n_generations * n_children`` forward passes per input; those that
    arrive drop out. Inputs evolve apart from one another, each with random numbers of
    its own, so batches change no result but where rounding makes two children swap
    ranks.

    Deviations from the paper: there, one population is evolved for all classes at
    once (MAP-Elites) and gives one image per class; here each input is a lineage with
    one target, so that any number of different images comes out. Fitness is the log
    odds of the target, which rank as its probability does but never saturate.

    References
    ----------
    Nguyen, Yosinski, Clune (2015), "Deep Neural Networks are Easily Fooled: High
    Confidence Predictions for Unrecognizable Images", Sec. 2 (direct encoding) and
    Sec. 3.1.

    Deb, Agrawal (1999), "A Niched-Penalty Approach for Constraint Handling in Genetic
    Algorithms" (polynomial mutation).

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import fooling_images
    >>> from skgrad.datasets import make_uniform_noise
    >>> model = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(model.weight)
    >>> noise = make_uniform_noise(6, 2, random_state=0)
    >>> result = fooling_images(model, noise, confidence=0.6, random_state=0)
    >>> result.predicted.tolist()
    [0, 1, 0, 1, 0, 1]
    """
    random_state = check_random_state(random_state)
    least = np.log(confidence) - np.log1p(-confidence)
    perturb = partial(
        _evolve,
        seeds=seed_each(X, random_state),
        least=least,
        n_generations=n_generations,
        mutate=partial(_Mutation, n_children, mutation_rate, mutation_strength),
    )
    return run_attack(
        perturb,
        model,
        X,
        None,
        bounds=bounds,
        batch_size=batch_size,
        device=device,
        target=target,
        random_state=random_state,
        reached=lambda batch, logits: _log_odds(batch, logits) >= least,
    )


def _evolve(batch, *, seeds, least, n_generations, mutate):
    """Evolve the inputs of one batch, side by side."""
    mutate = mutate(batch, seeds[batch.rows])
    best = batch.x.clone()
    fitness = _log_odds(batch, batch.logits(best))
    # A little more than asked for: another batch may round the logits otherwise.
    enough = least + 1e-3
    for generation in range(n_generations):
        (active,) = torch.nonzero(fitness < enough, as_tuple=True)
        if len(active) == 0:
            break
        child, value = _best_child(batch, mutate(best, active, generation), active)
        better = value > fitness[active]
        best[active[better]] = child[better]
        fitness[active[better]] = value[better]
    return best


def _best_child(batch, children, active):
    """Return the fittest child of each active input, and its fitness.

    The children have shape (n_active, n_children, *input_shape).
    """
    n_active, n_children = children.shape[:2]
    logits = batch.logits(children.flatten(0, 1))
    fitness = _log_odds(batch, logits, active.repeat_interleave(n_children))
    fitness, winner = fitness.view(n_active, n_children).max(dim=1)
    return children[torch.arange(n_active, device=winner.device), winner], fitness


def _log_odds(batch, logits, rows=slice(None)):
    """Return how much more the target weighs than all other classes, as log odds."""
    target = batch.target
    if target is None:
        first, n_samples = batch.rows.start, len(batch.x)
        target = torch.arange(first, first + n_samples, device=logits.device)
        target = target % logits.shape[1]
    target = target[rows, None]
    others = logits.scatter(1, target, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, target)[:, 0] - others


class _Mutation:
    """The polynomial mutation of the inputs of one batch."""

    def __init__(self, n_children, rate, strength, batch, seeds):
        self.n_children = n_children
        self.rate = rate
        self.strength = strength
        self.batch = batch
        self.span = batch.high - batch.low
        if not torch.isfinite(self.span).all():
            raise ValueError(
                "bounds must be finite: mutations are shares of the range."
            )
        self.generators = [np.random.Generator(np.random.SFC64(s)) for s in seeds]

    def __call__(self, best, active, generation):
        """Return mutated copies (n_active, n_children, *input_shape)."""
        rate = self.rate * 0.5 ** (generation // HALF_LIFE)
        uniform = np.empty((len(active), self.n_children, *best.shape[1:]), np.float32)
        for row, draw in zip(active.tolist(), uniform, strict=True):
            self.generators[row].random(dtype=np.float32, out=draw)
        draws = torch.from_numpy(uniform).to(best)
        # Of the draws below the rate, the quotient is uniform again: one draw decides
        # whether a value is mutated, and how.
        step = _polynomial_step(draws / rate, self.strength)
        step = torch.where(draws < rate, step, 0) * self.span[active, None]
        low, high = (b[active, None] for b in (self.batch.low, self.batch.high))
        return (best[active, None] + step).clamp(low, high)


def _polynomial_step(u, strength):
    """Turn uniform numbers into steps between -1 and 1, most of them small."""
    u = u.clamp(max=1)
    power = 1 / (strength + 1)
    return torch.where(u < 0.5, (2 * u) ** power - 1, 1 - (2 - 2 * u) ** power)
