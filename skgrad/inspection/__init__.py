"""Pictures of detectors and networks: Display classes as scikit-learn's."""

from ._cosine_similarity import CosineSimilarityDisplay
from ._detector_heat_map import DetectorHeatMapDisplay
from ._feature_map import FeatureMapDisplay
from ._layer_scores import LayerScoreDisplay
from ._layer_weights import LayerWeightDisplay
from ._loss_alignment import loss_alignment
from ._loss_alignment_display import LossAlignmentDisplay
from ._loss_landscape import LossLandscapeDisplay
from ._score_distribution import ScoreDistributionDisplay

__all__ = [
    "CosineSimilarityDisplay",
    "DetectorHeatMapDisplay",
    "FeatureMapDisplay",
    "LayerScoreDisplay",
    "LayerWeightDisplay",
    "LossAlignmentDisplay",
    "LossLandscapeDisplay",
    "ScoreDistributionDisplay",
    "loss_alignment",
]
