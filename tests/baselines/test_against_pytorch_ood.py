"""The baselines against pytorch-ood's: same network, same data, same scores."""

import numpy as np
import pytest
import torch
from networks import BatchNormNet, images, seeded
from numpy.testing import assert_allclose
from sklearn.pipeline import make_pipeline

from skgrad import Energy, LayerActivationTransformer, MaxLogit, MaxSoftmaxProbability
from skgrad.baselines import ODIN, GradNorm

library = pytest.importorskip("pytorch_ood.detector")


class Plain(BatchNormNet):
    """Counts nothing: torch.func, which GradNorm uses there, does not allow it."""

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).relu().mean(dim=(2, 3)))


X = images(300, (2, 6, 6))
# Noisier inputs, of which the model is less certain.
QUERIES = np.concatenate([X[:100], 1.5 * images(100, (2, 6, 6), seed=3) - 0.1])
NET = seeded(Plain, dtype=torch.float64).eval()
with torch.no_grad():
    # All classes are predicted, with confidences between 1/3 and 1.
    NET.head.weight *= 20
    NET.head.bias -= NET(torch.from_numpy(X).double()).mean(dim=0)


def over_logits(detector):
    return make_pipeline(LayerActivationTransformer(NET, "logits"), detector)


def log_odds(probability):
    return np.log(probability) - np.log1p(-probability)


def gradnorm():
    return library.GradNorm(NET, lambda name: name == "head.weight", temperature=2.0)


PAIRS = {
    "max softmax": (
        over_logits(MaxSoftmaxProbability()),
        lambda: library.MaxSoftmax(NET),
        log_odds,
    ),
    "max logit": (over_logits(MaxLogit()), lambda: library.MaxLogit(NET), None),
    "energy": (over_logits(Energy()), lambda: library.EnergyBased(NET), None),
    "ODIN": (
        ODIN(NET, temperature=10.0, eps=0.05),
        lambda: library.ODIN(NET, temperature=10.0, eps=0.05),
        log_odds,
    ),
    "GradNorm": (GradNorm(NET, temperature=2.0), gradnorm, None),
}


@pytest.mark.parametrize("name", PAIRS)
def test_same_scores(name):
    detector, make_theirs, transform = PAIRS[name]
    ours = detector.fit(X).score_samples(QUERIES)
    theirs = -make_theirs().predict(torch.from_numpy(QUERIES).double())
    theirs = theirs.detach().numpy()
    if transform is not None:
        theirs = transform(theirs)
    assert ours.std() > 0
    # Their probabilities lose digits near 1.
    assert_allclose(ours, theirs, rtol=1e-6)
