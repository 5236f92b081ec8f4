"""The methods that the papers compare with, as detectors over a model."""

from ._feature_squeezing import FeatureSqueezing
from ._gradnorm import GradNorm
from ._odin import ODIN
from ._outlier_exposure import OutlierExposureLoss, fine_tune_with_outliers
from ._pytorch_ood import PyTorchOODDetector

__all__ = [
    "ODIN",
    "FeatureSqueezing",
    "GradNorm",
    "OutlierExposureLoss",
    "PyTorchOODDetector",
    "fine_tune_with_outliers",
]
