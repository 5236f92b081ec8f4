"""Whole pipelines, one line each: the three papers and their combination."""

from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from ..feature_extraction import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
)
from ..torch_engine.activations import LOGITS
from ..torch_engine.model_state import unwrap_model
from ._gaussian import ClassConditionalGaussian
from ._loda import LODA
from ._mlp import MLPAnomalyClassifier
from ._per_class_svdd import PerClassSVDD


def make_confounding_gradient_detector(
    model, *, log=False, device=None, random_state=None
):
    """Build paper A: confounding-label gradient norms, then a supervised MLP.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits.
    log : bool, default=False
        Whether the MLP gets the logarithms of the norms. The paper gives it the norms.
    device : str or torch.device, default=None
        Where the features are computed; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        For the MLP.

    Returns
    -------
    Pipeline
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
    gradients = ConfoundingGradientTransformer(model, log=log, device=device)
    classify = MLPAnomalyClassifier(random_state=random_state)
    return Pipeline([("gradients", gradients), ("classify", classify)])


def make_geometric_gradient_detector(
    model, *, sign=True, target_fpr=0.05, device=None, random_state=None
):
    """Build paper B: statistics of saliency-map cosines, then LODA.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier with 3 or more classes that returns logits.
    sign : bool, default=True
        Compare signs of gradients (the paper's) or the gradients themselves.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    device : str or torch.device, default=None
        Where the features are computed; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        For LODA.

    Returns
    -------
    Pipeline
        A novelty detector with steps ``cosines``, ``scale``, ``detect``. Fit it on
        in-distribution inputs; the paper takes correctly classified ones.

    Examples
    --------
    >>> import torch
    >>> from skgrad.detectors import make_geometric_gradient_detector
    >>> pipeline = make_geometric_gradient_detector(torch.nn.Linear(2, 3))
    >>> list(pipeline.named_steps)
    ['cosines', 'scale', 'detect']
    """
    cosines = CosineSimilarityMatrixTransformer(model, sign=sign, device=device)
    # 100 cuts and 100 bins are the paper's for MNIST; for CIFAR it takes 500 bins.
    detect = LODA(n_bins=100, target_fpr=target_fpr, random_state=random_state)
    return Pipeline(
        [("cosines", cosines), ("scale", StandardScaler()), ("detect", detect)]
    )


def make_uniform_detector(
    model, layer, *, nu=0.1, target_fpr=0.05, device=None, random_state=None
):
    """Build paper C: one layer and the logits, then one SVDD per predicted class.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits.
    layer : str or list of str
        The most discriminative layer, a name in ``model.named_modules()``; most often
        an early convolution. Several layers weigh alike.
    nu : float, default=0.1
        Bound on the share of training samples outside each description.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    device : str or torch.device, default=None
        Where the features are computed; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the samples held out for the threshold.

    Returns
    -------
    Pipeline
        A novelty detector with steps ``activations``, ``detect``. Fit it on
        in-distribution inputs.

    Examples
    --------
    >>> import torch
    >>> from skgrad.detectors import make_uniform_detector
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Linear(4, 3))
    >>> list(make_uniform_detector(model, "0").named_steps)
    ['activations', 'detect']
    """
    activations = LayerActivationTransformer(model, _with_logits(layer), device=device)
    detect = PerClassSVDD(nu, target_fpr=target_fpr, random_state=random_state)
    return Pipeline([("activations", activations), ("detect", detect)])


def make_recommended_detector(
    model, *, layers=None, target_fpr=0.05, device=None, random_state=None
):
    """Build the combination: gradient norms and early activations, per-class Gaussians.

    Gradients see what looks foreign to the whole network, early activations see what
    looks foreign to its first filters; attacks that deceive one rarely deceive both.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits.
    layers : str or list of str, default=None
        The layers to look at; None is the first one that has parameters and returns a
        tensor.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    device : str or torch.device, default=None
        Where the features are computed; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the samples held out for the threshold.

    Returns
    -------
    Pipeline
        A novelty detector with steps ``features``, ``detect``. Fit it on
        in-distribution inputs.

    Examples
    --------
    >>> import torch
    >>> from skgrad.detectors import make_recommended_detector
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Linear(4, 3))
    >>> list(make_recommended_detector(model).named_steps)
    ['features', 'detect']
    """
    if layers is None:
        layers = _first_layer(unwrap_model(model))
    layers = _with_logits(layers)
    gradients = ConfoundingGradientTransformer(model, log=True, device=device)
    activations = LayerActivationTransformer(model, layers, device=device)
    detect = ClassConditionalGaussian(
        include_logits=False, target_fpr=target_fpr, random_state=random_state
    )
    features = FeatureUnion([("gradients", gradients), ("activations", activations)])
    return Pipeline([("features", features), ("detect", detect)])


def _with_logits(layers):
    """Put the logits last, once, where the detectors look for them."""
    layers = [layers] if isinstance(layers, str) else layers
    return [*(layer for layer in layers if layer != LOGITS), LOGITS]


def _first_layer(module):
    """Name the first layer with parameters that returns a tensor, if there is one."""
    for name, part in module.named_modules():
        returns_tuple = isinstance(part, (nn.RNNBase, nn.MultiheadAttention))
        own = any(True for _ in part.parameters(recurse=False))
        if name and own and not returns_tuple:
            return [name]
    return []
