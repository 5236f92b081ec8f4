"""Cheap models and detectors to evaluate, which write down what they are fitted on."""

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, OutlierMixin
from torch import nn

FITTED: list = []
SCORED: list = []


class Distance(OutlierMixin, BaseEstimator):
    """The further from the middle, the more anomalous."""

    def __init__(self, power=1.0, sign=1, random_state=None):
        self.power, self.sign, self.random_state = power, sign, random_state

    def fit(self, X, y=None):
        X = np.asarray(X)
        FITTED.append((X.copy(), None if y is None else np.array(y), self.random_state))
        self.middle_ = X.reshape(len(X), -1).mean(axis=0)
        # With the other sign the threshold is an upper one, as PyOD's.
        rate = 5 if self.sign == 1 else 95
        self.offset_ = np.percentile(self.score_samples(X), rate)
        return self

    def score_samples(self, X):
        SCORED.append(len(X))
        off = np.linalg.norm(np.asarray(X).reshape(len(X), -1) - self.middle_, axis=1)
        return -self.sign * off**self.power

    def decision_function(self, X):
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        return np.where(self.decision_function(X) < 0, -1, 1)


class Taught(ClassifierMixin, BaseEstimator):
    """Learns the middle of both kinds."""

    def fit(self, X, y):
        X, y = np.asarray(X).reshape(len(X), -1), np.asarray(y)
        FITTED.append((X.copy(), y.copy(), None))
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError("y must hold two classes.")
        self.middles_ = np.stack([X[y == label].mean(axis=0) for label in (-1, 1)])
        return self

    def decision_function(self, X):
        SCORED.append(len(X))
        X = np.asarray(X).reshape(len(X), -1)
        far = np.linalg.norm(X[:, None] - self.middles_, axis=2)
        return far[:, 0] - far[:, 1]

    def predict(self, X):
        return np.where(self.decision_function(X) > 0, 1, -1)


def forget():
    """Empty the records."""
    FITTED.clear()
    SCORED.clear()


def linear_model():
    """Make a model of four features whose class is the largest of the first three."""
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight.copy_(torch.eye(3, 4))
        model.bias.zero_()
    return model


def rows(n_samples, seed=0, shift=0.0):
    """Draw inputs and the classes that the model predicts for them."""
    X = np.random.default_rng(seed).normal(size=(n_samples, 4)) + shift
    X = X.astype(np.float32)
    return X, X[:, :3].argmax(axis=1)


def ids_of(X):
    """Return each input as bytes."""
    return [row.tobytes() for row in np.asarray(X, dtype=np.float32)]


class RecordsFit:
    """Mixed into a detector, keeps the rows that it was fitted on."""

    def _fit_rows(self, X, rows, names, random_state):
        self.seen_ = X[rows]
        super()._fit_rows(X, rows, names, random_state)
