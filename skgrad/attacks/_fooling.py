"""Fooling images, noise of the second kind (NS-II) of paper C."""

from functools import partial
from numbers import Real

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._compat import Interval, validate_params
from ._base import CONSTRAINTS, POSITIVE_INTEGER, run_attack
from ._library import draw_seeds

# Generations after which the mutation rate is halved (Nguyen et al., Sec. 2).
HALF_LIFE = 1000


@validate_params(
    {
        **CONSTRAINTS,
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "n_generations": [POSITIVE_INTEGER],
        "n_children": [POSITIVE_INTEGER],
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
    confidence=0.999,
    n_generations=5000,
    n_children=1,
    mutation_rate=0.1,
    mutation_strength=15.0,
    target=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Evolve noise until the model is confident that it sees a class.

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
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        Where evolution starts, such as `skgrad.datasets.make_uniform_noise`.
    y : None
        Ignored, here because all attacks have it: noise has no class to leave.
    confidence : float, default=0.999
        The softmax probability of the target that is enough; 0.999 in paper C for
        VGG-16 and ResNet, 0.9999 for LeNet.
    n_generations : int, default=5000
        Largest number of generations of an input.
    n_children : int, default=1
        Mutated copies per input and generation.
    mutation_rate : float, default=0.1
        Probability of a value to be mutated, in the first 1,000 generations.
    mutation_strength : float, default=15.0
        The index of the polynomial mutation; the higher, the smaller the steps.
    target : int, array-like of int, {"random", "least_likely"} or None, default=None
        The class that each input is to reach. None takes the classes in turn; "random"
        any other than the one predicted for the start.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
        Both must be finite.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device. Another one works on a
        private copy.
    random_state : int, RandomState instance or None, default=None
        Draws the mutations and random targets.

    Returns
    -------
    AttackResult
        ``success`` says for which inputs the model predicts the target with the
        confidence asked for. The others come as far as they got.

    Notes
    -----
    Cost: at most ``n_generations * n_children`` forward passes per input; those that
    succeed drop out. Inputs evolve independently, each with its own random numbers, so
    batches change no result unless rounding swaps the ranks of two children.

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
    seeds = draw_seeds(X, random_state)
    least = np.log(confidence) - np.log1p(-confidence)  # the confidence as log odds

    def perturb(batch):
        if not torch.isfinite(batch.high - batch.low).all():
            raise ValueError(
                "bounds must be finite: mutations are shares of the range."
            )
        mutate = partial(
            _mutate,
            batch,
            [np.random.Generator(np.random.SFC64(s)) for s in seeds[batch.rows]],
            n_children,
            mutation_rate,
            mutation_strength,
        )
        return _evolve(batch, mutate, least, n_generations)

    def reached(batch, logits):
        return _log_odds(batch, logits) >= least

    shared = (X, None, target, bounds, batch_size, device, random_state)
    return run_attack(perturb, model, *shared, reached=reached)


def _evolve(batch, mutate, least, n_generations):
    """Evolve the inputs of one batch, side by side."""
    best = batch.x.clone()
    fitness = _log_odds(batch, batch.logits(best))
    # A little more than asked for, because other batches may round the logits down.
    enough = least + 1e-3
    for generation in range(n_generations):
        (active,) = torch.nonzero(fitness < enough, as_tuple=True)
        if len(active) == 0:
            break
        children = mutate(best, active, generation)
        child, value = _best_child(batch, children, active)
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
    """Return log p - log(1 - p) of the target's probability p, from the logits."""
    target = batch.target
    if target is None:
        first, n_samples = batch.rows.start, len(batch.x)
        target = torch.arange(first, first + n_samples, device=logits.device)
        target = target % logits.shape[1]
    target = target[rows, None]
    others = logits.scatter(1, target, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, target)[:, 0] - others


def _mutate(batch, generators, n_children, rate, strength, best, active, generation):
    """Return mutated copies (n_active, n_children, *input_shape)."""
    rate = rate * 0.5 ** (generation // HALF_LIFE)
    uniform = np.empty((len(active), n_children, *best.shape[1:]), np.float32)
    for row, draw in zip(active.tolist(), uniform, strict=True):
        generators[row].random(dtype=np.float32, out=draw)
    draws = torch.from_numpy(uniform).to(best)
    # Draws below the rate, divided by it, are uniform again: one draw decides whether
    # a value is mutated, and by how much.
    step = torch.where(draws < rate, _polynomial_step(draws / rate, strength), 0)
    low, high = (bound[active, None] for bound in (batch.low, batch.high))
    return (best[active, None] + step * (high - low)).clamp(low, high)


def _polynomial_step(u, strength):
    """Turn uniform numbers into steps between -1 and 1, most of them small."""
    u = u.clamp(max=1)
    power = 1 / (strength + 1)
    return torch.where(u < 0.5, (2 * u) ** power - 1, 1 - (2 - 2 * u) ** power)
