"""Recipes: whole pipelines for the three papers."""

from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import StandardScaler

from .._messages import brief, listed
from ..feature_extraction import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
)
from ..torch_engine.activations import LOGITS, as_names
from ..torch_engine.model_state import ends_in_net
from ._loda import LODA
from ._mlp import MLPAnomalyClassifier
from ._per_class_svdd import PerClassSVDD
from ._pipeline import DetectorPipeline


def make_confounding_gradient_detector(
    model,
    *,
    log=False,
    input_shape=None,
    batch_size=128,
    num_workers=0,
    n_jobs=None,
    device=None,
    memory=None,
    verbose=False,
    random_state=None,
):
    """Build paper A: confounding-label gradient norms, then a supervised MLP.

    Parameters
    ----------
    model : torch.nn.Module, fitted skorch net or fitted Pipeline that ends in one
        A classifier that returns logits (n_samples, n_classes). It is never changed;
        the steps of a Pipeline before its net go before the detector, frozen.
    log : bool, default=False
        Whether the MLP gets the logarithms of the norms; the paper's gets the norms.
    input_shape, batch_size, num_workers, n_jobs, device, memory, verbose : optional
        As in :class:`skgrad.LayerActivationTransformer`.
    random_state : int, RandomState instance or None, default=None
        Draws what the MLP draws.

    Returns
    -------
    DetectorPipeline
        A classifier with steps ``gradients``, ``classify``. Fit it on inputs X and
        labels y, 0 for in-distribution and 1 for anomalies.

    Examples
    --------
    >>> import torch
    >>> from skgrad.detectors import make_confounding_gradient_detector
    >>> pipeline = make_confounding_gradient_detector(torch.nn.Linear(2, 3))
    >>> list(pipeline.named_steps)
    ['gradients', 'classify']
    """
    before, model = split_pipeline(model)
    gradients = ConfoundingGradientTransformer(
        model,
        log=log,
        input_shape=input_shape,
        batch_size=batch_size,
        num_workers=num_workers,
        n_jobs=n_jobs,
        device=device,
        memory=memory,
        verbose=verbose,
    )
    classify = MLPAnomalyClassifier(random_state=random_state)
    return DetectorPipeline([*before, ("gradients", gradients), ("classify", classify)])


# How the cosines of paper B are computed: by its text, or by its published code.
GEOMETRIC_SETTINGS: dict[str, dict] = {
    "paper": {},
    "authors_code": {"channel_reduction": "max", "logit_scale": 10.0},
}


def make_geometric_gradient_detector(
    model,
    *,
    setting="paper",
    sign=True,
    target_fpr=0.05,
    input_shape=None,
    batch_size=128,
    num_workers=0,
    n_jobs=None,
    device=None,
    memory=None,
    verbose=False,
    random_state=None,
):
    """Build paper B: statistics of saliency-map cosines, then LODA.

    Parameters
    ----------
    model : torch.nn.Module, fitted skorch net or fitted Pipeline that ends in one
        A classifier with 3 or more classes that returns logits (n_samples, n_classes).
        It is never changed; the steps of a Pipeline before its net go before the
        detector, frozen.
    setting : {"paper", "authors_code"}, default="paper"
        How the cosines are computed: as in the paper, or as in its authors' code, which
        takes the maximum of each map over the channels, the first axis of an input, and
        scales the logits of each input to a largest absolute value of 10.
    sign : bool, default=True
        Compare signs of gradients (the paper's) or the gradients themselves.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    input_shape, batch_size, num_workers, n_jobs, device, memory, verbose : optional
        As in :class:`skgrad.LayerActivationTransformer`.
    random_state : int, RandomState instance or None, default=None
        Draws the cuts of LODA and the samples held out for the threshold.

    Returns
    -------
    DetectorPipeline
        A novelty detector with steps ``cosines``, ``scale``, ``detect``. The paper fits
        it on correctly classified inputs.

    Examples
    --------
    >>> import torch
    >>> from skgrad.detectors import make_geometric_gradient_detector
    >>> pipeline = make_geometric_gradient_detector(torch.nn.Linear(2, 3))
    >>> list(pipeline.named_steps)
    ['cosines', 'scale', 'detect']
    """
    if setting not in GEOMETRIC_SETTINGS:
        valid = listed(sorted(GEOMETRIC_SETTINGS))
        raise ValueError(f"setting must be one of {valid}; got {brief(setting)}.")
    before, model = split_pipeline(model)
    cosines = CosineSimilarityMatrixTransformer(
        model,
        sign=sign,
        input_shape=input_shape,
        batch_size=batch_size,
        num_workers=num_workers,
        n_jobs=n_jobs,
        device=device,
        memory=memory,
        verbose=verbose,
        **GEOMETRIC_SETTINGS[setting],
    )
    # The paper does not say whether the statistics are standardised. They are here,
    # because their energies would dominate the others.
    # 100 cuts and 100 bins are the paper's for MNIST; for CIFAR it takes 500 bins.
    detect = LODA(n_bins=100, target_fpr=target_fpr, random_state=random_state)
    return DetectorPipeline(
        [*before, ("cosines", cosines), ("scale", StandardScaler()), ("detect", detect)]
    )


