"""What all baselines share: input containers, the promised rate, a frozen model."""

from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from networks import (
    AnyWidthDropout,
    BatchNormNet,
    MaskedText,
    OfOneTensor,
    RowsAndKinds,
    images,
    seeded,
)
from numpy.testing import assert_allclose
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from wrong_inputs import Yields

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


IDS = np.random.default_rng(0).integers(1000, size=(100, 5))
MASK = np.random.default_rng(1).integers(2, size=(100, 5))
MASK[:, 0] = 1
# Those that change no inputs.
FIXED = {
    "ODIN": partial(ODIN, eps=0),
    "Mahalanobis": partial(Mahalanobis, layers=["penultimate", "logits"]),
    "GradNorm": GradNorm,
    # Of the embedding, the mean is over the tokens that the mask leaves.
    "LID": partial(LID, layers=["penultimate", "logits"]),
    "ELO": MAKERS["ELO"],
    "KD": partial(KernelDensityUncertainty, n_passes=0),
}


@pytest.mark.parametrize("name", FIXED)
def test_several_inputs_of_whole_numbers(name):
    net = seeded(MaskedText, dtype=torch.float64)
    floats = np.concatenate([IDS, MASK], axis=1).astype(float)
    expected = FIXED[name](OfOneTensor(net), random_state=0).fit(floats)
    by_name = {"input_ids": IDS, "attention_mask": MASK}
    items = [{key: values[i] for key, values in by_name.items()} for i in range(100)]
    for X in (by_name, (IDS, MASK), Yields(100, items.__getitem__)):
        detector = FIXED[name](net, random_state=0).fit(X)
        assert detector.offset_ == pytest.approx(expected.offset_, rel=1e-6)
        scores = detector.score_samples(X)
        assert_allclose(scores, expected.score_samples(floats), rtol=1e-6)
    assert detector.integer_inputs_
    assert detector.input_shape_ == {"input_ids": (5,), "attention_mask": (5,)}


@pytest.mark.parametrize("name", FIXED)
def test_whole_numbers_reach_the_embedding_unchanged(name):
    # Half precision has no number 257.
    net, seen = seeded(MaskedText, dtype=torch.bfloat16), []
    net.embedding.register_forward_pre_hook(lambda layer, x: seen.append(x[0]))
    detector = FIXED[name](net, random_state=0).fit(IDS)
    seen.clear()
    detector.score_samples(IDS)
    assert all(np.array_equal(ids, IDS) for ids in seen)
    assert seen


class OfRowsThatHoldBoth(nn.Module):
    """That network, for rows of floats whose last two hold the whole numbers."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x[:, :6], x[:, 6:].long())


@pytest.mark.parametrize(
    "maker",
    [
        partial(ODIN, eps=0.1),
        partial(Mahalanobis, eps=0.1),
        # Rounding to these levels leaves the kinds as they are.
        partial(FeatureSqueezing, bit_depth=2, median_size=None, bounds=(0, 3)),
    ],
)
def test_the_one_input_of_floats_is_changed(maker):
    net, draw = seeded(RowsAndKinds, dtype=torch.float64), np.random.default_rng(0)
    rows, kinds = draw.uniform(0, 3, size=(100, 6)), draw.integers(4, size=(100, 2))
    floats = np.concatenate([rows, kinds], axis=1)
    # No gradient reaches the kinds, so that no step changes them.
    expected = maker(OfRowsThatHoldBoth(net), random_state=0).fit(floats)
    X = {"x": rows, "kinds": kinds}
    detector = maker(net, random_state=0).fit(X)
    scores = detector.score_samples(X)
    assert_allclose(scores, expected.score_samples(floats), rtol=1e-6)


@pytest.mark.parametrize(
    ("maker", "way_out"),
    [
        (ODIN, "Set eps=0"),
        (partial(Mahalanobis, eps=0.1), "Set eps=0"),
        (FeatureSqueezing, "Leave this detector out"),
    ],
)
def test_changes_need_floats(maker, way_out):
    net = seeded(MaskedText, dtype=torch.float64)
    for X, came in (
        (IDS, "got whole numbers"),
        ((IDS, MASK), "got 0, 1 with whole numbers alone"),
    ):
        with pytest.raises(ValueError, match=f"{came}. {way_out}"):
            maker(net).fit(X)


def test_too_few_samples_and_other_shapes_raise():
    with pytest.raises(ValueError, match="X must hold 2 or more in-distribution"):
        ODIN(seeded(BatchNormNet)).fit(X[:1])
    detector = ODIN(seeded(BatchNormNet), random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"samples of shape \(2, 6, 6\)"):
        detector.score_samples(X[:, :, :5])
