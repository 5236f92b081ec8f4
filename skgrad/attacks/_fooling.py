"""Fooling images, noise of the second kind (NS-II) of paper C."""

from functools import partial
from numbers import Real

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._compat import Interval
from .._messages import brief
from ._base import POSITIVE_INTEGER, checked, run_attack
from ._library import draw_seeds

# Generations after which the mutation rate is halved (Nguyen et al., Sec. 2).
HALF_LIFE = 1000


@checked(
    confidence=[Interval(Real, 0, 1, closed="neither")],
    n_generations=[POSITIVE_INTEGER],
    n_children=[POSITIVE_INTEGER],
    mutation_rate=[Interval(Real, 0, 1, closed="right")],
    mutation_strength=[Interval(Real, 0, None, closed="left")],
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
        Ignored: noise has no class to leave.
    confidence : float, default=0.999
        The softmax probability of the target that is enough; 0.9999 in paper C's LeNet.
    n_generations : int, default=5000
        Largest number of generations of an input.
    n_children : int, default=1
        Mutated copies per input and generation.
    mutation_rate : float, default=0.1
        Probability of a value to be mutated, in the first 1,000 generations.
    mutation_strength : float, default=15.0
        The index of the polynomial mutation; the higher, the smaller the steps.
    target : int, array-like of int, {"random", "least_likely"} or None, default=None
        The classes to reach; "random" excludes the predicted, None takes all in turn.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the mutations and random targets.

    Returns
    -------
    AttackResult
        The evolved inputs; success means the target with the confidence asked for.

    Notes
    -----
    Cost: at most ``n_generations * n_children`` forward passes per input; those that
    succeed drop out. The bounds must be finite.

    Deviations from the paper: there, one population for all classes (MAP-Elites) gives
    one image per class; here each input evolves alone towards one target. Fitness is
    the log odds of the target, which never saturate as its probability does.

    References
    ----------
    Nguyen, Yosinski, Clune (2015), "Deep Neural Networks are Easily Fooled: High
    Confidence Predictions for Unrecognizable Images", Sec. 2 and 3.1.

    Deb, Agrawal (1999), "A Niched-Penalty Approach for Constraint Handling in Genetic
    Algorithms" (polynomial mutation).

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import fooling_images
    >>> noise = torch.rand(6, 2)
    >>> fooling_images(torch.nn.Linear(2, 2), noise, n_generations=10).X_adv.shape
    (6, 2)
    """
    random_state = check_random_state(random_state)
    seeds = draw_seeds(X, random_state)
    least = np.log(confidence) - np.log1p(-confidence)  # the confidence as log odds

    def perturb(batch):
        if not torch.isfinite(batch.high - batch.low).all():
            raise ValueError(f"bounds must be finite; got {brief(bounds)}.")
        # One generator per input, so that batches change no mutation.
        bits = [np.random.SFC64(seed) for seed in seeds[batch.rows]]
        generators = [np.random.Generator(one) for one in bits]
        how = (n_children, mutation_rate, mutation_strength)
        mutate = partial(_mutate, batch, generators, *how)
        return _evolve(batch, mutate, least, n_generations)

    def reached(batch, logits):
        return _log_odds(batch, logits) >= least

    shared = (model, X, None, target, bounds, batch_size, device, random_state)
    return run_attack(perturb, *shared, reached=reached)


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
        children = mutate(best, active, generation)  # (n_active, n_children, ...)
        n_active, n_children = children.shape[:2]
        logits = batch.logits(children.flatten(0, 1))
        odds = _log_odds(batch, logits, active.repeat_interleave(n_children))
        value, winner = odds.view(n_active, n_children).max(dim=1)
        child = children[torch.arange(n_active, device=winner.device), winner]
        better = value > fitness[active]
        best[active[better]] = child[better]
        fitness[active[better]] = value[better]
    return best


def _log_odds(batch, logits, rows=slice(None)):
    """Return log p - log(1 - p) of the target's probability p, from the logits."""
    target = batch.target
    if target is None:
        first = batch.rows.start  # so that the turns do not depend on batch_size
        target = torch.arange(first, first + len(batch.x), device=logits.device)
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
