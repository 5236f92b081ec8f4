"""Features and their logits by a known linear layer, for detectors that learn it."""

import numpy as np
import torch
from torch import nn

N_FEATURES, N_CLASSES = 6, 4
_generator = np.random.default_rng(0)
WEIGHT = _generator.normal(size=(N_CLASSES, N_FEATURES))
BIAS = _generator.normal(size=N_CLASSES)
BLOCKS = [N_FEATURES, N_CLASSES]


def with_logits(features):
    """Return features and, in the columns behind them, their logits."""
    return np.hstack([features, features @ WEIGHT.T + BIAS])


def draw_linear(n_samples, seed=0, scale=1.0):
    """Draw features, of which few directions vary much, and their logits."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(N_FEATURES, N_FEATURES))
    spread = np.array([3, 2, 1, 0.5, 0.2, 0.1])
    features = 1 + generator.normal(size=(n_samples, N_FEATURES)) * spread @ mixing
    return with_logits(scale * features)


def split(X):
    """Return features, logits and predicted classes."""
    logits = X[:, N_FEATURES:]
    return X[:, :N_FEATURES], logits, logits.argmax(axis=1)


def head():
    """Return the linear layer as a module in float32."""
    module = nn.Linear(N_FEATURES, N_CLASSES)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(WEIGHT))
        module.bias.copy_(torch.from_numpy(BIAS))
    return module


def floats(array):
    """Return an array as a Tensor of float32."""
    return torch.from_numpy(array).float()
