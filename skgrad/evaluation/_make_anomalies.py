"""Anomalies by name: attacks with the papers' settings, noise, other data."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_memory
from tqdm import tqdm

from .. import attacks as at
from .._labels import check_classes, check_per_sample
from .._messages import brief, did_you_mean
from ..datasets import make_gaussian_noise, make_uniform_noise
from ..feature_extraction import predict_logits
from ..torch_engine.fingerprint import network_identity
from ..torch_engine.model_state import unwrap_model
from ..torch_engine.samples import read_array
from ._anomaly_set import AnomalySet


@dataclass(frozen=True)
class Threat:
    """How strong the attacks of `make_anomalies` are.

    Parameters
    ----------
    eps : float, default=0.3
        Bound on the change of each value. The papers take 0.3 on MNIST, 8/255 on
        CIFAR and 0.1 on series.
    eps_l2 : float, default=None
        Bound on the Euclidean length of the change; None is ten times ``eps``, as in
        paper B.
    bounds : tuple of two floats, default=(0.0, 1.0)
        Lowest and highest valid value.
    n_steps : int, default=None
        Number of steps of every iterated attack; None is that of its paper.
    n_slow : int, default=None
        At most so many inputs for the attacks that are slow on many; None is no limit.
    random_state : int, default=None
        Seeds the attacks and the noise.

    Examples
    --------
    >>> from skgrad.evaluation import Threat
    >>> Threat(eps=0.1, n_steps=10).eps_l2
    1.0
    """

    eps: float = 0.3
    eps_l2: float | None = None
    bounds: tuple = (0.0, 1.0)
    n_steps: int | None = None
    n_slow: int | None = None
    random_state: int | None = None

    def __post_init__(self):
        if self.eps_l2 is None:
            object.__setattr__(self, "eps_l2", 10 * self.eps)


@dataclass(frozen=True)
class _Attack:
    """An attack, and the parts of the threat that it accepts."""

    attack: Callable
    accepts: tuple = ()
    slow: bool = False

    def __call__(self, model, X, y, threat):
        options = {name: getattr(threat, name) for name in self.accepts}
        if "eps_l2" in options:
            options["eps"] = options.pop("eps_l2")
        # None is the default of the paper.
        options = {k: value for k, value in options.items() if value is not None}
        return self.attack(model, X, y, bounds=threat.bounds, **options)


def _least_steps(model, X, y, *, n_steps=None, **options):
    """Carlini and Wagner's attack; few steps mean few searches too."""
    if n_steps is not None:
        options |= {"n_steps": n_steps, "binary_search_steps": 1}
    return at.carlini_wagner(model, X, y, **options)


def _few_changes(model, X, y, *, n_steps=None, **options):
    """JSMA; few steps mean few values that it may change."""
    gamma = 1.0 if n_steps is None else 0.02
    return at.jsma(model, X, y, gamma=gamma, **options)


_LINF = ("eps", "n_steps")
_RANDOM = (*_LINF, "random_state")
_L2 = ("eps_l2", "n_steps", "random_state")
_TARGETED = {"target": "random", "n_steps": 100}

# Steps and norms are the papers'.
_ATTACKS = {
    "noise in ball": _Attack(at.random_noise, ("eps", "random_state")),
    "rotation": _Attack(at.rotate, ("random_state",)),
    "Semantic": _Attack(at.semantic),
    "FGSM": _Attack(at.fgsm, ("eps",)),
    "BIM": _Attack(at.bim, _LINF),
    "BIM-a": _Attack(partial(at.bim, stop_at_success=True), _LINF),
    "BIM-b": _Attack(at.bim, _LINF),
    "IterLL": _Attack(at.iterative_least_likely, _LINF),
    "PGD": _Attack(at.pgd, _RANDOM),
    "PGD L2": _Attack(partial(at.pgd, norm="l2"), _L2),
    "T-SCE": _Attack(partial(at.pgd, **_TARGETED), _RANDOM),
    "T-MSE": _Attack(partial(at.pgd, loss="mse", **_TARGETED), _RANDOM),
    "CSA": _Attack(at.cosine_similarity_attack, _RANDOM, slow=True),
    "C&W": _Attack(_least_steps, ("n_steps", "random_state"), slow=True),
    "JSMA": _Attack(_few_changes, ("n_steps", "random_state"), slow=True),
    "B&B Linf": _Attack(partial(at.brendel_bethge, norm="linf"), _RANDOM, slow=True),
    "B&B L2": _Attack(partial(at.brendel_bethge, norm="l2"), _L2, slow=True),
}
_OTHERS = ["Gaussian noise", "uniform noise", "fooling images", "misclassified"]
KINDS = [*_ATTACKS, *_OTHERS]

# What is averaged together. Changed inputs are a group of their own: nobody looked for
# the network's errors with its gradients, and they show objects of its own classes.
_GROUPS = {
    "changed inputs": ("noise in ball", "rotation", "Semantic"),
    "strong attacks": (
        *("FGSM", "BIM", "BIM-b", "IterLL", "PGD", "PGD L2"),
        *("T-SCE", "T-MSE", "CSA"),
    ),
    # They stop at the boundary between two classes, or near it.
    "minimal attacks": ("BIM-a", "C&W", "JSMA", "B&B Linf", "B&B L2"),
    "noise": ("Gaussian noise", "uniform noise", "fooling images"),
    "mistakes": ("misclassified",),
}
_GROUP_OF = {kind: group for group, kinds in _GROUPS.items() for kind in kinds}


