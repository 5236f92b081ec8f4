"""Shapley values of scores: known ones, their sum, and what forms a group."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from displays import Labelled
from networks import AnyWidth
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from skgrad import (
    ConformalDetector,
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    Energy,
    LayerActivationTransformer,
    make_recommended_detector,
)
from skgrad.feature_extraction import FeatureArray
from skgrad.inspection import _contributions, score_contributions
from skgrad.inspection._column_groups import group_columns


class Scorer(OutlierMixin, BaseEstimator):
    """A detector whose score is a given function."""

    def __init__(self, function):
        self.function = function

    def fit(self, X, y=None):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def score_samples(self, X):
        return self.function(np.asarray(X, dtype=np.float64))


def normal(n_rows, n_columns, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, n_columns))


def bent(X):
    """Score by a function in which all columns meddle with each other."""
    weights = normal(X.shape[1], 4, seed=9)
    return -(np.abs(np.tanh(X @ weights)).sum(axis=1) ** 2)


def iqr(values):
    low, high = np.percentile(values, (25, 75))
    return high - low


@pytest.mark.parametrize("n_columns", [1, 3, 5, 6, 9])
def test_shares_of_a_sum_are_its_terms(n_columns):
    weights = np.arange(1.0, n_columns + 1)
    X, X_id = normal(4, n_columns) * 5, normal(30, n_columns, seed=1)
    found = score_contributions(
        Scorer(lambda X: -(X @ weights)), X, X_id, n_permutations=30, random_state=0
    )
    expected = weights * (X - X_id.mean(axis=0)) / iqr(X_id @ weights)
    np.testing.assert_allclose(found.contributions, expected, atol=1e-12)
    assert found.spread == pytest.approx(iqr(X_id @ weights))
    assert found.groups == [f"column {i}" for i in range(n_columns)]


def test_against_all_orders_one_by_one():
    x, X_id = normal(1, 4)[0], normal(3, 4, seed=1)
    found = score_contributions(Scorer(bent), x[None], X_id, n_permutations=3)
    expected = np.zeros(4)
    for reference in X_id:
        for order in permutations(range(4)):
            row = reference.copy()
            for column in order:
                before = bent(row[None])[0]
                row[column] = x[column]
                expected[column] -= (bent(row[None])[0] - before) / (3 * 24)
    expected /= iqr(bent(X_id))
    np.testing.assert_allclose(found.contributions[0], expected, atol=1e-12)


@pytest.mark.parametrize("n_columns", [4, 7])
def test_sum_is_what_the_score_fell_by(n_columns):
    X, X_id = normal(5, n_columns) * 3, normal(20, n_columns, seed=1)
    found = score_contributions(
        Scorer(bent), X, X_id, n_permutations=20, random_state=0
    )
    np.testing.assert_allclose(found.scores, bent(X))
    np.testing.assert_allclose(found.reference_scores, bent(X_id).mean())
    fall = (bent(X_id).mean() - bent(X)) / iqr(bent(X_id))
    np.testing.assert_allclose(found.contributions.sum(axis=1), fall, atol=1e-12)


def test_sampled_come_close_to_exact():
    x, X_id = normal(1, 5), normal(1, 5, seed=1)
    exact = score_contributions(Scorer(bent), x, X_id, n_permutations=1)
    # A sixth column that the detector ignores makes it sample.
    x, X_id = np.c_[x, 7.0], np.c_[X_id, 0.0]
    sampled = score_contributions(
        Scorer(lambda X: bent(X[:, :5])), x, X_id, n_permutations=600, random_state=0
    ).contributions[0]
    assert sampled[5] == 0
    np.testing.assert_allclose(sampled[:5], exact.contributions[0], atol=0.1)


@pytest.mark.parametrize("others", [0, 6])
def test_two_that_act_alike_share(others):
    # The scores of X_id are all the same, so that the unit is that of the score.
    x, X_id = np.full((1, 2 + others), 3.0), np.zeros((2, 2 + others))
    for function, each in ((np.max, 1.5), (np.prod, 4.5)):
        found = score_contributions(
            Scorer(lambda X, f=function: -f(X[:, :2], axis=1)), x, X_id
        )
        np.testing.assert_allclose(found.contributions[0, :2], each)
        np.testing.assert_array_equal(found.contributions[0, 2:], 0)


def test_three_that_need_each_other_share():
    found = score_contributions(
        Scorer(lambda X: -np.prod(X, axis=1)), [[2.0, 3.0, 5.0]], np.zeros((2, 3))
    )
    np.testing.assert_allclose(found.contributions, 10)


def test_batch_mates_and_chunks_change_nothing(monkeypatch):
    X, X_id = normal(5, 7), normal(20, 7, seed=1)
    options = {"n_permutations": 6, "random_state": 3}
    whole = score_contributions(Scorer(bent), X, X_id, **options).contributions
    alone = score_contributions(Scorer(bent), X[3:4], X_id, **options).contributions
    np.testing.assert_allclose(alone[0], whole[3], atol=1e-12)
    monkeypatch.setattr(_contributions, "_MOST_VALUES", 1)
    again = score_contributions(Scorer(bent), X, X_id, **options).contributions
    np.testing.assert_allclose(again, whole, atol=1e-12)
    other = score_contributions(Scorer(bent), X, X_id, n_permutations=6, random_state=4)
    assert np.abs(other.contributions - whole).max() > 1e-6


def with_logits(values, classes):
    """Return one feature beside the logits of two classes."""
    matrix = np.c_[values, np.eye(2)[classes]]
    return FeatureArray(matrix, ["conv_0", "logits_0", "logits_1"])


def test_inputs_are_compared_with_those_predicted_alike():
    X_id = with_logits([1.0, 3.0, 10.0, 30.0], [0, 0, 1, 1])
    detector = Scorer(lambda X: -X[:, 0])
    found = score_contributions(
        detector, with_logits([50.0, 50.0], [0, 1]), X_id, n_permutations=4
    )
    np.testing.assert_allclose(found.reference_scores, [-2, -20])
    assert found.groups == ["conv", "logits"]
    # Where there are none, with any.
    found = score_contributions(
        detector, with_logits([50.0], [1]), X_id[:2], n_permutations=4
    )
    np.testing.assert_allclose(found.reference_scores, [-2])


NAMES = {
    "conv1.weight": "conv1",
    "layer1.0.conv1.bias": "layer1.0.conv1",
    "conv1.weight_class_07": "conv1",
    "conv1_07": "conv1",
    "layer1.0_3": "layer1.0",
    "0_3": "0",
    "0.weight": "0",
    "logits_3": "logits",
    "weight": "weight",
    "activations__logits_3": "logits",
    "gradients__conv1.weight": "gradients: conv1",
    "activations__conv1_07": "activations: conv1",
    "cosine_3_7": "classes 3 and 7",
    "cosine_03_07": "classes 3 and 7",
    "cosine_7_3": "classes 3 and 7",
    "cosine_top_0_1": "ranks 0 and 1",
    "others_mean": "others_mean",
    "predicted_energy": "predicted_energy",
}


@pytest.mark.parametrize("name", NAMES)
def test_groups_by_name(name):
    assert group_columns([name], 1, "layer")[0] == [NAMES[name]]
    assert group_columns([name], 1, "feature")[0] == [name]


def test_logits_of_two_networks_are_two_groups():
    names = ["one__logits_0", "one__logits_1", "two__logits_0", "two__logits_1"]
    labels, owners = group_columns(names, 4, "layer")
    assert labels == ["one: logits", "two: logits"]
    assert owners.tolist() == [0, 0, 1, 1]


def test_groups_of_ones_own():
    X, X_id = normal(2, 4), normal(9, 4, seed=1)
    alone = score_contributions(
        Scorer(lambda X: -X.sum(axis=1)), X, X_id, random_state=0
    )
    pairs = score_contributions(
        Scorer(lambda X: -X.sum(axis=1)), X, X_id, groups=list("abab"), random_state=0
    )
    assert pairs.groups == ["a", "b"]
    a = alone.contributions[:, [0, 2]].sum(axis=1)
    np.testing.assert_allclose(pairs.contributions[:, 0], a)


def features(model):
    return FeatureUnion(
        [
            ("gradients", ConfoundingGradientTransformer(model, log=True)),
            ("activations", LayerActivationTransformer(model, ["bend", "logits"])),
        ]
    )


LAYERS = ["gradients: weight", "gradients: head", "activations: bend", "logits"]


@pytest.mark.parametrize(
    "between", [(), (StandardScaler(),), (StandardScaler(), PCA(3, random_state=0))]
)
def test_layers_are_found_before_what_mixes_them(between):
    X_id = normal(60, 5)
    last = IsolationForest(random_state=0)
    detector = make_pipeline(features(AnyWidth()), *between, last).fit(X_id)
    found = score_contributions(detector, normal(2, 5) * 4, X_id, n_permutations=4)
    assert found.groups == LAYERS
    fall = (found.reference_scores - found.scores) / found.spread
    np.testing.assert_allclose(found.contributions.sum(axis=1), fall, atol=1e-9)


def test_cosines_and_pandas_and_wrappers():
    X_id = normal(60, 5)
    cosines = CosineSimilarityMatrixTransformer(AnyWidth(), output="matrix")
    pipeline = make_pipeline(cosines, IsolationForest(random_state=0))
    pipeline = pipeline.set_output(transform="pandas").fit(X_id)
    pairs = ["0 and 0", "0 and 1", "0 and 2", "1 and 1", "1 and 2", "2 and 2"]
    expected = score_contributions(pipeline, X_id[:2], X_id, random_state=0)
    assert expected.groups == [f"classes {pair}" for pair in pairs]
    frozen = FrozenEstimator(pipeline)
    detector = ConformalDetector(frozen, random_state=0).fit(X_id)
    found = score_contributions(detector, X_id[:2], X_id, random_state=0)
    assert found.groups == expected.groups
    np.testing.assert_allclose(found.contributions, expected.contributions)


def test_data_frames_and_classifiers():
    X_id = pd.DataFrame(normal(40, 2), columns=["load", "speed"])
    X = pd.DataFrame([[5.0, 0.0]], columns=["load", "speed"])
    y = np.r_[np.zeros(40), np.ones(40)]
    both = pd.concat([X_id, X_id.add([4, 0])])
    classifier = LogisticRegression().fit(both, y)
    found = score_contributions(classifier, X, X_id, n_permutations=40)
    assert found.groups == ["load", "speed"]
    logits = classifier.coef_[0] * (X.to_numpy() - X_id.mean().to_numpy())
    spread = iqr(classifier.decision_function(X_id))
    np.testing.assert_allclose(found.contributions, logits / spread, rtol=1e-6)


def test_network_runs_once_per_input():
    class Counting(AnyWidth):
        seen = 0

        def forward(self, x):
            Counting.seen += len(x)
            return super().forward(x)

    X_id = normal(40, 5)
    logits = LayerActivationTransformer(Counting(), ["bend", "logits"])
    detector = make_pipeline(logits, IsolationForest(random_state=0)).fit(X_id)
    Counting.seen = 0
    score_contributions(detector, X_id[:3], X_id, groups="feature")
    assert Counting.seen == 43


def test_parts_of_a_combination_add_up_to_the_same():
    X_id = normal(150, 5)
    detector = make_recommended_detector(AnyWidth(), random_state=0).fit(X_id)
    X = normal(3, 5, seed=1) * 3
    parts = score_contributions(detector, X, X_id, groups="part", random_state=0)
    layers = score_contributions(detector, X, X_id, random_state=0)
    assert parts.groups == ["confidence", "energy", "density"]
    for one in (parts, layers):
        fall = (one.reference_scores - one.scores) / one.spread
        np.testing.assert_allclose(one.contributions.sum(axis=1), fall, atol=1e-9)
    np.testing.assert_array_equal(parts.reference_scores, layers.reference_scores)


def test_infinite_scores_do_no_harm():
    found = score_contributions(
        Scorer(lambda X: np.where(X[:, 0] > 1, -np.inf, 0.0)), [[2.0, 0]], [[0, 0.0]]
    )
    assert np.isfinite(found.contributions).all()
    assert found.contributions[0, 0] > 1e100


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"groups": "layers"}, "groups must be 'layer', 'feature', 'part' or one name"),
        ({"groups": ["a"]}, r"one name for each of the 3 columns.*got shape \(1,\)"),
        ({"groups": "part"}, "groups='part' needs a CombinedDetector.*got Scorer"),
        ({"n_permutations": 0}, "'n_permutations' parameter"),
        ({"X": np.zeros((1, 2))}, "X must have the 3 columns of X_id; got 2"),
        ({"X_id": np.zeros((0, 3))}, "X_id must hold in-distribution inputs"),
        ({"X_id": np.zeros((4, 1, 3))}, r"matrix of features.*shape \(4, 1, 3\)"),
    ],
)
def test_wrong_arguments_are_refused(change, match):
    arguments = {
        "estimator": Scorer(bent),
        "X": normal(2, 3),
        "X_id": normal(9, 3),
        **change,
    }
    with pytest.raises(ValueError, match=match):
        score_contributions(**arguments)


def test_no_detector_is_refused():
    with pytest.raises(TypeError, match="estimator must be a fitted outlier detector"):
        score_contributions(AnyWidth(), normal(2, 3), normal(9, 3))
    transformer = StandardScaler().fit(normal(9, 3))
    with pytest.raises(TypeError, match="must be an outlier detector or a binary"):
        score_contributions(transformer, normal(2, 3), normal(9, 3))
    unfitted = make_pipeline(LayerActivationTransformer(AnyWidth()), Energy())
    with pytest.raises(ValueError, match="not fitted"):
        score_contributions(unfitted, normal(2, 3), normal(9, 3))


def test_data_sets_with_labels_are_read():
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    logits = LayerActivationTransformer(torch.nn.Linear(3, 2), "logits")
    detector = make_pipeline(logits, IsolationForest(random_state=0)).fit(X)
    options = {"n_permutations": 3, "random_state": 0}
    expected = score_contributions(detector, X[:2], X, **options)
    found = score_contributions(detector, Labelled(X[:2]), Labelled(X), **options)
    np.testing.assert_allclose(found.contributions, expected.contributions)


def test_fractions_meet_whole_numbers_in_a_data_frame():
    rng = np.random.default_rng(0)
    columns = ["a", "b"]
    detector = IsolationForest(random_state=0)
    detector.fit(pd.DataFrame(rng.normal(size=(50, 2)), columns=columns))
    X_id = pd.DataFrame(rng.integers(-2, 3, size=(20, 2)), columns=columns)
    x = pd.DataFrame([[0.9, -0.9]], columns=columns)
    found = score_contributions(detector, x, X_id, random_state=0)
    np.testing.assert_allclose(found.scores, detector.score_samples(x))
