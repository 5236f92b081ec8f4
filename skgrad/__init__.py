"""Find the predictions of a trained PyTorch classifier that deserve no trust.

Transformers turn the inputs of a torch model into features of its gradients and
activations; detectors over those features keep scikit-learn's contract. The names
below are imported when they are first used, so that ``import skgrad`` is quick.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "ClassConditionalDetector": "detectors",
    "ClassConditionalGaussian": "detectors",
    "CombinedDetector": "detectors",
    "ConfidenceDrop": "detectors",
    "ConformalDetector": "detectors",
    "ConfoundingGradientTransformer": "feature_extraction",
    "CosineSimilarityMatrixTransformer": "feature_extraction",
    "Energy": "detectors",
    "GuardedClassifier": "guard",
    "LODA": "detectors",
    "LayerActivationTransformer": "feature_extraction",
    "MLPAnomalyClassifier": "detectors",
    "MaxLogit": "detectors",
    "MaxSoftmaxProbability": "detectors",
    "MostDiscriminativeLayer": "model_selection",
    "NetworkFeatures": "feature_extraction",
    "NoveltyKFold": "model_selection",
    "PerClassSVDD": "detectors",
    "PyODDetector": "detectors",
    "StabilityTransformer": "feature_extraction",
    "export": "guard",
    "hold": "feature_extraction",
    "load": "persistence",
    "StableConfidence": "detectors",
    "make_confounding_gradient_detector": "detectors",
    "make_geometric_gradient_detector": "detectors",
    "make_recommended_detector": "detectors",
    "make_uniform_detector": "detectors",
    "predict_logits": "feature_extraction",
    "read_card": "persistence",
    "save": "persistence",
}
_ROOMS = (
    "attacks",
    "baselines",
    "datasets",
    "detectors",
    "evaluation",
    "feature_extraction",
    "guard",
    "inspection",
    "metrics",
    "model_selection",
    "persistence",
)

__all__ = ["__version__", *_HOMES, *_ROOMS]


def __getattr__(name):
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
