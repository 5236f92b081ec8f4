"""The features of a detector as functions of the input that autograd differentiates."""

import copy

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted

from .._messages import brief
from .._unwrap import unwrap
from ..detectors._wrapper import ConformalDetector
from ..feature_extraction._base import BaseModelTransformer
from ..feature_extraction._stability import Stability
from ..torch_engine.model_state import frozen, unwrap_model
from ..torch_engine.scaling import widest_float

_VALID_DETECTORS = (
    "detector must be a fitted Pipeline whose first step is LayerActivationTransformer,"
    " MostDiscriminativeLayer, ConfoundingGradientTransformer, "
    "CosineSimilarityMatrixTransformer, StabilityTransformer, NetworkFeatures or a "
    "FeatureUnion of them, and whose others score their features"
)


def check_pipeline(detector):
    """Return the fitted Pipeline of two or more steps that gives a detector its scores.

    The detector may be a ConformalDetector, a FrozenEstimator or a search around one.
    """
    if isinstance(detector, ConformalDetector):
        check_is_fitted(detector)
    detector = unwrap(detector)
    if not isinstance(detector, Pipeline) or len(detector) < 2:
        raise TypeError(f"{_VALID_DETECTORS}; got {brief(detector)}.")
    return detector


class DetectorFeatures:
    """The features of a detector's first step, with and without autograd's graph.

    With ``n_draws`` they are means over as many patterns of noise, drawn again each
    time, in place of the pattern that the detector has.
    """

    def __init__(self, first_step, model, n_draws=None, random_state=None):
        self.first_step = first_step
        self._parts = [(first_step, 1.0)]  # the transformers and their weights
        if isinstance(first_step, FeatureUnion):
            weights = first_step.transformer_weights or {}
            self._parts = [
                (part, weights.get(name, 1.0))
                for name, part in first_step.transformer_list
                if part != "drop"
            ]
        for part, _ in self._parts:
            _check_part(part, unwrap_model(model))
        self._n_draws = n_draws
        if n_draws is not None:
            # The detector keeps its own noise.
            self._parts = [(_copied(part), weight) for part, weight in self._parts]
            self._noisy = _noisy_families(self._parts)
            self._seed = random_state.randint(np.iinfo(np.int32).max)

    def _over_draws(self, compute):
        """Return the results of a function of no arguments, one for each draw."""
        if self._n_draws is None:
            return [compute()]
        results = []
        for _ in range(self._n_draws):
            for family in self._noisy:
                family._draw(self._random_state)
            results.append(compute())
        return results

    def restart(self):
        """Begin the draws again, so that each batch has the same."""
        if self._n_draws is not None:
            self._random_state = np.random.RandomState(self._seed)

    def values(self, module, x):
        """Compute the features, a Tensor (n_samples, n_features)."""

        def compute():
            blocks = [
                weight * part._features(module, x).detach()
                for part, weight in self._parts
            ]
            return _side_by_side(blocks)

        # Gradient norms need parameter gradients; the other features take no harm.
        with frozen(module, parameter_gradients=True):
            return torch.stack(self._over_draws(compute)).mean(dim=0)

    def recorded(self, module, x):
        """Compute the features and the logits in the graph of x."""

        def compute():
            runs = [
                part._run(module, x, logits=True, create_graph=True)
                for part, _ in self._parts
            ]
            blocks = [
                weight * part._columns(run)
                for (part, weight), run in zip(self._parts, runs, strict=True)
            ]
            return _side_by_side(blocks), runs[0].logits

        # Frozen again, because norms need parameters that require gradients.
        with frozen(module, parameter_gradients=True):
            features, logits = zip(*self._over_draws(compute), strict=True)
        return torch.stack(features).mean(dim=0), logits[0]

    def check(self, module, x):
        """Raise if the model gives other features when autograd records it."""
        self.restart()
        values = self.values(module, x)
        self.restart()
        with torch.enable_grad():
            features, _ = self.recorded(module, x.clone().requires_grad_(True))
            recorded = features.detach()
        size = values.abs()
        margin = 0.05 * (size + size.mean(dim=0)) + 1e-6
        # Not all, because rounding may turn a sign, and some gradients consist of it.
        if ((recorded - values).abs() <= margin).double().mean() < 0.9:
            raise ValueError(
                "detector must have features that can be differentiated; the model "
                "gives others when autograd records it. Look for operations that mix "
                "or sort the samples of a batch; or use pgd."
            )


def _side_by_side(blocks):
    return torch.cat([block.to(widest_float(block.device)) for block in blocks], dim=1)


def _copied(part):
    part = copy.copy(part)
    part._families = {key: copy.copy(one) for key, one in part._families.items()}
    return part


def _noisy_families(parts):
    """Return the families that have a pattern of noise."""
    families = [one for part, _ in parts for one in part._families.values()]
    noisy = [
        one
        for one in families
        if isinstance(one, Stability) and "noise" in one.changes_
    ]
    if not noisy:
        raise ValueError(
            "n_draws must be None for a detector without noise; this one has no family "
            "Stability with the change 'noise'."
        )
    return noisy


def _check_part(part, module):
    if not isinstance(part, BaseModelTransformer):
        raise TypeError(f"{_VALID_DETECTORS}; got {brief(part)} in its first step.")
    # The mark of a fitted transformer that has seen the model's logits.
    if not hasattr(part, "n_classes_"):
        raise NotFittedError(
            f"detector must be fitted; its {type(part).__name__} is not. Call "
            "detector.fit on in-distribution inputs first."
        )
    if unwrap_model(part.model) is not module:
        raise ValueError(
            f"detector must have the model under attack; its {type(part).__name__} "
            "has another one. Give that one as model."
        )
