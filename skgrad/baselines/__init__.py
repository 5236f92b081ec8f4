"""The methods that the papers compare with, as detectors over a model."""

from ._feature_squeezing import FeatureSqueezing
from ._gradnorm import GradNorm
from ._odin import ODIN

__all__ = ["ODIN", "FeatureSqueezing", "GradNorm"]
