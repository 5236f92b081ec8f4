"""The attacks of foolbox."""

from numbers import Real

import numpy as np
import torch

from .._compat import Interval, validate_params
from .._messages import brief
from ._library import (
    LIMITS,
    construct,
    import_library,
    lacks_target,
    named_attack,
    run_library_attack,
)

EPS = {"eps": [Interval(Real, 0, None, closed="neither"), None]}

# What starts from an adversarial input, and fails for a batch if one has none.
_STARTERS = (
    "BrendelBethgeAttack",
    "BoundaryAttack",
    "HopSkipJumpAttack",
    "PointwiseAttack",
)
# What returns zeros where it found nothing.
_ZERO_IS_FAILURE = ("L2CarliniWagnerAttack", "EADAttack")

# How often noise is drawn in search of a starting point, and the steps of the search
# by gradient that follows for the inputs that have none yet.
N_DRAWS = 100
N_START_STEPS = 40


@validate_params(
    {**LIMITS, **EPS, "attack": "no_validation", "options": [dict, None]},
    prefer_skip_nested_validation=True,
)
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

    Needs the extra: ``pip install "skgrad[attacks]"``.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier under attack, returning logits. It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        Clean inputs.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    attack : str, class or instance of foolbox.attacks.Attack
        The attack, such as "LinfDeepFoolAttack".
    options : dict, default=None
        What the class takes, such as ``{"steps": 10}``; not for an instance.
    eps : float, default=None
        Largest change, in the norm of the attack. An attack of fixed size needs it;
        of one that seeks the smallest change, larger ones are cut back to eps, and
        fail where that leads back to the class.
    target : int, array-like of int, "random", "least_likely" or None, default=None
        The classes to reach; None for any but y.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest legal value, such as per channel of shape (c, 1, 1).
    batch_size : int, default=128
        Samples per batch; see the notes.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Seeds what the attack draws, and random targets.

    Returns
    -------
    AttackResult
        With ``X_adv``, the ``success`` mask and the size of the changes. Where the
        attack found nothing, the input is the clean one or as far as it got.

    Raises
    ------
    ImportError
        If foolbox is not installed.

    Notes
    -----
    foolbox knows one range for all values. Where bounds differ by channel but their
    width does not, eps and step sizes keep the units of X. Where the width differs, as
    after a normalisation by channel, they are shares of it: for images of [0, 1]
    that were normalised, they are those of the images before. The result measures in
    X.

    Attacks run in float32, whatever the model; values they leave alone stay exact.
    Many draw random numbers for a batch at a time, or stop by the mean of a batch:
    their results repeat with the same ``random_state`` and ``batch_size``, and are
    independent of the batch-mates with ``batch_size=1``.

    Attacks that need a starting point (Brendel & Bethge, boundary, HopSkipJump,
    pointwise) get noise that reaches the goal, or the end of a gradient descent
    without limit, unless they come with an ``init_attack``. Inputs without a
    starting point stay clean and fail.

    References
    ----------
    Rauber, Zimmermann, Bethge, Brendel (2020), "Foolbox Native: Fast adversarial
    attacks to benchmark the robustness of machine learning models in PyTorch,
    TensorFlow, and JAX", JOSS 5(53).

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import foolbox_attack
    >>> model = torch.nn.Linear(2, 2)
    >>> result = foolbox_attack(model, [[0.5, 0.5]], attack="FGSM", eps=0.25)
    >>> result.linf.tolist()
    [0.25]
    """
    made = _made(attack, options or {})
    return run_foolbox(
        lambda n_rows: made,
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


def run_foolbox(make, model, X, y, *, eps, **arguments):
    """Run the attack that ``make`` makes for so many rows at a time."""
    foolbox = import_library("foolbox")

    def attack_box(batch, box, seeds):
        net = foolbox.PyTorchModel(
            box.module, bounds=(box.low, box.high), device=box.x.device
        )
        return _Run(foolbox, make, eps, net, batch, box).found(seeds)

    what = type(make(1)).__name__
    _check_eps(foolbox, make(1), eps, what)
    return run_library_attack(attack_box, model, X, y, what=what, **arguments)


def _made(attack, options):
    """Return the attack, made if it is a name or a class."""
    attacks = import_library("foolbox").attacks
    if isinstance(attack, attacks.Attack):
        if options:
            raise ValueError(
                f"options must be None for an instance, which has its own; got "
                f"{brief(options)}. Give the class instead."
            )
        return attack
    if isinstance(attack, str):
        attack = named_attack(attack, attacks, attacks.Attack, "foolbox")
    if not (isinstance(attack, type) and issubclass(attack, attacks.Attack)):
        raise TypeError(
            "attack must be the name, the class or an instance of an attack of "
            f"foolbox, such as 'LinfDeepFoolAttack'; got {brief(attack)}."
        )
    return construct(attack, options)


def _check_eps(foolbox, attack, eps, what):
    fixed = isinstance(_innermost(attack), foolbox.attacks.base.FixedEpsilonAttack)
    if fixed and eps is None:
        raise ValueError(
            f"eps must be a positive number for {what}, an attack of fixed size; got "
            "None."
        )
    if eps is not None and not _has_distance(attack):
        raise ValueError(
            f"eps must be None for {what}, which knows no norm to measure it in; "
            f"got {brief(eps)}. Where the attack takes one, give it in its options, "
            "such as {'distance': foolbox.distances.l2}."
        )


def _has_distance(attack):
    """Tell whether an attack can say how far an input is from another."""
    try:
        return attack.distance is not None
    except (AttributeError, ValueError):
        return False


def _innermost(attack):
    """Return the attack that is repeated, if it is."""
    while hasattr(attack, "attack") and hasattr(attack, "times"):
        attack = attack.attack
    return attack


def _is_a(attack, names):
    """Tell whether an attack is of one of these classes or of a subclass."""
    mro = type(_innermost(attack)).__mro__
    return any(cls.__name__ in names for cls in mro)


class _Run:
    """One run of an attack on a batch."""

    def __init__(self, foolbox, make, eps, net, batch, box):
        self.foolbox = foolbox
        self.make = make
        self.eps = eps
        self.net = net
        self.batch = batch
        self.box = box

    def found(self, seeds):
        """Return adversarial inputs of the box; clean ones for lack of a start."""
        x = self.box.x
        if not _is_a(self.make(1), _STARTERS):
            return self._attack(slice(None), {})
        starts, usable = self._starts(seeds)
        (rows,) = torch.nonzero(usable, as_tuple=True)
        found = x.clone()
        if len(rows):
            found[rows] = self._attack(rows, {"starting_points": starts[rows]})
        return found

    def _attack(self, rows, more):
        x = self.box.x[rows]
        attack = self.make(len(x))
        try:
            _, found, _ = attack(
                self.net, x, self._goal(rows), epsilons=self.eps, **more
            )
        except ValueError as error:
            if "criterion" not in str(error):
                raise
            what = type(attack).__name__
            if self.batch.target is not None:
                raise lacks_target(what) from error
            raise ValueError(
                f"target must not be None for {what}, which always aims at a class. "
                "Give a class for each input, 'random' or 'least_likely'."
            ) from error
        if _is_a(attack, _ZERO_IS_FAILURE):
            nothing = (found == 0).flatten(1).all(dim=1)
            found = torch.where(nothing.view(-1, *[1] * (x.ndim - 1)), x, found)
        return found

    def _goal(self, rows=slice(None)):
        """Return foolbox's word for what is to be reached."""
        if self.batch.target is None:
            return self.foolbox.Misclassification(self.batch.classes[rows])
        return self.foolbox.TargetedMisclassification(self.batch.target[rows])

    def _reached(self, x, rows):
        with torch.no_grad():
            return self._goal(rows)(x, self.net(x))

    def _starts(self, seeds):
        """Return inputs that reach the goal, and which of them do."""
        init_attack = getattr(_innermost(self.make(1)), "init_attack", None)
        if init_attack is not None:
            starts = init_attack.run(self.net, self.box.x, self._goal())
        else:
            starts = self._noise(seeds)
            pending = self._pending(starts)
            if len(pending):
                starts[pending] = self._descended(pending)
        return starts, self._reached(starts, slice(None))

    def _pending(self, starts):
        reached = self._reached(starts, slice(None))
        return torch.nonzero(~reached, as_tuple=True)[0]

    def _noise(self, seeds):
        """Draw noise for each input until it reaches the goal, each from its seed."""
        box = self.box
        generators = [np.random.default_rng(seed) for seed in seeds]
        starts = box.x.clone()
        pending = torch.arange(len(starts), device=starts.device)
        for _ in range(N_DRAWS):
            draws = [
                generators[row].uniform(box.low, box.high, starts.shape[1:])
                for row in pending.tolist()
            ]
            starts[pending] = torch.from_numpy(np.stack(draws)).to(starts)
            pending = pending[~self._reached(starts[pending], pending)]
            if len(pending) == 0:
                break
        return starts

    def _descended(self, rows):
        """Follow the gradient to the goal, as far as it takes."""
        attack = self.foolbox.attacks.LinfPGD(
            steps=N_START_STEPS, random_start=False, rel_stepsize=2 / N_START_STEPS
        )
        return attack.run(
            self.net,
            self.box.x[rows],
            self._goal(rows),
            epsilon=self.box.high - self.box.low,
        )
