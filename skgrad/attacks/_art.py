"""The evasion attacks of the Adversarial Robustness Toolbox (ART)."""

import inspect
import sys
from contextlib import contextmanager
from functools import partial
from types import ModuleType

import numpy as np
import torch

from .._compat import validate_params
from .._messages import brief
from ._library import (
    LIMITS,
    construct,
    import_library,
    lacks_target,
    named_attack,
    run_library_attack,
)

# What knows no other goal than a target, which it takes for labels.
_ALWAYS_TARGETED = ("SaliencyMapMethod", "TargetedUniversalPerturbation")


@validate_params(
    {**LIMITS, "attack": "no_validation", "options": [dict, None]},
    prefer_skip_nested_validation=True,
)
def art_attack(
    model,
    X,
    y=None,
    *,
    attack,
    options=None,
    target=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    """Run any evasion attack of the Adversarial Robustness Toolbox.

    Needs the extra: ``pip install "skgrad[attacks]"``.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier under attack, returning logits. It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        Clean inputs.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    attack : str or subclass of art.attacks.EvasionAttack
        The attack, such as "SquareAttack".
    options : dict, default=None
        What the class takes besides the classifier, such as ``{"eps": 0.3}``.
        ``targeted`` follows from target; ``batch_size`` and ``verbose`` are set unless
        given, the former to 1 for attacks that take no other.
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
        If the toolbox is not installed.

    Notes
    -----
    Where bounds differ by channel but their width does not, sizes in the options keep
    the units of X. Where the width differs, as after a normalisation by channel, they
    are shares of it. The result measures in X.

    Attacks run in float32, whatever the model; values they leave alone stay exact.
    Many draw random numbers for a batch at a time: their results repeat with the same
    ``random_state`` and ``batch_size``, and are independent of the batch-mates with
    ``batch_size=1``. Attacks that always aim at a class, such as "SaliencyMapMethod",
    get random ones where target is None, and succeed if they reach any but y.

    References
    ----------
    Nicolae et al. (2018), "Adversarial Robustness Toolbox v1.0.0", arXiv:1807.01069.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import art_attack
    >>> model = torch.nn.Linear(2, 2)
    >>> art_attack(
    ...     model, [[0.5, 0.5]], attack="FastGradientMethod", options={"eps": 0.25}
    ... ).linf.tolist()
    [0.25]
    """
    attack = _checked_attack(attack)
    options = _checked_options(options or {})
    goal = {"target": target}
    aims = attack.__name__ in _ALWAYS_TARGETED
    if not aims and target is not None and not _takes(attack, "targeted"):
        raise lacks_target(attack.__name__)
    if aims and target is None:
        goal = {"target": "random", "reached": _left}
    return run_library_attack(
        partial(_attack_box, attack, options),
        model,
        X,
        y,
        bounds=bounds,
        batch_size=batch_size,
        device=device,
        random_state=random_state,
        what=attack.__name__,
        **goal,
    )


def _left(batch, logits):
    """Tell for which inputs the class was left, whatever the target."""
    return logits.argmax(dim=1) != batch.classes


def _checked_attack(attack):
    """Return the class of the attack."""
    evasion = import_library("art.attacks.evasion")
    base = import_library("art.attacks").EvasionAttack
    if isinstance(attack, str):
        return named_attack(attack, evasion, base, "ART")
    if not (isinstance(attack, type) and issubclass(attack, base)):
        raise TypeError(
            "attack must be the name or the class of an evasion attack of ART, such as "
            f"'SquareAttack'; got {brief(attack)}. Of an instance, give the class and "
            "the options."
        )
    return attack


def _checked_options(options):
    if "targeted" in options:
        raise ValueError(
            "options must not hold 'targeted', which follows from target; got "
            f"{brief(options)}."
        )
    return options


def _takes(attack, name):
    return name in inspect.signature(attack).parameters


def _attack_box(attack, options, batch, box, seeds):
    """Run the attack on a batch inside its box."""
    aim = batch.classes if batch.target is None else batch.target
    n_classes = batch.logits(batch.x[:1]).shape[1]
    ours = {
        "batch_size": len(box.x),
        "verbose": False,
        "targeted": batch.target is not None,
    }
    ours = {name: value for name, value in ours.items() if _takes(attack, name)}
    made = _made(partial(attack, _classifier(box, n_classes), **ours), options)
    one_hot = np.eye(n_classes, dtype=np.float32)[aim.cpu().numpy()]
    # ART works on arrays, so the box stays on the CPU; the model need not.
    with _own_generators(attack, seeds[0]):
        found = made.generate(box.x.cpu().numpy(), y=one_hot)
    return torch.from_numpy(np.ascontiguousarray(found)).to(box.x.device)


def _made(make, options):
    """Make the attack, for one input at a time if it takes no more."""
    try:
        return make(**options)
    except (TypeError, ValueError):
        if "batch_size" in make.keywords:
            make = partial(make, batch_size=1)
    # What was wrong with something else is so again, and told.
    return construct(make, options)


@contextmanager
def _own_generators(attack, seed):
    """Seed the generators that an attack makes for itself.

    Some call ``np.random.RandomState()``, which no seed reaches from outside. While
    they run, their modules see a numpy that seeds it.
    """
    states = np.random.RandomState
    source = states(seed)

    def state(seed=None):
        return states(source.randint(2**31 - 1) if seed is None else seed)

    seeding = _but(np, random=_but(np.random, RandomState=state))
    names = {cls.__module__ for cls in attack.__mro__}
    homes = [vars(sys.modules[name]) for name in names if name.startswith("art.")]
    homes = [home for home in homes if home.get("np") is np]
    for home in homes:
        home["np"] = seeding
    try:
        yield
    finally:
        for home in homes:
            home["np"] = np


def _but(module, **changes):
    """Return what looks like a module but for the changes."""
    other = ModuleType(module.__name__)
    vars(other).update(__getattr__=partial(getattr, module), **changes)
    return other


def _classifier(box, n_classes):
    """Show the model to ART as a classifier of its own."""
    classification = import_library("art.estimators.classification")
    return classification.PyTorchClassifier(
        box.module,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=tuple(box.x.shape[1:]),
        nb_classes=n_classes,
        clip_values=(box.low, box.high),
        device_type="cpu",
    )
