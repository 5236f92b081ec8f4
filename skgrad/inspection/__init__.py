"""Pictures of detectors and networks: Display classes as scikit-learn's."""

from ._contribution_display import ContributionDisplay
from ._contributions import score_contributions
from ._cosine_similarity import CosineSimilarityDisplay
from ._detector_heat_map import DetectorHeatMapDisplay
from ._drift import DriftDisplay
from ._feature_map import FeatureMapDisplay
from ._layer_norms import layer_norms
from ._layer_scores import LayerScoreDisplay
from ._layer_weights import LayerWeightDisplay
from ._norm_profile import NormProfileDisplay
from ._risk_coverage import RiskCoverageDisplay
from ._score_distribution import ScoreDistributionDisplay

__all__ = [
    "ContributionDisplay",
    "CosineSimilarityDisplay",
    "DetectorHeatMapDisplay",
    "DriftDisplay",
    "FeatureMapDisplay",
    "LayerScoreDisplay",
    "LayerWeightDisplay",
    "NormProfileDisplay",
    "RiskCoverageDisplay",
    "ScoreDistributionDisplay",
    "layer_norms",
    "score_contributions",
]
