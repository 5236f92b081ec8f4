"""Transformers that turn the inputs of a torch model into feature matrices."""

from ._activations import LayerActivationTransformer
from ._confounding import ConfoundingGradientTransformer
from ._cosine import CosineSimilarityMatrixTransformer
from ._feature_array import FeatureArray
from ._gradient_norms import GradientNorms
from ._hold import hold
from ._layer_activations import LayerActivations
from ._network_features import NetworkFeatures
from ._predict_logits import predict_logits
from ._saliency_cosines import SaliencyCosines
from ._stability import Stability
from ._stability_transformer import StabilityTransformer

__all__ = [
    "ConfoundingGradientTransformer",
    "CosineSimilarityMatrixTransformer",
    "FeatureArray",
    "GradientNorms",
    "LayerActivationTransformer",
    "LayerActivations",
    "NetworkFeatures",
    "SaliencyCosines",
    "Stability",
    "StabilityTransformer",
    "hold",
    "predict_logits",
]
