"""Detectors by name: the papers', the recommended one, the baselines."""

import re

from .._messages import did_you_mean
from ..baselines import make_baselines
from ..detectors import (
    ConformalDetector,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from ._names import find_shown, letters

_BASELINES = {
    "max-softmax": "max softmax",
    "max-logit": "max logit",
    "energy": "energy",
    "odin": "ODIN",
    "gradnorm": "GradNorm",
    "feature-squeezing": "feature squeezing",
    "mahalanobis": "Mahalanobis",
    "mahalanobis-p": "Mahalanobis P",
    "elo": "ELO",
}
# Those that can learn from anomalies, and are baselines without them too.
_LEARNERS = {
    "mahalanobis-fe": "Mahalanobis FE",
    "mahalanobis-p-fe": "Mahalanobis P+FE",
    "lid": "LID",
    "kd-bu": "KD+BU",
}
_TAUGHT = ", supervised"
SUPERVISED = {"a": "A: MLP"} | {
    f"{slug}-supervised": f"{name}{_TAUGHT}" for slug, name in _LEARNERS.items()
}
DETECTOR_KINDS = {
    "recommended": "recommended",
    "a": SUPERVISED["a"],
    "b": "B: LODA",
    "c": "C: SVDD",
    **_BASELINES,
    **_LEARNERS,
    **SUPERVISED,
}
"""The detectors that `make_detectors` can make, by the words that people type.

The values are the names in tables. `find_detector` takes either, however written.
"""


def find_detector(name):
    """Return the name in tables of a detector, however it is written.

    Parameters
    ----------
    name : str
        Such as ``"c"``, ``"C: SVDD"``, ``"max-softmax"`` or ``"Mahalanobis P+FE"``.

    Returns
    -------
    str or None
        A value of `DETECTOR_KINDS`; None if there is no such detector.

    Examples
    --------
    >>> from skgrad.evaluation import find_detector
    >>> find_detector("max_softmax")
    'max softmax'
    """
    # A network without dropout has the density alone.
    wanted = re.sub("^kd(?!bu)", "kdbu", letters(name))
    return find_shown(wanted, DETECTOR_KINDS)


def make_detectors(
    model,
    names,
    *,
    random_state=None,
    target_fpr=0.05,
    device=None,
    bounds=(0.0, 1.0),
):
    """Make detectors over one model by name, to stand in one table.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits.
    names : sequence of str
        Keys or values of `DETECTOR_KINDS`, however written; ``"all"`` stands for all of
        them, ``"unsupervised"`` for those that need no anomalies.
    random_state : int, RandomState instance or None, default=None
        Draws held-out samples and seeds what is random.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    bounds : tuple of two floats, default=(0.0, 1.0)
        Lowest and highest value of the inputs, for feature squeezing.

    Returns
    -------
    dict of str to estimator
        Unfitted detectors by their names in tables, in the order asked for.

    Raises
    ------
    ValueError
        For a name that there is not.

    See Also
    --------
    evaluate : Judges them.

    Notes
    -----
    "A: MLP" and those named "supervised" learn from anomalies: fit them on X and y with
    y = -1 for anomalies, as protocols A and A' of `evaluate` do. "C: SVDD" looks at
    four layers spread over the depth; the paper's choice of one needs anomalies
    (`skgrad.MostDiscriminativeLayer`). A model without dropout gets "KD" for "KD+BU".

    Examples
    --------
    >>> import torch
    >>> from skgrad.evaluation import make_detectors
    >>> list(make_detectors(torch.nn.Linear(4, 3), ["recommended", "c", "max-softmax"]))
    ['recommended', 'C: SVDD', 'max softmax']
    """
    if not isinstance(names, (str, list, tuple)):
        raise TypeError(f"names must be a list of names of detectors; got {names!r}.")
    names = [names] if isinstance(names, str) else names
    wanted = [shown for name in names for shown in checked_names(name)]
    common = {"random_state": random_state, "target_fpr": target_fpr}
    where = {"device": device}
    mlp = make_confounding_gradient_detector(model, random_state=random_state, **where)
    made = {
        "recommended": make_recommended_detector(model, **common, **where),
        # Around the classifier, for a threshold that keeps the promised rate.
        "A: MLP": ConformalDetector(mlp, **common),
        "B: LODA": make_geometric_gradient_detector(model, **common, **where),
        "C: SVDD": make_uniform_detector(model, None, **common, **where),
        **make_baselines(model, bounds=bounds, **common, **where),
    }
    taught = make_baselines(model, learn_from_anomalies=True, **common, **where)
    made |= {f"{name}{_TAUGHT}": learner for name, learner in taught.items()}
    chosen = {}
    for name in wanted:
        there = name if name in made else name.replace("KD+BU", "KD")
        chosen[there] = made[there]
    return chosen


def checked_names(name):
    """Return the names in tables that a name stands for, or say which there are."""
    if name in ("all", "unsupervised"):
        supervised = SUPERVISED.values() if name == "unsupervised" else ()
        return [shown for shown in DETECTOR_KINDS.values() if shown not in supervised]
    found = find_detector(name)
    if found is None:
        raise ValueError(
            f"names must be among {', '.join(DETECTOR_KINDS)}, all or unsupervised; "
            f"got {name!r}.{did_you_mean(name, DETECTOR_KINDS)}"
        )
    return [found]
