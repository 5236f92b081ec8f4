"""All baselines that stand in the same table."""

from functools import partial
from numbers import Real

import torch
from sklearn.pipeline import make_pipeline

from .._compat import Interval, validate_params
from ..detectors import Energy, MaxLogit, MaxSoftmaxProbability
from ..feature_extraction import LayerActivationTransformer
from ..torch_engine.dropout import dropout_layers
from ..torch_engine.model_state import unwrap_model
from ._elo import ELO
from ._feature_squeezing import FeatureSqueezing
from ._gradnorm import GradNorm
from ._kernel_density import KernelDensityUncertainty
from ._lid import LID
from ._mahalanobis import Mahalanobis
from ._odin import ODIN

# ODIN's for CIFAR-10, and one of those that Mahalanobis' paper tries.
_EPSILON = 0.0014


@validate_params(
    {
        "model": "no_validation",  # the engine's message says more
        "learn_from_anomalies": ["boolean"],
        "bounds": "no_validation",  # FeatureSqueezing's message says more
        "target_fpr": [Interval(Real, 0, 1, closed="neither")],
        "device": [str, torch.device, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_baselines(
    model,
    *,
    learn_from_anomalies=False,
    bounds=(0.0, 1.0),
    target_fpr=0.05,
    device=None,
    random_state=None,
):
    """Make every baseline over one model, to stand in one table.

    Each is unfitted, takes the inputs of the model, and has the parameters of its
    paper; ``set_params`` changes them.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits.
    learn_from_anomalies : bool, default=False
        Whether to make those that learn a logistic regression from known anomalies, as
        their papers do. Fit them on X and y with y = -1 for the anomalies.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest value of the inputs, for feature squeezing.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples.

    Returns
    -------
    dict of str to estimator
        The detectors by name.

    Notes
    -----
    Bayesian uncertainty needs dropout: a model that has none gets the kernel density
    alone, under the name "KD".

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import make_baselines
    >>> baselines = make_baselines(torch.nn.Linear(4, 3))
    >>> list(baselines)[:4]
    ['max softmax', 'max logit', 'energy', 'ODIN']
    """
    common = {"target_fpr": target_fpr, "random_state": random_state}
    over_model = {"model": model, "device": device, **common}
    if learn_from_anomalies:
        return _learners(**over_model, combination="logistic")

    def over_logits(detector):
        logits = LayerActivationTransformer(model, "logits", device=device)
        return make_pipeline(logits, detector(**common))

    return {
        "max softmax": over_logits(MaxSoftmaxProbability),
        "max logit": over_logits(MaxLogit),
        "energy": over_logits(Energy),
        "ODIN": ODIN(epsilon=_EPSILON, **over_model),
        "GradNorm": GradNorm(**over_model),
        "feature squeezing": FeatureSqueezing(bounds=bounds, **over_model),
        "Mahalanobis": Mahalanobis(**over_model),
        "Mahalanobis P": Mahalanobis(epsilon=_EPSILON, **over_model),
        "ELO": ELO(**over_model),
        **_learners(**over_model),
    }


def _learners(model, **options):
    """Make those whose papers learn from anomalies."""
    ensemble = partial(Mahalanobis, model, layers="all", **options)
    density = partial(KernelDensityUncertainty, model, **options)
    learners = {
        "Mahalanobis FE": ensemble(),
        "Mahalanobis P+FE": ensemble(epsilon=_EPSILON),
        "LID": LID(model, **options),
    }
    if dropout_layers(unwrap_model(model)):
        return learners | {"KD+BU": density()}
    return learners | {"KD": density(n_passes=0)}
