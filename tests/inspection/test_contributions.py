"""Shapley values of scores: known ones, their sum, and the groups of columns."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
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


def interacting(X):
    """Score by a function in which all columns interact."""
    weights = normal(X.shape[1], 4, seed=9)
    return -(np.abs(np.tanh(X @ weights)).sum(axis=1) ** 2)


SCORER = Scorer(interacting)


def iqr(values):
    low, high = np.percentile(values, (25, 75))
    return high - low


@pytest.mark.parametrize("n_columns", [1, 5, 6, 9])
def test_contributions_to_a_sum_are_its_terms(n_columns):
    weights = np.arange(1.0, n_columns + 1)
    X, X_test = normal(4, n_columns) * 5, normal(30, n_columns, seed=1)
    found = score_contributions(
        Scorer(lambda X: -(X @ weights)), X, X_test, n_permutations=30, random_state=0
    )
    expected = weights * (X - X_test.mean(axis=0)) / iqr(X_test @ weights)
    np.testing.assert_allclose(found.contributions, expected, atol=1e-12)
    assert found.spread == pytest.approx(iqr(X_test @ weights))
    assert found.groups == [f"column {i}" for i in range(n_columns)]


def test_equal_to_the_mean_over_all_orders():
    x, X_test = normal(1, 4)[0], normal(3, 4, seed=1)
    found = score_contributions(SCORER, x[None], X_test, n_permutations=3)
    expected = np.zeros(4)
    for reference in X_test:
        for order in permutations(range(4)):
            row = reference.copy()
            for column in order:
                before = interacting(row[None])[0]
                row[column] = x[column]
                expected[column] -= (interacting(row[None])[0] - before) / (3 * 24)
    expected /= iqr(interacting(X_test))
    np.testing.assert_allclose(found.contributions[0], expected, atol=1e-12)


def test_sampled_values_are_close_to_exact_ones():
    x, X_test = normal(1, 5), normal(1, 5, seed=1)
    exact = score_contributions(SCORER, x, X_test, n_permutations=1).contributions[0]
    # A sixth column that the detector ignores makes it sample.
    scorer = Scorer(lambda X: interacting(X[:, :5]))
    arguments = scorer, np.c_[x, 7.0], np.c_[X_test, 0.0]
    found = score_contributions(*arguments, n_permutations=600, random_state=0)
    np.testing.assert_allclose(found.contributions[0], [*exact, 0], atol=0.1)
    assert found.contributions[0, 5] == 0


def test_samples_add_up_whatever_else_is_explained(monkeypatch):
    X, X_test = normal(5, 7) * 3, normal(20, 7, seed=1)

    def explain(X, seed=3):
        options = {"n_permutations": 20, "random_state": seed}
        return score_contributions(SCORER, X, X_test, **options)

    found, usual = explain(X), interacting(X_test)
    whole = found.contributions
    np.testing.assert_allclose(found.scores, interacting(X))
    np.testing.assert_allclose(found.reference_scores, usual.mean())
    fall = (usual.mean() - interacting(X)) / iqr(usual)
    np.testing.assert_allclose(whole.sum(axis=1), fall, atol=1e-12)
    np.testing.assert_allclose(explain(X[3:4]).contributions[0], whole[3], atol=1e-12)
    assert np.abs(explain(X, seed=4).contributions - whole).max() > 1e-6
    monkeypatch.setattr(_contributions, "_MOST_VALUES", 1)
    np.testing.assert_allclose(explain(X).contributions, whole, atol=1e-12)


def with_logits(values, classes):
    """Return one feature beside the logits of two classes."""
    matrix = np.c_[values, np.eye(2)[classes]]
    return FeatureArray(matrix, ["conv_0", "logits_0", "logits_1"])


def test_inputs_are_compared_with_those_of_the_same_predicted_class():
    X_test = with_logits([1.0, 3.0, 10.0, 30.0], [0, 0, 1, 1])
    detector = Scorer(lambda X: -X[:, 0])
    found = score_contributions(
        detector, with_logits([50.0, 50.0], [0, 1]), X_test, n_permutations=4
    )
    np.testing.assert_allclose(found.reference_scores, [-2, -20])
    assert found.groups == ["conv", "logits"]
    # Where there are none, with any.
    found = score_contributions(
        detector, with_logits([50.0], [1]), X_test[:2], n_permutations=4
    )
    np.testing.assert_allclose(found.reference_scores, [-2])


NAMES = {
    "conv1.weight": "conv1",
    "conv1.weight_class_07": "conv1",
    "conv1_07": "conv1",
    "layer1.0_3": "layer1.0",
    "weight": "weight",
    "activations__logits_3": "logits",
    "gradients__conv1.weight": "gradients: conv1",
    "activations__conv1_07": "activations: conv1",
    "cosine_3_7": "classes 3 and 7",
    "cosine_7_3": "classes 3 and 7",
    "cosine_top_0_1": "ranks 0 and 1",
    "others_mean": "others_mean",
}


def test_groups_by_name():
    for name, group in NAMES.items():
        assert group_columns([name], 1, "layer")[0] == [group]
        assert group_columns([name], 1, "feature")[0] == [name]
    # The logits of two networks are two groups.
    names = ["one__logits_0", "one__logits_1", "two__logits_0", "two__logits_1"]
    labels, owners = group_columns(names, 4, "layer")
    assert labels == ["one: logits", "two: logits"]
    assert owners.tolist() == [0, 0, 1, 1]


def test_groups_by_given_names():
    X, X_test, total = normal(2, 4), normal(9, 4, seed=1), Scorer(lambda X: -X.sum(1))
    alone = score_contributions(total, X, X_test, random_state=0)
    pairs = score_contributions(total, X, X_test, groups=list("abab"), random_state=0)
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


@pytest.mark.parametrize("between", [(), (StandardScaler(), PCA(3, random_state=0))])
def test_layers_are_found_before_steps_that_mix_columns(between):
    X_test = normal(60, 5)
    last = IsolationForest(n_estimators=10, random_state=0)
    detector = make_pipeline(features(AnyWidth()), *between, last).fit(X_test)
    found = score_contributions(detector, normal(2, 5) * 4, X_test, n_permutations=4)
    assert found.groups == LAYERS
    fall = (found.reference_scores - found.scores) / found.spread
    np.testing.assert_allclose(found.contributions.sum(axis=1), fall, atol=1e-9)


def test_cosines_and_pandas_and_wrappers():
    X_test = normal(60, 5)
    cosines = CosineSimilarityMatrixTransformer(AnyWidth(), output="matrix")
    pipeline = make_pipeline(cosines, IsolationForest(n_estimators=10, random_state=0))
    pipeline = pipeline.set_output(transform="pandas").fit(X_test)
    pairs = ["0 and 0", "0 and 1", "0 and 2", "1 and 1", "1 and 2", "2 and 2"]
    expected = score_contributions(pipeline, X_test[:2], X_test, random_state=0)
    assert expected.groups == [f"classes {pair}" for pair in pairs]
    frozen = FrozenEstimator(pipeline)
    detector = ConformalDetector(frozen, random_state=0).fit(X_test)
    found = score_contributions(detector, X_test[:2], X_test, random_state=0)
    assert found.groups == expected.groups
    np.testing.assert_allclose(found.contributions, expected.contributions)


def test_data_frames_and_classifiers():
    X_test = pd.DataFrame(normal(40, 2), columns=["load", "speed"])
    y = np.r_[np.zeros(40), np.ones(40)]
    classifier = LogisticRegression().fit(pd.concat([X_test, X_test.add([4, 0])]), y)
    whole = X_test.round().astype(int)  # mixed with fractions
    for known in (X_test, whole):
        X = pd.DataFrame([[5.5, 0.0]], columns=["load", "speed"])
        found = score_contributions(classifier, X, known, n_permutations=40)
        assert found.groups == ["load", "speed"]
        logits = classifier.coef_[0] * (X.to_numpy() - known.mean().to_numpy())
        spread = iqr(classifier.decision_function(known))
        np.testing.assert_allclose(found.contributions, logits / spread, rtol=1e-6)


def test_network_runs_once_per_input():
    class Counting(AnyWidth):
        seen = 0

        def forward(self, x):
            Counting.seen += len(x)
            return super().forward(x)

    X_test = normal(40, 5)
    logits = LayerActivationTransformer(Counting(), ["bend", "logits"])
    detector = make_pipeline(
        logits, IsolationForest(n_estimators=10, random_state=0)
    ).fit(X_test)
    Counting.seen = 0
    score_contributions(detector, X_test[:3], X_test, groups="feature")
    assert Counting.seen == 43


def test_parts_of_a_combination_add_up_to_the_same():
    X_test = normal(150, 5)
    detector = make_recommended_detector(AnyWidth(), random_state=0).fit(X_test)
    X = normal(3, 5, seed=1) * 3
    parts = score_contributions(detector, X, X_test, groups="part", random_state=0)
    layers = score_contributions(detector, X, X_test, random_state=0)
    assert parts.groups == ["confidence", "density", "stability", "drop"]
    for one in (parts, layers):
        fall = (one.reference_scores - one.scores) / one.spread
        np.testing.assert_allclose(one.contributions.sum(axis=1), fall, atol=1e-9)
    np.testing.assert_array_equal(parts.reference_scores, layers.reference_scores)


def test_infinite_scores_give_finite_contributions():
    found = score_contributions(
        Scorer(lambda X: np.where(X[:, 0] > 1, -np.inf, 0.0)), [[2.0, 0]], [[0, 0.0]]
    )
    assert np.isfinite(found.contributions).all()
    assert found.contributions[0, 0] > 1e100


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"groups": "layers"}, "groups must be 'layer', 'feature', 'part' or one name"),
        ({"groups": ["a"]}, r"each of the 3 columns; got \['a'\]"),
        ({"groups": "part"}, "groups='part' needs a CombinedDetector.*got Scorer"),
        ({"n_permutations": 0}, "'n_permutations' parameter"),
        ({"X": np.zeros((1, 2))}, "X must have the 3 columns of X_test; got 2"),
        ({"X_test": np.zeros((0, 3))}, "X_test must hold in-distribution inputs"),
        ({"X_test": np.zeros((4, 1, 3))}, r"matrix of features.*shape \(4, 1, 3\)"),
    ],
)
def test_wrong_arguments_are_rejected(change, match):
    arguments = {"X": normal(2, 3), "X_test": normal(9, 3), **change}
    with pytest.raises(ValueError, match=match):
        score_contributions(SCORER, **arguments)


def test_other_estimators_are_rejected():
    with pytest.raises(TypeError, match="estimator must be a fitted outlier detector"):
        score_contributions(AnyWidth(), normal(2, 3), normal(9, 3))
    transformer = StandardScaler().fit(normal(9, 3))
    with pytest.raises(TypeError, match="must be an outlier detector or a binary"):
        score_contributions(transformer, normal(2, 3), normal(9, 3))
    unfitted = make_pipeline(LayerActivationTransformer(AnyWidth()), Energy())
    with pytest.raises(ValueError, match="not fitted"):
        score_contributions(unfitted, normal(2, 3), normal(9, 3))
