"""Detectors per predicted class: their formulas, classes and blocks of columns."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from peak_memory import peak_of
from recording_detectors import RecordsFit
from sklearn.covariance import EllipticEnvelope, ledoit_wolf
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.svm import OneClassSVM

from skgrad import (
    LODA,
    ClassConditionalDetector,
    ClassConditionalGaussian,
    PerClassSVDD,
)
from skgrad.feature_extraction import FeatureArray

NAMES = ["a_0", "a_1", "logits_0", "logits_1"]


def draw(n_samples=300, seed=0):
    generator = np.random.default_rng(seed)
    label = generator.integers(2, size=n_samples)
    layer = generator.normal(size=(n_samples, 2)) * (1 + 4 * label[:, None])
    logits = generator.normal(size=(n_samples, 2)) + 9 * np.eye(2)[label]
    return np.hstack([layer, logits])


def recording(detector):
    """Return a class that keeps the rows that it was fitted on, to score by hand."""
    return type(detector.__name__, (RecordsFit, detector), {})


def test_svdd_by_definition():
    X = draw()
    weights = [3.0, 1.0]
    detector = recording(PerClassSVDD)(
        nu=0.2, gamma=0.3, blocks=[2, 2], weights=weights, random_state=0
    ).fit(X)
    label = X[:, 2:].argmax(axis=1)
    expected = np.empty(len(X))
    for i in (0, 1):
        seen = detector.seen_[detector.seen_[:, 2:].argmax(axis=1) == i]
        total = 0
        for block, weight in ((slice(0, 2), 0.75), (slice(2, 4), 0.25)):
            mean, std = seen[:, block].mean(axis=0), seen[:, block].std(axis=0)
            svm = OneClassSVM(nu=0.2, gamma=0.3).fit((seen[:, block] - mean) / std)
            trained = svm.decision_function((seen[:, block] - mean) / std)
            scores = svm.decision_function((X[label == i, block] - mean) / std)
            total += weight * (scores - trained.min()) / np.ptp(trained)
        expected[label == i] = total
    assert_allclose(detector.score_samples(X), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("covariance", ["per_class", "tied", 0.3])
@pytest.mark.parametrize(("n_more", "n_samples"), [(0, 300), (298, 120)])
def test_gaussian_by_definition(covariance, n_more, n_samples):
    X = draw()
    # With these a class has fewer samples than features, which then hold its model.
    more = np.random.default_rng(1).normal(size=(len(X), n_more))
    X = np.hstack([more @ more.T @ more / 300, X])
    detector = recording(ClassConditionalGaussian)(
        covariance=covariance, blocks=[-1, 2], include_logits=False, random_state=0
    ).fit(X[:n_samples])
    seen, label = detector.seen_[:, :-2], detector.seen_[:, -2:].argmax(axis=1)
    means = np.array([seen[label == i].mean(axis=0) for i in (0, 1)])
    scale = (seen - means[label]).std(axis=0)
    deviations = (seen - means[label]) / scale
    tied, _ = ledoit_wolf(deviations, assume_centered=True)
    share = {"per_class": 0, "tied": 1}.get(covariance, covariance)
    predicted = X[:, -2:].argmax(axis=1)
    expected = np.empty(len(X))
    for i in (0, 1):
        own, _ = ledoit_wolf(deviations[label == i], assume_centered=True)
        inverse = np.linalg.inv((1 - share) * own + share * tied)
        Z = (X[predicted == i, :-2] - means[i]) / scale
        expected[predicted == i] = -np.einsum("ni,ij,nj->n", Z, inverse, Z)
    assert_allclose(detector.score_samples(X), expected, rtol=1e-5)


def test_gaussians_of_many_classes_take_the_memory_of_their_samples():
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(20), 15)
    X = generator.normal(size=(300, 400)) + generator.normal(size=(20, 400))[classes]
    X = np.hstack([X, 9 * np.eye(20)[classes]])
    detector = ClassConditionalGaussian(
        covariance="per_class", blocks=[-1, 20], min_class_size=8, random_state=0
    ).fit(X)
    assert len(detector.modelled_classes_) == 20
    # Twenty covariances would take ten times as much as all samples.
    assert len(pickle.dumps(detector)) < 1.2 * X.nbytes


def test_gaussians_of_many_classes_are_fitted_without_a_copy_of_all_columns():
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(100), 100)
    X = generator.normal(size=(10_000, 30))
    X = np.hstack([X, 9 * np.eye(100)[classes]])
    detector = ClassConditionalGaussian(
        blocks=[-1, 100], include_logits=False, random_state=0
    )
    # A copy of the rows to fit on would be .8 of them alone.
    assert peak_of(detector.fit, X) < X.nbytes


def test_tied_covariance_with_no_class_large_enough():
    X = draw(120)
    tied, pooled = (
        ClassConditionalGaussian(
            covariance=covariance, blocks=[2, 2], min_class_size=200, random_state=0
        ).fit(X)
        for covariance in ("tied", "per_class")
    )
    assert_array_equal(tied.score_samples(X), pooled.score_samples(X))


@pytest.mark.parametrize("weights", [None, [3, 1], [0, 1]])
def test_block_scores_add_up(weights):
    X = draw()
    detector = PerClassSVDD(blocks=[2, 2], weights=weights, random_state=0).fit(X)
    parts = detector.block_scores(X[:50])
    assert parts.shape == (50, 2)
    share = np.array([1, 1] if weights is None else weights) / 4
    share /= share.sum()
    assert_allclose(detector.score_samples(X[:50]), parts @ share, rtol=1e-12)
    # Weights change no part.
    alone = PerClassSVDD(blocks=[2, 2], weights=[1, 0], random_state=0).fit(X)
    assert_array_equal(alone.score_samples(X[:50]), parts[:, 0])
    # One row is scored as among others.
    assert_array_equal(detector.block_scores(X[3:4]), parts[3:4])


def test_block_scores_of_joint_blocks_and_without_logits():
    X = draw()
    gaussian = ClassConditionalGaussian(blocks=[2, 2], random_state=0).fit(X)
    assert gaussian.block_names_ == ["block 0 + logits"]
    assert_array_equal(gaussian.block_scores(X)[:, 0], gaussian.score_samples(X))
    detector = ClassConditionalDetector(
        IsolationForest(n_estimators=5), blocks=[1, 1, 2], include_logits=False
    ).fit(X)
    assert detector.block_names_ == ["block 0", "block 1"]
    assert detector.block_scores(X).shape == (len(X), 2)
    with pytest.raises(NotFittedError):
        PerClassSVDD(blocks=[2, 2]).block_scores(X)
    with pytest.raises(ValueError, match="True or 'if_alone' when X"):
        ClassConditionalGaussian(blocks=[4], include_logits=False).fit(X)
    alone = ClassConditionalGaussian(blocks=[4], include_logits="if_alone").fit(X)
    assert alone.block_names_ == ["logits"]
    beside = ClassConditionalGaussian(blocks=[2, 2], include_logits="if_alone").fit(X)
    assert beside.block_names_ == ["block 0"]
    with pytest.raises(ValueError, match="X has 3 features"):
        detector.block_scores(X[:, :3])


@pytest.mark.parametrize(
    ("joint", "include_logits", "scaling"),
    [(False, True, "minmax"), (False, False, "minmax"), (True, True, None)],
)
def test_any_detector_per_class_by_definition(joint, include_logits, scaling):
    X = draw()
    detector = recording(ClassConditionalDetector)(
        EllipticEnvelope(random_state=0),
        blocks=[2, 2],
        joint=joint,
        include_logits=include_logits,
        scaling=scaling,
        weights=[3, 1] if include_logits and not joint else None,
        random_state=0,
    ).fit(X)
    columns = [[0, 1], [2, 3]] if include_logits else [[0, 1]]
    columns = [[*columns[0], *columns[-1]]] if joint and include_logits else columns
    weights = [0.75, 0.25] if len(columns) == 2 else [1.0]
    label = X[:, 2:].argmax(axis=1)
    expected = np.empty(len(X))
    for i in (0, 1):
        seen = detector.seen_[detector.seen_[:, 2:].argmax(axis=1) == i]
        total = 0
        for block, weight in zip(columns, weights, strict=True):
            model = EllipticEnvelope(random_state=0).fit(seen[:, block])
            trained = model.score_samples(seen[:, block])
            low, span = trained.min(), np.ptp(trained)
            if scaling is None:
                low, span = 0, 1
            scores = model.score_samples(X[label == i][:, block])
            total += weight * (scores - low) / span
        expected[label == i] = total
    assert_allclose(detector.score_samples(X), expected, rtol=1e-9, atol=1e-9)


def test_detector_given_is_neither_seeded_nor_fitted():
    X, far, inner = draw(400), draw(30), LODA(n_cuts=10)
    far[:, :2] = [60.0, -60.0]
    detector = ClassConditionalDetector(inner, blocks=[2, 2], random_state=0).fit(X)
    assert (detector.predict(far) == -1).mean() > 0.9
    assert inner.random_state is None
    assert not hasattr(inner, "offset_")


def test_no_more_models_than_classes_need():
    sizes = []

    class Counts(LODA):
        def _fit_scores(self, X, names, random_state):
            sizes.append(len(X))
            super()._fit_scores(X, names, random_state)

    X = draw(3000)
    options = {"calibration_fraction": 0.1, "joint": True, "random_state": 0}
    detector = ClassConditionalDetector(Counts(n_cuts=3), blocks=[2, 2], **options)
    detector.fit(X)
    assert len(sizes) == 2
    assert sum(sizes) == 2700
    # A class never predicted: its model takes no more rows than the largest class has.
    sizes.clear()
    X = np.hstack([X, np.full((3000, 1), -50.0)])
    detector.set_params(blocks=[2, 3]).fit(X)
    assert len(sizes) == 3
    assert sizes[0] == max(sizes[1:])


@pytest.mark.parametrize("make", [PerClassSVDD, ClassConditionalGaussian])
class TestClasses:
    def test_inputs_are_compared_within_their_class(self, make):
        # The layer spreads five times wider in class 1: a value ordinary there is
        # extraordinary in class 0.
        detector = make(blocks=[2, 2], random_state=0).fit(draw(600))
        as_0, as_1 = [5.0, -5.0, 9.0, 0.0], [5.0, -5.0, 0.0, 9.0]
        assert detector.predict([as_0, as_1]).tolist() == [-1, 1]

    def test_small_and_unseen_classes_use_the_pooled_model(self, make):
        X = np.hstack([draw(), np.full((300, 1), -50.0)])
        X[:3, 4] = 50.0
        detector = make(blocks=[2, 3], random_state=0).fit(X)
        assert detector.modelled_classes_.tolist() == [0, 1]
        unseen = make(blocks=[2, 3], random_state=0).fit(X[3:])
        scores = unseen.score_samples(X[:3])
        assert np.isfinite(scores).all()
        pooled = make(blocks=[2, 3], min_class_size=1000, random_state=0).fit(X[3:])
        assert pooled.modelled_classes_.tolist() == []
        assert_array_equal(scores, pooled.score_samples(X[:3]))

    def test_smallest_class_that_is_modelled(self, make):
        X = np.hstack([draw(), np.full((300, 1), -50.0)])
        X[:30, 4] = 50.0
        detector = recording(make)(blocks=[2, 3], random_state=0).fit(X)
        size = int(np.sum(detector.seen_[:, 2:].argmax(axis=1) == 2))
        for least, modelled in ((size, True), (size + 1, False)):
            detector.set_params(min_class_size=least).fit(X)
            assert (2 in detector.modelled_classes_) == modelled

    def test_names_and_widths_agree(self, make):
        X = draw()
        by_width = make(blocks=[-1, 2], random_state=0).fit(X).score_samples(X)
        for named in (FeatureArray(X, NAMES), pd.DataFrame(X, columns=NAMES)):
            detector = make(random_state=0).fit(named)
            assert detector.blocks_ == [slice(0, 2), slice(2, 4)]
            assert_array_equal(detector.score_samples(named), by_width)


def test_named_columns_in_another_order_raise():
    detector = PerClassSVDD(random_state=0).fit(FeatureArray(draw(), NAMES))
    turned = FeatureArray(draw()[:, ::-1], NAMES[::-1])
    with pytest.raises(ValueError, match="X must have the columns seen by fit"):
        detector.predict(turned)


def fit_named(names, blocks):
    X = draw()[:, np.arange(len(names or NAMES)) % 4]
    X = X if names is None else FeatureArray(X, names)
    return PerClassSVDD(blocks=blocks, random_state=0).fit(X)


@pytest.mark.parametrize(
    ("names", "blocks", "expected"),
    [
        (NAMES, None, ["a", "logits"]),
        ([f"m__{name}" for name in NAMES], None, ["m__a", "m__logits"]),
        (["a_0", "a_0", "logits_0", "logits_1"], None, ["a", "a (2)", "logits"]),
        (["a_0", "b_0", "logits_0", "logits_1"], [2, 2], ["block 0", "logits"]),
        (None, [2, 2], ["block 0", "logits"]),
    ],
)
def test_blocks_have_names(names, blocks, expected):
    assert fit_named(names, blocks).block_names_ == expected


def test_blocks_by_name():
    names = ["conv1.weight", "conv1.bias", "f__conv1_0", "f__conv1_1", "f__logits_00"]
    detector = fit_named([*names, "f__logits_01", "f__logits_02", "extra_0"], None)
    ends = pairwise([0, 1, 2, 4, 7, 8])
    assert detector.blocks_ == [slice(*pair) for pair in ends]
    assert detector.logits_block_ == 3


@pytest.mark.parametrize(
    ("names", "blocks", "message"),
    [
        (None, None, r"blocks must be given.*blocks=\[-1, 10\]"),
        (["logits_0", "logits_1"] * 2, None, "one block of columns logits_0.*has 2"),
        (["a_0", "a_1", "b_0", "b_1"], None, "one block of columns logits_0.*it has 0"),
        (["a__logits_0", "a__logits_1", "b__logits_0", "b__logits_1"], None, "has 2"),
        (["a", "b", "c", "logits_0"], None, "2 or more logits; got 1"),
        (None, [3], r"add up to the number of columns.*n_features=4.*got \[3\]"),
        (None, [-1, -1], "one of them possibly -1"),
        (None, [-1, 5], "possibly -1 for the rest"),
        (None, [0, 4], "positive block widths"),
        (None, [4, -1], "2 or more logits; got 0"),
        (None, [2.0, 2.0], "positive block widths"),
        (None, [], "positive block widths"),
        (None, [3, 1], "2 or more logits; got 1"),
    ],
)
def test_blocks_that_do_not_fit(names, blocks, message):
    with pytest.raises(ValueError, match=message):
        fit_named(names, blocks)


@pytest.mark.parametrize("weights", [[1.0], [1, -1], [0, 0], ["a", "b"], [np.nan, 1]])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match=r"weights must be None or .*, 2 here"):
        PerClassSVDD(blocks=[2, 2], weights=weights).fit(draw())