def make_anomalies(
    model, X, y, kinds, *, threat=None, sources=None, memory=None, verbose=False
):
    """Make anomalies for a model by the names of their kinds.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        Inputs to attack. Noise comes in their number and shape.
    y : array-like of int of shape (n_samples,)
        Their classes. Attacked are the inputs that the model classifies correctly.
    kinds : str or sequence of str
        Names from the list below; case, spaces and hyphens do not matter.
    threat : Threat, default=None
        How strong the attacks are; None is ``Threat()``.
    sources : array-like of int of shape (n_samples,), default=None
        Which rows of ``X_test`` of `evaluate` the inputs are; None if they are others.
    memory : str or joblib.Memory, default=None
        Cache of the anomalies on disk, as in scikit-learn's Pipeline.
    verbose : bool, default=False
        Whether to show a progress bar, where stderr is a terminal.

    Returns
    -------
    dict of str to AnomalySet
        Of attacks the successful inputs, with the rate of success and the seconds. The
        misclassified are those inputs that the model classifies wrongly by itself.

    Notes
    -----
    Attacks, with the steps and norms of the papers: "noise in ball", "rotation",
    "Semantic", "FGSM", "BIM", "BIM-a" (stops at success), "BIM-b", "IterLL", "PGD",
    "PGD L2", "T-SCE", "T-MSE" (targeted), "CSA", "C&W", "JSMA", "B&B Linf", "B&B L2".
    Others: "Gaussian noise", "uniform noise", "fooling images", "misclassified".

    Their groups, within which `Evaluation.summary` averages: "mistakes"
    (misclassified); "noise" (Gaussian, uniform, fooling images); "minimal attacks",
    which end where the prediction changes (BIM-a, C&W, JSMA, B&B); "strong attacks"
    (all others with gradients); "changed inputs" (noise in ball, rotation, Semantic):
    nobody looked for an error in making them.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skgrad.evaluation import make_anomalies
    >>> X = np.random.default_rng(0).random((20, 3)).astype("float32")
    >>> model = torch.nn.Linear(3, 2)
    >>> y = model(torch.from_numpy(X)).argmax(dim=1).numpy()
    >>> list(make_anomalies(model, X, y, ["fgsm", "uniform noise"]))
    ['FGSM', 'uniform noise']
    """
    threat = threat or Threat()
    kinds = [kinds] if isinstance(kinds, str) else kinds
    names = [_checked_kind(kind) for kind in kinds]
    X = read_array(X, "X")
    logits = predict_logits(model, X)
    y = check_classes(y, len(X), "y", n_classes=logits.shape[1])
    right = logits.argmax(axis=1) == y
    if sources is not None:
        sources = check_per_sample(sources, len(X), "sources")
    # The network's own hash in its place, as joblib's depends on where tensors lie.
    make = check_memory(memory).cache(_make, ignore=["model"])
    identity = network_identity(unwrap_model(model))
    made = {}
    with tqdm(names, disable=None if verbose else True, unit="kind") as bar:
        for name in bar:
            bar.set_description(name)
            found, rows, success, seconds = make(
                name, model, identity, X, y, right, threat
            )
            of_inputs = sources is not None and len(rows)
            made[name] = AnomalySet(
                found,
                sources[rows] if of_inputs else None,
                success,
                seconds,
                group=_GROUP_OF[name],
            )
    return made


def find_name(wanted, names):
    """Return the one of the names that is meant, None if there is none.

    Only letters and digits count: "C&W", "c-w" and "cw" are the same.
    """
    return next((name for name in names if _letters(name) == _letters(wanted)), None)


def _letters(name):
    return re.sub("[^a-z0-9]", "", str(name).lower())


def _checked_kind(kind):
    found = find_name(kind, KINDS)
    if found is None:
        raise ValueError(
            f"kinds must be among {', '.join(KINDS)}; got {brief(kind)}."
            f"{did_you_mean(kind, KINDS)}"
        )
    return found


def _make(name, model, identity, X, y, right, threat):
    """Return one kind: inputs, rows of X they were made from, success, seconds."""
    start = time.perf_counter()
    rate = np.nan
    if name == "misclassified":
        rows = np.flatnonzero(~right)
        found = X[rows]
    elif name in _OTHERS:
        rows = np.empty(0, dtype=np.intp)
        found, rate = _noise(name, model, X, threat)
        found = found.astype(X.dtype)
    else:
        attack = _ATTACKS[name]
        rows = np.flatnonzero(right)[: threat.n_slow if attack.slow else None]
        found = X[rows]
        if len(rows):  # else the model is right about none
            result = attack(model, found, y[rows], threat)
            hit = result.success
            found, rows, rate = result.X_adv[hit], rows[hit], float(hit.mean())
    return found, rows, rate, time.perf_counter() - start


def _noise(name, model, X, threat):
    """Return noise or fooling images, as many as X."""
    n, shape = len(X), X.shape[1:]
    # Each kind has its own seed, so that none depends on which others are made.
    seed = threat.random_state
    if seed is not None:
        seed = (seed + _OTHERS.index(name)) % 2**32
    rng = check_random_state(seed)
    limits = dict(zip(("low", "high"), threat.bounds, strict=True))
    if name == "Gaussian noise":
        return make_gaussian_noise(n, shape, random_state=rng, **limits), np.nan
    noise = make_uniform_noise(n, shape, random_state=rng, **limits)
    if name == "uniform noise":
        return noise, np.nan
    noise = noise[: threat.n_slow].astype(X.dtype)
    few = {} if threat.n_steps is None else {"n_generations": 5, "confidence": 0.2}
    result = at.fooling_images(
        model, noise, random_state=rng, bounds=threat.bounds, **few
    )
    return result.X_adv[result.success], float(result.success.mean())
