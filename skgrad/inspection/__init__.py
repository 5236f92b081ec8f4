"""Pictures of detectors and networks: Display classes as scikit-learn's."""

from ._contribution_display import ContributionDisplay
from ._contributions import score_contributions
from ._layer_norms import layer_norms
from ._loss_alignment import loss_alignment
from ._norm_profile import NormProfileDisplay
from ._score_distribution import ScoreDistributionDisplay

__all__ = [
    "ContributionDisplay",
    "NormProfileDisplay",
    "ScoreDistributionDisplay",
    "layer_norms",
    "loss_alignment",
    "score_contributions",
]
