"""Anomalies by name: attacks with the papers' settings, noise, other data."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import joblib
import numpy as np
from sklearn.utils import check_random_state

from .. import attacks as at
from .._messages import brief, did_you_mean
from .._validation import check_classes, to_array
from ..datasets import make_gaussian_noise, make_uniform_noise
from ..feature_extraction import LayerActivationTransformer
from ..torch_engine.samples import read_array
from ._anomaly_set import AnomalySet
from ._names import find_shown, letters
from ._store import Store


@dataclass(frozen=True)
class Threat:
    """How strong the attacks of `make_anomalies` are.

    Each parameter is an attribute of the same name.

    Parameters
    ----------
    eps : float, default=0.3
        Bound on the change of each value. The papers take 0.3 on MNIST, 8/255 on
        CIFAR and 0.1 on series.
    eps_l2 : float, default=None
        Bound on the Euclidean length of the change; None is ten times ``eps``, as in
        paper B.
    bounds : tuple of two floats, default=(0.0, 1.0)
        Lowest and highest legal value.
    n_steps : int, default=None
        Number of steps of every iterated attack; None leaves each its paper's.
    n_slow : int, default=None
        At most so many inputs for the attacks that are slow on many; None is no limit.
    random_state : int, default=0
        Seeds the attacks.

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
    random_state: int = 0

    def __post_init__(self):
        if self.eps_l2 is None:
            object.__setattr__(self, "eps_l2", 10 * self.eps)


@dataclass(frozen=True)
class _Attack:
    """An attack by its name in tables, and what it takes of the threat."""

    name: str
    attack: Callable
    takes: tuple = ()
    slow: bool = False

    def __call__(self, model, X, y, threat):
        options = {"bounds": threat.bounds}
        for name in self.takes:
            value = threat.eps_l2 if name == "eps_l2" else getattr(threat, name)
            if value is not None:
                options["eps" if name == "eps_l2" else name] = value
        return self.attack(model, X, y, **options)


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
ATTACKS = {
    "noise-in-ball": _Attack("noise in ball", at.random_noise, ("eps", "random_state")),
    "rotation": _Attack("rotation", at.rotate, ("random_state",)),
    "semantic": _Attack("Semantic", at.semantic),
    "fgsm": _Attack("FGSM", at.fgsm, ("eps",)),
    "bim": _Attack("BIM", at.bim, _LINF),
    "bim-a": _Attack("BIM-a", partial(at.bim, stop_at_success=True), _LINF),
    "bim-b": _Attack("BIM-b", at.bim, _LINF),
    "iterll": _Attack("IterLL", at.iterative_least_likely, _LINF),
    "pgd": _Attack("PGD", at.pgd, _RANDOM),
    "pgd-l2": _Attack("PGD L2", partial(at.pgd, norm="l2"), _L2),
    "t-sce": _Attack("T-SCE", partial(at.pgd, **_TARGETED), _RANDOM),
    "t-mse": _Attack("T-MSE", partial(at.pgd, loss="mse", **_TARGETED), _RANDOM),
    "csa": _Attack("CSA", at.cosine_similarity_attack, _RANDOM, slow=True),
    "cw": _Attack("C&W", _least_steps, ("n_steps", "random_state"), slow=True),
    "jsma": _Attack("JSMA", _few_changes, ("n_steps", "random_state"), slow=True),
    "bb-linf": _Attack(
        "B&B Linf", partial(at.brendel_bethge, norm="linf"), _RANDOM, slow=True
    ),
    "bb-l2": _Attack("B&B L2", partial(at.brendel_bethge, norm="l2"), _L2, slow=True),
}
_OTHERS = {
    "gaussian-noise": "Gaussian noise",
    "uniform-noise": "uniform noise",
    "fooling-images": "fooling images",
    "misclassified": "misclassified",
}
ANOMALY_KINDS = {slug: attack.name for slug, attack in ATTACKS.items()} | _OTHERS
"""The kinds of anomaly that `make_anomalies` can make, by the words that people type.

The values are the names in tables. `find_anomaly_kind` takes either, however written.
"""


