"""The recommended detector: confidence, density and stability combined."""

from .._messages import brief, listed
from ..feature_extraction import (
    GradientNorms,
    LayerActivations,
    NetworkFeatures,
    Stability,
)
from ._combined import CombinedDetector
from ._gaussian import ClassConditionalGaussian
from ._gen import GEN
from ._logits import Energy, MaxSoftmaxProbability
from ._pipeline import DetectorPipeline
from ._recipes import split_pipeline, with_logits
from ._stability import ConfidenceDrop, StableConfidence

_EFFORTS = ("low", "medium", "high")


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
    families = [("activations", LayerActivations(with_logits(layers)))]
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
    before, model = split_pipeline(model)
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
