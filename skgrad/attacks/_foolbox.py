"""The attacks of foolbox."""

import inspect
import warnings

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._messages import brief, did_you_mean
from ._balls import per_sample
from ._base import POSITIVE, checked, run_attack
from ._library import Box, draw_seeds, import_library, seeded

# These start from an adversarial input, and fail for a whole batch if one has none.
_NEED_START = (
    "BoundaryAttack",
    "HopSkipJumpAttack",
    "PointwiseAttack",
    "L0BrendelBethgeAttack",
    "L1BrendelBethgeAttack",
    "L2BrendelBethgeAttack",
    "LinfinityBrendelBethgeAttack",
)

# How often noise is drawn in search of a starting point, and the steps of the search
# by gradient that follows for the inputs that have none yet.
N_DRAWS = 100
N_START_STEPS = 40


@checked(eps=[POSITIVE, None], options=[dict, None])
def foolbox_attack(
    model,
    X,
    y=None,
    *,
    attack,
    options=None,
    eps=None,
    target=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    """Run any attack of foolbox.

    Needs foolbox: ``pip install ".[attacks]"``.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The clean inputs, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    attack : str or subclass of foolbox.attacks.Attack
        The attack, such as "LinfDeepFoolAttack".
    options : dict, default=None
        Parameters of the class, such as ``{"steps": 10}``.
    eps : float, default=None
        Largest change in the norm of the attack; larger ones are cut back to it, and
        may fail then. Attacks of fixed size need it.
    target : int, array-like of int, {"random", "least_likely"} or None, default=None
        The classes to reach; "random" excludes y, None is any other than y.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws what the attack draws, and random targets.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes.

    Notes
    -----
    Where the bounds have one width, eps and step sizes are in units of X. Where the
    width differs by channel, they are shares of it, because foolbox knows one range for
    all values. The result measures in X.

    Attacks run in float32; values they leave alone stay exact. Many draw for a batch at
    a time, or stop by its mean: their results depend on ``batch_size``, and with
    ``batch_size=1`` on no other sample.

    Attacks that need a starting point (Brendel & Bethge, boundary, HopSkipJump,
    pointwise) get noise that reaches the goal, or the end of a gradient descent
    without limit, unless they have an ``init_attack``. Inputs without one stay clean.

    References
    ----------
    Rauber et al. (2020), "Foolbox Native: Fast adversarial attacks to benchmark the
    robustness of machine learning models in PyTorch, TensorFlow, and JAX".

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import foolbox_attack
    >>> model = torch.nn.Linear(2, 2)
    >>> foolbox_attack(model, [[0.5, 0.5]], attack="FGSM", eps=0.25).linf.tolist()
    [0.25]
    """
    attacks = import_library("foolbox").attacks
    attack = _find_attack(attack, attacks)(**(options or {}))
    if eps is None and isinstance(attack, attacks.base.FixedEpsilonAttack):
        raise ValueError(
            f"eps must be a positive number for {type(attack).__name__}, an attack of "
            "fixed size; got None."
        )
    shared = (model, X, y, target, bounds, batch_size, device, random_state)
    return run_foolbox(lambda n_rows: attack, eps, *shared)


def _find_attack(attack, module):
    """Return the attack class that is given itself or by its name."""
    if isinstance(attack, type) and issubclass(attack, module.Attack):
        return attack
    classes = inspect.getmembers(module, inspect.isclass)
    known = [name for name, value in classes if issubclass(value, module.Attack)]
    if attack not in known:
        raise ValueError(
            "attack must be the name or the class of an attack in foolbox.attacks; got "
            f"{brief(attack)}.{did_you_mean(attack, known, most=4, cutoff=0.45)}"
        )
    return getattr(module, attack)


def run_foolbox(make, eps, model, X, y, target, bounds, batch_size, device, rng):
    """Run an attack of foolbox; ``make`` takes the number of inputs and returns it."""
    foolbox, rng = import_library("foolbox"), check_random_state(rng)
    seeds = draw_seeds(X, rng)

    def perturb(batch):
        box, own = Box.around(batch), seeds[batch.rows]
        with (
            seeded(int(own[0]), batch.x.device),
            torch.enable_grad(),
            warnings.catch_warnings(),
        ):
            # eagerpy shares arrays that it marked as read-only; nothing writes to them.
            warnings.filterwarnings("ignore", "The given NumPy array", UserWarning)
            try:
                found = _Run(foolbox, make, eps, batch, box).run(own)
            except Exception as error:
                error.add_note(
                    f"Raised while {type(make(1)).__name__} attacked inputs of shape "
                    f"{tuple(batch.x.shape[1:])}. Not every attack takes every input, "
                    "option and target."
                )
                raise
        return box.outside(found.detach(), batch)

    return run_attack(perturb, model, X, y, target, bounds, batch_size, device, rng)


class _Run:
    """One run of an attack on a batch."""

    def __init__(self, foolbox, make, eps, batch, box):
        self.foolbox, self.make, self.eps = foolbox, make, eps
        self.batch, self.box = batch, box
        bounds = (0, box.high)
        self.net = foolbox.PyTorchModel(box.module, bounds, device=box.x.device)

    def run(self, seeds):
        """Return adversarial inputs of the box; clean ones without starting point."""
        attack = self.make(1)
        name = type(attack).__name__
        if name not in _NEED_START or attack.init_attack is not None:
            return self._attack(slice(None))
        starts = self._starting_points(seeds)
        usable = self._reached(starts)
        found = self.box.x.clone()
        if usable.any():
            found[usable] = self._attack(usable, starting_points=starts[usable])
        return found

    def _attack(self, rows, **options):
        attacks, x = self.foolbox.attacks, self.box.x[rows]
        attack = self.make(len(x))
        # raw may be farther from x than eps, found is not.
        raw, found, _ = attack(
            self.net, x, self._criterion(rows), epsilons=self.eps, **options
        )
        if isinstance(attack, (attacks.L2CarliniWagnerAttack, attacks.EADAttack)):
            # They return zeros on failure, which the model may well misclassify.
            failed = (raw == 0).flatten(1).all(dim=1)
            found = torch.where(per_sample(failed, x), x, found)
        return found

    def _criterion(self, rows=slice(None)):
        """Return what is to be reached, as foolbox has it."""
        if self.batch.target is None:
            return self.foolbox.Misclassification(self.batch.classes[rows])
        return self.foolbox.TargetedMisclassification(self.batch.target[rows])

    def _reached(self, x, rows=slice(None)):
        with torch.no_grad():
            return self._criterion(rows)(x, self.net(x))

    def _starting_points(self, seeds):
        """Return inputs that reach the goal, as far as they are found."""
        starts = self._noise(seeds)
        failed = ~self._reached(starts)
        if failed.any():
            # Steps that together cross the range twice, from corner to corner and back.
            attack = self.foolbox.attacks.LinfPGD(
                steps=N_START_STEPS, random_start=False, rel_stepsize=2 / N_START_STEPS
            )
            x, criterion = self.box.x[failed], self._criterion(failed)
            # No limit but the bounds.
            starts[failed] = attack.run(self.net, x, criterion, epsilon=self.box.high)
        return starts

    def _noise(self, seeds):
        """Draw noise for each input until it reaches the goal, each from its seed."""
        generators = [np.random.default_rng(seed) for seed in seeds]
        starts = self.box.x.clone()
        pending = torch.arange(len(starts), device=starts.device)
        for _ in range(N_DRAWS):
            draws = [
                generators[row].uniform(0, self.box.high, starts.shape[1:])
                for row in pending.tolist()
            ]
            starts[pending] = torch.from_numpy(np.stack(draws)).to(starts)
            pending = pending[~self._reached(starts[pending], pending)]
            if len(pending) == 0:
                break
        return starts
