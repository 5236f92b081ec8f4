"""The scores of detectors as torch modules over matrices of features."""

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn

from .._messages import listed
from .._unwrap import steps_of
from ..detectors import (
    FDBD,
    GEN,
    ClassConditionalGaussian,
    CombinedDetector,
    ConfidenceDrop,
    Energy,
    MaxLogit,
    MaxSoftmaxProbability,
    PerClassSVDD,
    StableConfidence,
)
from ..detectors._scaling import FARTHEST
from ..torch_engine.stability import log_odds
from ._class_modules import Gaussians, PerClassSVDDs
from ._p_value_modules import Kept, LogPValues


def score_module(estimator):
    """Return a module from features (n_samples, n_features) of float64 to scores.

    Of a pipeline it holds all steps. Raises TypeError, with the name, for what has no
    such module.
    """
    modules = []
    for step in steps_of(estimator):
        # Subclasses may score otherwise.
        if type(step) not in MODULES:
            raise TypeError(
                "guard must be made of detectors and scalers that have an exported "
                f"form; {type(step).__name__} has none. Those that do are "
                f"{listed([kind.__name__ for kind in MODULES])}."
            )
        modules.append(MODULES[type(step)](step))
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


class _Standardised(Kept):
    """A StandardScaler."""

    def __init__(self, scaler):
        super().__init__()
        n_features = scaler.n_features_in_
        mean = scaler.mean_ if scaler.with_mean else np.zeros(n_features)
        scale = scaler.scale_ if scaler.with_std else np.ones(n_features)
        self.keep(mean=mean, scale=scale)

    def forward(self, X):
        # In the type of the features, as scikit-learn does.
        return (X - self.mean.to(X.dtype)) / self.scale.to(X.dtype)


# Scores of the logits


class _OfLogits(Kept):
    """The score of a detector that looks at the logits alone."""

    def __init__(self, detector):
        super().__init__()
        self.logits = detector.logits_

    def forward(self, X):
        return self.score(X[:, self.logits])


class _Energy(_OfLogits):
    def score(self, logits):
        return logits.logsumexp(dim=1)


class _MaxLogit(_OfLogits):
    def score(self, logits):
        return logits.amax(dim=1)


class _MaxSoftmaxProbability(_OfLogits):
    def score(self, logits):
        return log_odds(logits, logits.argmax(dim=1))


class _GEN(_OfLogits):
    def __init__(self, detector):
        super().__init__(detector)
        n_classes = self.logits.stop - self.logits.start
        self.n_largest = min(detector.n_largest, n_classes)
        self.keep(gamma=float(detector.gamma))

    def score(self, logits):
        total = logits.logsumexp(dim=1, keepdim=True)
        log_p = logits.topk(self.n_largest, dim=1).values - total
        log_rest = torch.log1p(-log_p.exp())
        # The largest probability may round to 1: what the others leave does not.
        odds = log_odds(logits, logits.argmax(dim=1))[:, None]
        log_rest = torch.cat([log_p[:, :1] - odds, log_rest[:, 1:]], dim=1)
        return -(self.gamma * (log_p + log_rest)).logsumexp(dim=1)


# A score of the last features


class _FDBD(Kept):
    def __init__(self, detector):
        super().__init__()
        self.features, self.logits = detector.features_, detector.logits_
        self.keep(
            unit=detector._unit,
            farthest=FARTHEST,
            mean=detector._mean,
            apart=detector._apart,
            least=detector._least,
        )

    def forward(self, X):
        features, logits = X[:, self.features] / self.unit, X[:, self.logits]
        features = features.clamp(-self.farthest, self.farthest)
        lead = logits.amax(dim=1, keepdim=True) - logits
        to_boundaries = (lead / self.apart[logits.argmax(dim=1)]).sum(dim=1)
        from_mean = (features - self.mean).square().sum(dim=1).sqrt()
        others = logits.shape[1] - 1
        return to_boundaries / others / torch.maximum(from_mean, self.least)


# Scores of the log-odds on changed copies


class _OfCopies(Kept):
    def __init__(self, detector):
        super().__init__()
        self.takes_drop = isinstance(detector, ConfidenceDrop)
        self.takes_worst = detector.copies == "worst"
        self.keep(columns=detector.columns_)

    def forward(self, X):
        log_odds = X[:, self.columns]
        scores = log_odds[:, 1:]
        if self.takes_drop:
            scores = scores - log_odds[:, :1]
        return scores.amin(dim=1) if self.takes_worst else scores.mean(dim=1)


# Several detectors


class _Combined(Kept):
    def __init__(self, detector):
        super().__init__()
        self.logits = detector._logits
        parts = detector.detectors_
        self.parts = nn.ModuleList(score_module(part) for part in parts.values())
        self.p_values = nn.ModuleList(
            LogPValues(detector._p_values[name]) for name in parts
        )
        self.keep(weights=detector._weights, ceilings=detector._log_ceilings)

    def forward(self, X):
        pairs = zip(self.parts, self.p_values, strict=True)
        log_p = torch.stack([log_p_of(part(X)) for part, log_p_of in pairs], dim=1)
        return (torch.minimum(log_p, self.ceilings) * self.weights).sum(dim=1)


MODULES = {
    ClassConditionalGaussian: Gaussians,
    CombinedDetector: _Combined,
    ConfidenceDrop: _OfCopies,
    Energy: _Energy,
    FDBD: _FDBD,
    GEN: _GEN,
    MaxLogit: _MaxLogit,
    MaxSoftmaxProbability: _MaxSoftmaxProbability,
    PerClassSVDD: PerClassSVDDs,
    StableConfidence: _OfCopies,
    StandardScaler: _Standardised,
}
