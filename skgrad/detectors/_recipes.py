"""Recipes: whole pipelines for the three papers and their combination."""

from sklearn.frozen import FrozenEstimator
from sklearn.preprocessing import StandardScaler

from .._messages import brief, listed
from ..feature_extraction import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    GradientNorms,
    LayerActivations,
    LayerActivationTransformer,
    NetworkFeatures,
    Stability,
)
from ..torch_engine.activations import LOGITS, as_names
from ..torch_engine.model_state import ends_in_net
from ._combined import CombinedDetector
from ._gaussian import ClassConditionalGaussian
from ._gen import GEN
from ._loda import LODA
from ._logits import Energy, MaxSoftmaxProbability
from ._mlp import MLPAnomalyClassifier
from ._per_class_svdd import PerClassSVDD
from ._pipeline import DetectorPipeline
from ._stability import ConfidenceDrop, StableConfidence

# The effort of `make_recommended_detector`.
_EFFORTS = ("low", "medium", "high")


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
    before, model = _split(model)
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
    before, model = _split(model)
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
    before, model = _split(model)
    activations = LayerActivationTransformer(
        model,
        _with_logits(layers),
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


def make_recommended_detector(
    model,
    layers=None,
    *,
    effort="medium",
    changes="auto",
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
    """Build the recommended detector: confidence, density and stability combined.

    Several scores, each converted to a p-value: the confidence of the network, its
    confidence on slightly changed copies of the input and how far it falls on them, and
    the density of layer activations among the inputs of the same predicted class. The
    parts were chosen in ``benchmarks/recommended.py``, on data that no table reports.

    Parameters
    ----------
    model : torch.nn.Module, fitted skorch net or fitted Pipeline that ends in one
        A classifier that returns logits (n_samples, n_classes). It is never changed;
        the steps of a Pipeline before its net go before the detector, frozen.
    layers : str or list of str, default=None
        Names of layers, or "penultimate". None takes four, spread over the depth.
    effort : {"low", "medium", "high"}, default="medium"
        What may be spent on an input. "low" is one forward pass, without changed
        copies: it judges softmax and energy of the logits. "medium" adds a forward pass
        for each change, one or two by default. "high" also takes gradient norms into
        the density, at one backward pass.
    changes : str, callable, tuple of (str, callable) or list of these, default="auto"
        The small changes, as in :class:`skgrad.StabilityTransformer`: "auto" takes
        "noise" and "flip" for images in colour, "noise" and "blur" for others, "noise"
        for all else, which of token ids is added at their embedding. With
        ``effort="low"`` it has no effect.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    input_shape, batch_size, num_workers, n_jobs, device, memory, verbose : optional
        As in :class:`skgrad.LayerActivationTransformer`.
    random_state : int, RandomState instance or None, default=None
        Draws the samples held out for the p-values and for the threshold, and the
        noise.

    Returns
    -------
    DetectorPipeline
        A novelty detector with steps ``features``, ``detect``.

    Examples
    --------
    >>> import torch
    >>> from skgrad.detectors import make_recommended_detector
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Linear(4, 3))
    >>> list(make_recommended_detector(model).named_steps)
    ['features', 'detect']
    """
    if effort not in _EFFORTS:
        valid = listed(_EFFORTS)
        raise ValueError(f"effort must be one of {valid}; got {brief(effort)}.")
    # Last among the layers, the logits are found there without names too.
    families = [("activations", LayerActivations(_with_logits(layers)))]
    # The confidence judges the logits, so the density leaves them out, unless nothing
    # else can be watched. Half a tied covariance is stable with few inputs per class.
    density = ClassConditionalGaussian(covariance=0.5, include_logits="if_alone")
    # The last number is the largest p-value that counts. Density, drop and energy know
    # little of near data and of mistakes, and would drown the confidence there.
    if effort == "low":
        parts = [
            ("confidence", MaxSoftmaxProbability(), 1),
            ("energy", Energy(), 0.2),
            ("density", density, 0.5),
        ]
    else:
        stability = Stability(changes, random_state=random_state)
        families.insert(0, ("stability", stability))
        parts = [
            ("confidence", GEN(), 1),
            ("density", density, 0.5),
            ("stability", StableConfidence(), 1),
            ("drop", ConfidenceDrop(), 0.2),
        ]
    if effort == "high":
        # Norms span many orders of magnitude; their logarithms are closer to a
        # Gaussian.
        families.insert(0, ("gradients", GradientNorms(log=True)))
    before, model = _split(model)
    features = NetworkFeatures(
        model,
        families,
        input_shape=input_shape,
        batch_size=batch_size,
        num_workers=num_workers,
        n_jobs=n_jobs,
        device=device,
        memory=memory,
        verbose=verbose,
    )
    detect = CombinedDetector(
        [(name, part) for name, part, _ in parts],
        two_sided=["energy"] if effort == "low" else None,
        max_p_values=[largest for _, _, largest in parts],
        target_fpr=target_fpr,
        random_state=random_state,
    )
    return DetectorPipeline([*before, ("features", features), ("detect", detect)])


def _split(model):
    """Return the steps before the net of a fitted Pipeline, frozen, and the net."""
    if not ends_in_net(model) or len(model) < 2:
        return [], model
    return [("before", FrozenEstimator(model[:-1]))], model[-1]


def _with_logits(layers):
    """Put the logits last, once, where the detectors expect them."""
    if layers is None:  # the transformer chooses some and adds the logits
        return None
    names = as_names(layers)
    if not names:
        raise ValueError("layers must name at least one layer; got none.")
    return [*(name for name in names if name != LOGITS), LOGITS]