def find_anomaly_kind(name):
    """Return the name in tables of a kind of anomaly, however it is written.

    Parameters
    ----------
    name : str
        Such as ``"pgd"``, ``"PGD"``, ``"C&W"`` or ``"bb-l2"``.

    Returns
    -------
    str or None
        A value of `ANOMALY_KINDS`; None if there is no such kind.

    Examples
    --------
    >>> from skgrad.evaluation import find_anomaly_kind
    >>> find_anomaly_kind("bb-l2")
    'B&B L2'
    """
    return find_shown(letters(name), ANOMALY_KINDS)


def make_anomalies(
    model,
    X,
    y,
    kinds,
    *,
    threat=None,
    sources=None,
    cache=None,
    on_step=None,
):
    """Make anomalies of a model by name.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier under attack.
    X : array-like of shape (n_samples, *input_shape)
        Inputs to attack. Noise comes in their number and shape.
    y : array-like of int of shape (n_samples,)
        Their classes. Attacked is what the model classifies correctly.
    kinds : sequence of str
        Names from `ANOMALY_KINDS`, however written.
    threat : Threat, default=None
        How strong the attacks are; None is ``Threat()``.
    sources : array-like of int of shape (n_samples,), default=None
        Which rows of ``X_test`` the inputs are, for `evaluate`; None if they are none.
    cache : str or Path, default=None
        A folder that keeps what was made, under the content of all that went into it.
    on_step : callable, default=None
        Called with a line that tells what is done next.

    Returns
    -------
    dict of str to AnomalySet
        Of attacks the successful inputs, with the rate of success and the seconds. The
        misclassified are those inputs that the model classifies wrongly by itself.

    Raises
    ------
    ValueError
        For a kind that there is not.

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
    names = [_checked_kind(kind) for kind in kinds]
    X = read_array(X, "X")
    y = check_classes(y, len(X), "y")
    logits = LayerActivationTransformer(model, "logits")
    right = logits.fit_transform(X).argmax(axis=1) == y
    sources = None if sources is None else to_array(sources, "sources")
    store, step = Store(cache, "anomalies"), on_step or (lambda line: None)
    known = store.key(logits, joblib.hash((X, y)), threat)
    made = {}
    for name in names:
        step(f"making {name}")
        kept = store.load(key := store.key(known, name))
        if kept is None:
            start = time.perf_counter()
            kept = dict(_make(name, model, X, y, right, threat))
            kept["seconds"] = time.perf_counter() - start
            store.save(key, kept)
        rows = kept["rows"]
        made[name] = AnomalySet(
            kept["X"],
            None if sources is None or not len(rows) else sources[rows],
            success_rate=float(kept["success_rate"]),
            seconds=float(kept["seconds"]),
        )
    return made


def _checked_kind(kind):
    found = find_anomaly_kind(kind)
    if found is None:
        raise ValueError(
            f"kinds must be among {', '.join(ANOMALY_KINDS)}; got {brief(kind)}."
            f"{did_you_mean(kind, ANOMALY_KINDS)}"
        )
    return found


def _make(name, model, X, y, right, threat):
    """Return one kind: X, the rows that they were made from, rate of success."""
    none = np.empty(0, dtype=np.intp)
    if name == "misclassified":
        rows = np.flatnonzero(~right)
        return {"X": X[rows], "rows": rows, "success_rate": np.nan}
    if name in _OTHERS.values():
        found, rate = _noise(name, model, X, threat)
        return {"X": found.astype(X.dtype), "rows": none, "success_rate": rate}
    (attack,) = (a for a in ATTACKS.values() if a.name == name)
    rows = np.flatnonzero(right)[: threat.n_slow if attack.slow else None]
    if not len(rows):  # the model is right about none
        return {"X": X[rows], "rows": rows, "success_rate": np.nan}
    result = attack(model, X[rows], y[rows], threat)
    hit = result.success
    rate = float(hit.mean())
    return {"X": result.X_adv[hit], "rows": rows[hit], "success_rate": rate}


def _noise(name, model, X, threat):
    """Return noise or fooling images, as many as X."""
    n, shape = len(X), X.shape[1:]
    # Of its own for each kind, so that no kind depends on which others are made.
    offset = list(_OTHERS.values()).index(name)
    rng = check_random_state((threat.random_state + offset) % 2**32)
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
