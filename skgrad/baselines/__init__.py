"""The methods that the papers compare with, as detectors over a model."""

from ._elo import ELO
from ._feature_squeezing import FeatureSqueezing
from ._gradnorm import GradNorm
from ._kernel_density import KernelDensityUncertainty
from ._lid import LID
from ._mahalanobis import Mahalanobis
from ._make_baselines import make_baselines
from ._odin import ODIN
from ._pytorch_ood import PyTorchOODDetector

__all__ = [
    "ELO",
    "LID",
    "ODIN",
    "FeatureSqueezing",
    "GradNorm",
    "KernelDensityUncertainty",
    "Mahalanobis",
    "PyTorchOODDetector",
    "make_baselines",
]
