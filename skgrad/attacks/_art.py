"""The evasion attacks of the Adversarial Robustness Toolbox (ART)."""

import inspect
from functools import partial

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._compat import validate_params
from .._messages import brief
from ._base import CONSTRAINTS, Batch, run_attack
from ._library import (
    draw_seeds,
    find_attack,
    import_library,
    perturb_in_box,
)

# These know no other goal than a target, which they take for labels.
_ALWAYS_TARGETED = ("SaliencyMapMethod", "TargetedUniversalPerturbation")


@validate_params(
    {**CONSTRAINTS, "attack": "no_validation", "options": [dict, None]},
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

    Needs the toolbox: ``pip install "skgrad[attacks]"``.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The clean inputs, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    attack : str or subclass of art.attacks.EvasionAttack
        The attack, such as "SquareAttack".
    options : dict, default=None
        Parameters of the class, such as ``{"eps": 0.3}``. ``targeted`` follows from
        target; attacks that take one input at a time need ``{"batch_size": 1}``.
    target : int, array-like of int, {"random", "least_likely"} or None, default=None
        The classes to reach, for all or for each; "random" draws them from those other
        than y, "least_likely" is that of the clean input. None for any other than y.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device. Another one works on a
        private copy.
    random_state : int, RandomState instance or None, default=None
        Draws what the attack draws, and random targets.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes.
        Where the attack found nothing, the input is the clean one or as far as it got.

    Notes
    -----
    Where the bounds have one width, sizes in the options are in units of X. Where the
    width differs by channel, as after a normalisation, they are shares of it. The
    result measures in X.

    Attacks run in float32, whatever the model; values they leave alone stay exact.
    Many draw random numbers for a batch at a time: their results repeat with the same
    ``random_state`` and ``batch_size``, and are independent of the other samples with
    ``batch_size=1``. "HopSkipJump" and "BoundaryAttack" draw from generators that
    nothing seeds; foolbox has both. Attacks that always aim at a class, such as
    "SaliencyMapMethod", get random ones where target is None, and succeed if they
    reach any other than y.

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
    evasion = import_library("art.attacks.evasion")
    base = import_library("art.attacks").EvasionAttack
    attack, options = find_attack(attack, evasion, base), options or {}
    if "targeted" in options:
        raise ValueError(
            "options must not hold 'targeted', which follows from target; got "
            f"{brief(options)}."
        )
    reached = Batch.reached
    if attack.__name__ in _ALWAYS_TARGETED:
        if target is None:
            target, reached = "random", _left
    elif target is not None and "targeted" not in _parameters(attack):
        raise ValueError(
            f"target must be None for {attack.__name__}, which cannot aim at a class."
        )
    random_state = check_random_state(random_state)
    perturb = perturb_in_box(
        partial(_attack_box, attack, options),
        attack.__name__,
        draw_seeds(X, random_state),
    )
    run = partial(run_attack, reached=reached)
    return run(perturb, model, X, y, target, bounds, batch_size, device, random_state)


def _left(batch, logits):
    """Return which inputs left their class, whatever the target."""
    return logits.argmax(dim=1) != batch.classes


def _parameters(attack):
    return inspect.signature(attack).parameters


def _attack_box(attack, options, batch, box, seeds):
    """Run the attack on a batch in its box."""
    n_classes = batch.logits(batch.x[:2]).shape[1]
    classifier = import_library("art.estimators.classification").PyTorchClassifier(
        box.module,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=tuple(box.x.shape[1:]),
        nb_classes=n_classes,
        clip_values=(0.0, box.high),
        # ART works on arrays, so the box stays on the CPU; the model need not.
        device_type="cpu",
    )
    ours = {
        "batch_size": len(box.x),
        "verbose": False,
        "targeted": batch.target is not None,
    }
    ours = {name: ours[name] for name in ours.keys() & _parameters(attack).keys()}
    made = attack(classifier, **{**ours, **options})
    labels = batch.classes if batch.target is None else batch.target
    one_hot = np.eye(n_classes, dtype=np.float32)[labels.cpu().numpy()]
    found = made.generate(box.x.cpu().numpy(), y=one_hot)
    return torch.from_numpy(np.ascontiguousarray(found)).to(box.x.device)
