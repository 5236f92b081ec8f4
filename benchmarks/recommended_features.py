"""What the detectors of ``recommended.py`` look at, computed once for each setting."""

from pathlib import Path

import numpy as np
from recommended_settings import SETTINGS as FIRST_SETTINGS
from settings_of_today import SETTINGS as SETTINGS_OF_TODAY

from skgrad.baselines import FeatureSqueezing
from skgrad.feature_extraction import (
    FeatureArray,
    GradientNorms,
    LayerActivations,
    NetworkFeatures,
    Stability,
)

SETTINGS = {**FIRST_SETTINGS, **SETTINGS_OF_TODAY}
# Gradients of the other networks take longer than all else together.
WITH_GRADIENTS = {"ecg", "lenet", "mlp", "cifar", "speech", "vit"}
# Large networks have fewer anomalies of each kind.
MOST_ANOMALIES = {"resnet18": 60, "resnet56": 60, "imagenet": 36}
# Fewer show nothing.
FEWEST_ANOMALIES = 5
DIGITS = {"lenet", "mlp", "vit", "two digits"}
CHANGES = {
    "images": ["noise", "shift", "blur", "flip"],
    "series": ["noise"],
    "tokens": ["noise", "mask", "drop"],
}


def features_of(setting, root, n, n_known, networks):
    """Return the features of a setting, and more that variants and judges ask for.

    A dictionary: ``matrices`` by name, "fit" to fit on, "id" to judge, and one for each
    kind of anomaly; ``right``, which of "id" are classified correctly; the ``changes``
    of the inputs, and which of them are chosen by default, ``auto``.
    """
    n = min(n, MOST_ANOMALIES.get(setting, n))
    model, fits, x, y, anomalies = SETTINGS[setting](Path(root), n, 0, networks)
    fit, x, y = first(fits["fit"], n_known), first(x, n_known), y[:n_known]
    transform = transformer(model, fit, setting in WITH_GRADIENTS)
    squeezing = None
    if kind_of(x) != "tokens":
        # The paper's: one bit for digits, five for colours.
        squeezing = FeatureSqueezing(
            model,
            bit_depth=1 if setting in DIGITS else 5,
            bounds=(float(fit.min()), float(fit.max())),
            batch_size=64,
        ).fit(fit)
    parts = {"fit": fit, "id": x, **anomalies}
    matrices = {
        name: matrix_of(first(part, n_known), transform, squeezing)
        for name, part in parts.items()
        if n_samples(part) >= FEWEST_ANOMALIES
    }
    names = matrices["id"].feature_names
    logits = [name.startswith("layers__logits_") for name in names]
    right = matrices["id"][:, logits].argmax(axis=1) == np.asarray(y)
    changes = {"changes": CHANGES[kind_of(x)], "auto": chosen_changes(model, fit)}
    return {"matrices": matrices, "right": right, **changes}


def transformer(model, fit, with_gradients):
    """Fit the transformer of all families."""
    families = [
        ("stability", Stability(CHANGES[kind_of(fit)], random_state=0)),
        ("layers", LayerActivations(None)),
        ("last", LayerActivations("penultimate")),
    ]
    if with_gradients:
        families.insert(0, ("gradients", GradientNorms(log=True)))
    return NetworkFeatures(model, families, batch_size=64).fit(fit)


def matrix_of(x, features, squeezing):
    """Return the columns of all families, and the score of feature squeezing."""
    matrix = features.transform(x)
    if squeezing is None:
        return matrix
    scores = FeatureArray(squeezing.score_samples(x)[:, None], ["squeezing__score"])
    return np.hstack([matrix, scores])


def kind_of(x):
    """Return what the inputs are: images, series or tokens."""
    if isinstance(x, dict):
        return "tokens"
    return "images" if x.ndim == 4 else "series"


def chosen_changes(model, x):
    """Return the changes that `Stability` chooses by default."""
    chosen = NetworkFeatures(model, [("stability", Stability())]).fit(first(x, 20))
    return chosen.families_["stability"].changes_


def n_samples(x):
    """Return the number of samples in inputs of one array or of several."""
    return len(next(iter(x.values())) if isinstance(x, dict) else x)


def first(x, n):
    """Return the first samples of inputs of one array or of several."""
    if isinstance(x, dict):
        return {name: part[:n] for name, part in x.items()}
    return x[:n]
