"""Detectors by name: the papers', the recommended one, the baselines."""

from .._messages import did_you_mean
from ..baselines import make_baselines
from ..detectors import (
    ConformalDetector,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from ._names import find_name

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
# These can learn from anomalies, and are baselines also without them.
_LEARNERS = {
    "mahalanobis-fe": "Mahalanobis FE",
    "mahalanobis-p-fe": "Mahalanobis P+FE",
    "lid": "LID",
    "kd-bu": "KD+BU",
}
_SUPERVISED = ", supervised"
SUPERVISED = {"a": "A: MLP"} | {
    f"{slug}-supervised": f"{name}{_SUPERVISED}" for slug, name in _LEARNERS.items()
}
# Names on a command line and in tables.
KINDS = {
    "recommended": "recommended",
    "a": SUPERVISED["a"],
    "b": "B: LODA",
    "c": "C: SVDD",
    **_BASELINES,
    **_LEARNERS,
    **SUPERVISED,
}


def make_detectors(model, names, *, target_fpr=0.05, bounds=(0.0, 1.0)):
    """Make detectors over one model by name, to stand in one table.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits.
    names : sequence of str
        Values of `KINDS`.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    bounds : tuple of two floats, default=(0.0, 1.0)
        Lowest and highest value of the inputs, for feature squeezing.

    Returns
    -------
    dict of str to estimator
        Unfitted detectors by name. "C: SVDD" uses four layers spread over the depth,
        as the paper's choice of one needs anomalies. A model without dropout gets "KD"
        for "KD+BU".
    """
    common = {"target_fpr": target_fpr}
    mlp = make_confounding_gradient_detector(model)
    made = {
        "recommended": make_recommended_detector(model, **common),
        # Around the classifier, for a threshold that keeps the promised rate.
        "A: MLP": ConformalDetector(mlp, **common),
        "B: LODA": make_geometric_gradient_detector(model, **common),
        "C: SVDD": make_uniform_detector(model, None, **common),
        **make_baselines(model, bounds=bounds, **common),
    }
    learners = make_baselines(model, learn_from_anomalies=True, **common)
    made |= {f"{name}{_SUPERVISED}": learner for name, learner in learners.items()}
    # A network without dropout has the density alone.
    found = [name if name in made else name.replace("KD+BU", "KD") for name in names]
    return {name: made[name] for name in found}


def resolve_names(name, *, supervised):
    """Return the names in tables that a name stands for.

    "all" stands for all detectors, without ``supervised`` for those that need no
    anomalies.
    """
    if name == "all":
        every = KINDS.values()
        return [n for n in every if supervised or n not in SUPERVISED.values()]
    # A network without dropout has the density alone.
    found = find_name("kdbu" if name.lower() == "kd" else name, KINDS)
    if found is None:
        raise ValueError(
            f"detectors must be among all, {', '.join(KINDS)}, or "
            f"package.module:name; got {name!r}.{did_you_mean(name, KINDS)}"
        )
    return [found]
