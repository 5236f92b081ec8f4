"""What all baselines share: input containers, the promised rate, a frozen model."""

from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from networks import AnyWidthDropout, BatchNormNet, images, seeded
from numpy.testing import assert_allclose
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from skgrad.baselines import (
    ELO,
    LID,
    ODIN,
    FeatureSqueezing,
    GradNorm,
    KernelDensityUncertainty,
    Mahalanobis,
    PyTorchOODDetector,
)

MAKERS = {
    "ODIN": ODIN,
    "GradNorm": GradNorm,
    # Bounds for normally distributed rows too, and levels enough for them.
    "squeezing": partial(FeatureSqueezing, bit_depth=6, bounds=(-9.0, 9.0)),
    "Mahalanobis": partial(Mahalanobis, layers=["penultimate", "logits"], eps=0.01),
    "LID": LID,
    "KD+BU": partial(KernelDensityUncertainty, n_passes=10),
    "ELO": partial(ELO, layers="penultimate"),
}
if find_spec("pytorch_ood"):
    MAKERS["pytorch-ood"] = partial(PyTorchOODDetector, detector="TemperatureScaling")
X = images(120, (2, 6, 6))


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request):
    return request.param


class Stream(IterableDataset):
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(torch.from_numpy(self.rows))


def test_input_containers_give_the_same_scores(make):
    net = seeded(BatchNormNet)
    expected = make(net, random_state=0).fit(X).score_samples(X)
    assert expected.shape == (120,)
    assert expected.dtype == np.float64
    tensor = torch.from_numpy(X)
    dataset = TensorDataset(tensor)
    for data in (tensor, dataset, Stream(X), DataLoader(dataset, batch_size=50)):
        scores = make(net, random_state=0).fit(data).score_samples(data)
        assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    flat = make(net, input_shape=(2, 6, 6), random_state=0).fit(X.reshape(120, -1))
    assert_allclose(flat.score_samples(X), expected, rtol=1e-4, atol=1e-5)


def test_the_promised_rate_is_kept(make):
    rows = np.random.default_rng(0).normal(size=(1200, 6))
    detector = make(AnyWidthDropout(), target_fpr=0.1, random_state=0).fit(rows[:600])
    rejected = (detector.predict(rows[600:]) == -1).sum()
    # 600 decisions by 120 held-out scores: one fit in 1,000 lies outside.
    assert 15 <= rejected <= 120


def test_known_anomalies_are_left_out(make):
    rows = np.vstack([X, 50 + X[:20]])
    y = np.repeat([1, -1], [120, 20])
    if isinstance(make, partial) and make.func is FeatureSqueezing:
        make = partial(make, bounds=(-99.0, 99.0))
    detector = make(seeded(BatchNormNet), random_state=0).fit(rows, y)
    alone = make(seeded(BatchNormNet), random_state=0).fit(X)
    assert_allclose(detector.score_samples(X), alone.score_samples(X), rtol=1e-6)
    assert detector.offset_ == pytest.approx(alone.offset_)
    with pytest.warns(UserWarning, match="y holds 0 and 1, which was ignored") as seen:
        both = make(seeded(BatchNormNet), random_state=0).fit(rows, y == -1)
    assert len(seen) == 1
    assert both.offset_ != detector.offset_


def test_too_few_samples_and_other_shapes_raise():
    with pytest.raises(ValueError, match="X must hold 2 or more in-distribution"):
        ODIN(seeded(BatchNormNet)).fit(X[:1])
    detector = ODIN(seeded(BatchNormNet), random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"samples of shape \(2, 6, 6\)"):
        detector.score_samples(X[:, :, :5])
