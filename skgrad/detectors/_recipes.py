"""Whole pipelines, one line each: the three papers and their combination."""

from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import StandardScaler

from .._messages import brief, listed
from ..feature_extraction import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
)
from ..torch_engine.activations import LOGITS, as_names
from ._combined import CombinedDetector
from ._energy import Energy
from ._gaussian import ClassConditionalGaussian
from ._loda import LODA
from ._max_softmax import MaxSoftmaxProbability
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
    device=None,
    random_state=None,
):
    """Build paper B: statistics of saliency-map cosines, then LODA.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier with 3 or more classes that returns logits.
    setting : {"paper", "authors_code"}, default="paper"
        How the cosines are computed: as the paper writes, or as its authors' published
        code does, which takes the maximum of each map over the channels, the first axis
        of an input, and first scales the logits of each input to a largest absolute
        value of 10. Inputs need channels then. The code holds no detector; that is the
        paper's in both.
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

    Raises
    ------
    ValueError
        If ``setting`` is none of these.

    Notes
    -----
    The paper does not say whether the statistics are standardised; they are here,
    because their energies would outweigh the rest.

    Examples
    --------
    >>> import torch
    >>> from skgrad.detectors import make_geometric_gradient_detector
    >>> pipeline = make_geometric_gradient_detector(torch.nn.Linear(2, 3))
    >>> list(pipeline.named_steps)
    ['cosines', 'scale', 'detect']
    """
    if setting not in GEOMETRIC_SETTINGS:
        raise ValueError(
            f"setting must be one of {listed(sorted(GEOMETRIC_SETTINGS))}; got "
            f"{brief(setting)}."
        )
    cosines = CosineSimilarityMatrixTransformer(
        model, sign=sign, device=device, **GEOMETRIC_SETTINGS[setting]
    )
    # 100 cuts and 100 bins are the paper's for MNIST; for CIFAR it takes 500 bins.
    detect = LODA(n_bins=100, target_fpr=target_fpr, random_state=random_state)
    return Pipeline(
        [("cosines", cosines), ("scale", StandardScaler()), ("detect", detect)]
    )


def make_uniform_detector(
    model, layer, *, nu=0.1, target_fpr=0.05, device=None, random_state=None
):
    """Build paper C: one layer and the logits, then one SVDD per predicted class.

    The paper's threshold per class is
    ``.set_params(detect__threshold="per_class")``; here it is one for all.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits.
    layer : str, list of str or None
        The most discriminative layer, a name in ``model.named_modules()``; most often
        an early convolution. Several layers weigh alike. None takes four, spread over
        the depth of the network; `skgrad.MostDiscriminativeLayer` finds the one.
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
    activations = LayerActivationTransformer(
        model, _with_logits(layer, "layer"), device=device
    )
    detect = PerClassSVDD(nu, target_fpr=target_fpr, random_state=random_state)
    return Pipeline([("activations", activations), ("detect", detect)])


def make_recommended_detector(
    model, *, layers=None, target_fpr=0.05, device=None, memory=None, random_state=None
):
    """Build the combination: how sure, how excited, how usual in gradients and layers.

    Three views of an input, each turned into a p-value: the network's confidence; the
    energy of its logits, suspicious when low and when high; and the density, among the
    inputs predicted alike, of its gradient norms and layer activations. What deceives
    one of them rarely deceives all.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits.
    layers : str or list of str, default=None
        The layers to look at; None takes four convolutions or linear layers, spread
        evenly over the depth of the network.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    device : str or torch.device, default=None
        Where the features are computed; None is the model's own device.
    memory : str, path-like or joblib.Memory, default=None
        Where the features are kept, sample by sample; None keeps none.
    random_state : int, RandomState instance or None, default=None
        Draws the samples held out for the p-values and for the threshold.

    Returns
    -------
    Pipeline
        A novelty detector with steps ``features``, ``detect``. Fit it on
        in-distribution inputs.

    Notes
    -----
    The parts were chosen on data that no table of this library reports:
    ``benchmarks/recommended.py`` and its figures in ``benchmarks/RESULTS.md``.

    It was made for networks of images and series. A network of rows of measurements may
    look away from what is odd in a row: see the guide on rows, and compare with a
    detector over the rows themselves.

    Examples
    --------
    >>> import torch
    >>> from skgrad.detectors import make_recommended_detector
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Linear(4, 3))
    >>> list(make_recommended_detector(model).named_steps)
    ['features', 'detect']
    """
    where = {"device": device, "memory": memory}
    gradients = ConfoundingGradientTransformer(model, log=True, **where)
    activations = LayerActivationTransformer(
        model, _with_logits(layers, "layers"), **where
    )
    features = FeatureUnion([("gradients", gradients), ("activations", activations)])
    detect = CombinedDetector(
        [
            ("confidence", MaxSoftmaxProbability()),
            ("energy", Energy()),
            ("density", ClassConditionalGaussian(covariance=0.5, include_logits=False)),
        ],
        two_sided=["energy"],
        target_fpr=target_fpr,
        random_state=random_state,
    )
    return Pipeline([("features", features), ("detect", detect)])


def _with_logits(layers, parameter):
    """Put the logits last, once, where the detectors look for them."""
    if layers is None:  # the transformer finds some, and adds the logits
        return None
    names = as_names(layers, parameter)
    if not names:
        raise ValueError(f"{parameter} must name at least one layer; got none.")
    return [*(name for name in names if name != LOGITS), LOGITS]
