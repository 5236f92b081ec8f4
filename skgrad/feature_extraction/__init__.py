"""Transformers that turn the inputs of a torch model into feature matrices."""

from ._activations import LayerActivationTransformer
from ._confounding import ConfoundingGradientTransformer
from ._cosine import CosineSimilarityMatrixTransformer
from ._feature_array import FeatureArray
from ._hold import hold
from ._predict_logits import predict_logits

__all__ = [
    "ConfoundingGradientTransformer",
    "CosineSimilarityMatrixTransformer",
    "FeatureArray",
    "LayerActivationTransformer",
    "hold",
    "predict_logits",
]
