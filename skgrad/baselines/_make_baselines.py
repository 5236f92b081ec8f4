"""All baselines over one model, for one table."""

from functools import partial

from sklearn.pipeline import make_pipeline

from ..detectors import (
    CORE,
    FDBD,
    GEN,
    NCI,
    RMDS,
    DeepKNN,
    Energy,
    MaxLogit,
    MaxSoftmaxProbability,
    ViM,
)
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

# ODIN's for CIFAR-10, which is also among those tried in the paper of Mahalanobis.
_EPS = 0.0014


def make_baselines(
    model,
    *,
    learn_from_anomalies=False,
    bounds=(0.0, 1.0),
    target_fpr=0.05,
    input_shape=None,
    batch_size=128,
    device=None,
    verbose=False,
    random_state=None,
):
    """Make every baseline over one model, for one table.

    Each is unfitted and has the parameters of its paper; ``set_params`` changes them.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    learn_from_anomalies : bool, default=False
        Whether to make only those that learn a logistic regression from known
        anomalies, as in their papers. Fit them on X and y with y = -1 for anomalies.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest value of the inputs, for feature squeezing.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    input_shape : array-like of int, default=None
        Shape of one sample, when X comes as 2-D rows.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    verbose : bool or int, default=False
        Whether to show a progress bar.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples.

    Returns
    -------
    dict of str to estimator
        The detectors by name.

    Notes
    -----
    GradNorm, fDBD, ViM, NCI and CORE need a network whose last layer is linear: ``fit``
    raises for others.

    Bayesian uncertainty needs dropout: for a model without dropout, the kernel density
    alone is made, under the name "KD".

    "ODIN", "Mahalanobis P", "Mahalanobis P+FE" and "feature squeezing" change their
    inputs a little: of several inputs the one of floats, if there is one. Whole numbers
    such as token ids cannot be changed so: for these leave them out. "ELO" needs known
    anomalies for them.

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import make_baselines
    >>> baselines = make_baselines(torch.nn.Linear(4, 3))
    >>> list(baselines)[:4]
    ['max softmax', 'max logit', 'energy', 'GEN']
    """
    passes = {
        "model": model,
        "input_shape": input_shape,
        "batch_size": batch_size,
        "device": device,
        "verbose": verbose,
    }
    common = {"target_fpr": target_fpr, "random_state": random_state}
    over_model = {**passes, **common}
    # The others would ignore the anomalies in y.
    if learn_from_anomalies:
        return _learners(**over_model, combination="logistic")

    def over(layers, detector):
        features = LayerActivationTransformer(layers=layers, **passes)
        return make_pipeline(features, detector(**common))

    over_logits = partial(over, "logits")
    over_last_layer = partial(over, ["penultimate", "logits"])
    return {
        "max softmax": over_logits(MaxSoftmaxProbability),
        "max logit": over_logits(MaxLogit),
        "energy": over_logits(Energy),
        "GEN": over_logits(GEN),
        "RMDS": over_last_layer(RMDS),
        "RMDS++": over_last_layer(partial(RMDS, normalize=True)),
        "KNN": over_last_layer(DeepKNN),
        "fDBD": over_last_layer(FDBD),
        "ViM": over_last_layer(ViM),
        "NCI": over_last_layer(NCI),
        "CORE": over_last_layer(CORE),
        "ODIN": ODIN(eps=_EPS, **over_model),
        "GradNorm": GradNorm(**over_model),
        "feature squeezing": FeatureSqueezing(bounds=bounds, **over_model),
        "Mahalanobis": Mahalanobis(**over_model),
        "Mahalanobis++": Mahalanobis(normalize=True, **over_model),
        "Mahalanobis P": Mahalanobis(eps=_EPS, **over_model),
        "ELO": ELO(**over_model),
        **_learners(**over_model),
    }


def _learners(model, **options):
    """Make the baselines whose papers learn from anomalies."""
    ensemble = partial(Mahalanobis, model, layers="all", **options)
    density = partial(KernelDensityUncertainty, model, **options)
    learners = {
        "Mahalanobis FE": ensemble(),
        "Mahalanobis P+FE": ensemble(eps=_EPS),
        "LID": LID(model, **options),
    }
    if dropout_layers(unwrap_model(model)):
        return learners | {"KD+BU": density()}
    return learners | {"KD": density(n_passes=0)}
