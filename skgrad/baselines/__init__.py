"""The methods that the papers compare with, as detectors over a model."""

from ._elo import ELO
from ._kernel_density import KernelDensityUncertainty
from ._lid import LID
from ._mahalanobis import Mahalanobis
from ._odin import ODIN

__all__ = ["ELO", "LID", "ODIN", "KernelDensityUncertainty", "Mahalanobis"]
