"""Pictures of detectors and networks: Display classes as scikit-learn's."""

from ._loss_alignment import loss_alignment
from ._score_distribution import ScoreDistributionDisplay

__all__ = ["ScoreDistributionDisplay", "loss_alignment"]
