"""Pictures of detectors and networks: Display classes as scikit-learn's."""

from ._detector_heat_map import DetectorHeatMapDisplay
from ._feature_map import FeatureMapDisplay
from ._layer_scores import LayerScoreDisplay
from ._layer_weights import LayerWeightDisplay
from ._loss_alignment import loss_alignment
from ._score_distribution import ScoreDistributionDisplay

__all__ = [
    "DetectorHeatMapDisplay",
    "FeatureMapDisplay",
    "LayerScoreDisplay",
    "LayerWeightDisplay",
    "ScoreDistributionDisplay",
    "loss_alignment",
]