def make_uniform_detector(
    model,
    layers,
    *,
    nu=0.1,
    target_fpr=0.05,
    input_shape=None,
    batch_size=128,
    num_workers=0,
    n_jobs=None,
    device=None,
    memory=None,
    verbose=False,
    random_state=None,
):
    """Build paper C: a layer and the logits, then one SVDD per predicted class.

    The paper's threshold per class is ``.set_params(detect__threshold="per_class")``.

    Parameters
    ----------
    model : torch.nn.Module, fitted skorch net or fitted Pipeline that ends in one
        A classifier that returns logits (n_samples, n_classes). It is never changed;
        the steps of a Pipeline before its net go before the detector, frozen.
    layers : str, list of str or None
        The most discriminative layer, a name in ``model.named_modules()`` or
        "penultimate"; `skgrad.MostDiscriminativeLayer` finds it. Several have equal
        weights. None takes four, spread over the depth of the network.
    nu : float, default=0.1
        Bound on the share of training samples outside each description.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    input_shape, batch_size, num_workers, n_jobs, device, memory, verbose : optional
        As in :class:`skgrad.LayerActivationTransformer`.
    random_state : int, RandomState instance or None, default=None
        Draws the samples held out for the threshold.

    Returns
    -------
    DetectorPipeline
        A novelty detector with steps ``activations``, ``detect``.

    Examples
    --------
    >>> import torch
    >>> from skgrad.detectors import make_uniform_detector
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Linear(4, 3))
    >>> list(make_uniform_detector(model, "0").named_steps)
    ['activations', 'detect']
    """
    before, model = split_pipeline(model)
    activations = LayerActivationTransformer(
        model,
        with_logits(layers),
        input_shape=input_shape,
        batch_size=batch_size,
        num_workers=num_workers,
        n_jobs=n_jobs,
        device=device,
        memory=memory,
        verbose=verbose,
    )
    detect = PerClassSVDD(nu, target_fpr=target_fpr, random_state=random_state)
    return DetectorPipeline([*before, ("activations", activations), ("detect", detect)])


def split_pipeline(model):
    """Return the steps before the net of a fitted Pipeline, frozen, and the net."""
    if not ends_in_net(model) or len(model) < 2:
        return [], model
    return [("before", FrozenEstimator(model[:-1]))], model[-1]


def with_logits(layers):
    """Put the logits last, once, where the detectors expect them."""
    if layers is None:  # the transformer chooses some and adds the logits
        return None
    names = as_names(layers)
    if not names:
        raise ValueError("layers must name at least one layer; got none.")
    return [*(name for name in names if name != LOGITS), LOGITS]
