"""Folds that train on in-distribution rows and test on both kinds."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import (
    GridSearchCV,
    check_cv,
    cross_val_score,
    cross_validate,
    learning_curve,
)

from skgrad import LODA
from skgrad.metrics import auroc_scorer, tnr_at_tpr_scorer
from skgrad.model_selection import NoveltyKFold

# 23 in-distribution rows and 11 anomalies, in no order.
Y = np.random.default_rng(0).permutation(np.repeat([1, -1], [23, 11]))
X = np.zeros((len(Y), 2))
SHUFFLED = NoveltyKFold(3, shuffle=True, random_state=0)


def attacked_pairs(n_pairs=20, n_alone=10):
    """Images with their attacked twins, then images that were not attacked."""
    y = np.concatenate([np.tile([1, -1], n_pairs), np.ones(n_alone, dtype=int)])
    groups = np.concatenate(
        [np.repeat(np.arange(n_pairs), 2), n_pairs + np.arange(n_alone)]
    )
    return y, groups


@pytest.mark.parametrize("splitter", [NoveltyKFold(3), SHUFFLED, NoveltyKFold(11)])
def test_who_trains_and_who_tests(splitter):
    folds = list(splitter.split(X, Y))
    assert len(folds) == splitter.get_n_splits(X, Y) == splitter.n_splits
    # Every row is tested once.
    assert_array_equal(np.sort(np.concatenate([t for _, t in folds])), range(len(Y)))
    for train, test in folds:
        expected = np.setdiff1d(np.flatnonzero(Y == 1), test)
        assert_array_equal(train, expected)


@pytest.mark.parametrize("splitter", [NoveltyKFold(3), SHUFFLED])
def test_each_fold_has_its_share_of_both(splitter):
    for _, test in splitter.split(X, Y):
        assert np.sum(Y[test] == 1) in (7, 8)
        assert np.sum(Y[test] == -1) in (3, 4)


@pytest.mark.parametrize("splitter", [NoveltyKFold(4), SHUFFLED])
def test_groups_stay_on_one_side(splitter):
    y, groups = attacked_pairs()
    for train, test in splitter.split(y, y, groups):
        assert not set(groups[train]) & set(groups[test])
        assert set(y[train]) == {1}
        assert np.sum(y[test] == -1) in (5, 6, 7)
        expected = np.setdiff1d(np.flatnonzero(y == 1), test)
        assert_array_equal(train, expected)


def test_without_groups_twins_are_torn_apart():
    # What groups are for: the test above would fail without them.
    y, groups = attacked_pairs()
    shared = [
        set(groups[train]) & set(groups[test]) for train, test in SHUFFLED.split(y, y)
    ]
    assert any(shared)


def test_shuffling_depends_on_the_seed_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    folds = [test.tolist() for _, test in SHUFFLED.split(X, Y)]
    assert [test.tolist() for _, test in SHUFFLED.split(X, Y)] == folds
    other = NoveltyKFold(3, shuffle=True, random_state=1)
    assert [test.tolist() for _, test in other.split(X, Y)] != folds
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_representation_and_clone():
    shown = "NoveltyKFold(n_splits=3, random_state=0, shuffle=True)"
    assert repr(SHUFFLED) == shown
    assert repr(clone(SHUFFLED, safe=False)) == shown
    assert check_cv(SHUFFLED, Y) is SHUFFLED


class Recorder(LODA):
    """Remembers what it was fitted on."""

    fitted_on: list = []

    def fit(self, X, y=None):
        self.fitted_on.append(np.asarray(y))
        return super().fit(X, y)


@pytest.fixture
def data():
    X = np.random.default_rng(0).normal(size=(300, 2))
    X[::4] += 9
    return X, np.where(np.arange(300) % 4, 1, -1)


def test_detectors_are_fitted_on_inliers_and_judged_on_both(data):
    Recorder.fitted_on = []
    result = cross_validate(
        Recorder(n_bins=10, random_state=0),
        *data,
        cv=NoveltyKFold(3),
        scoring={"auroc": auroc_scorer, "tnr": tnr_at_tpr_scorer},
        error_score="raise",
    )
    assert result["test_auroc"].min() == 1
    assert [set(y) for y in Recorder.fitted_on] == [{1}] * 3
    assert [len(y) for y in Recorder.fitted_on] == [150] * 3


def test_searches_and_curves(data):
    detector = IsolationForest(n_estimators=10, random_state=0)
    search = GridSearchCV(
        detector,
        {"max_samples": [16, 64]},
        cv=NoveltyKFold(3),
        scoring=auroc_scorer,
        refit=False,
        error_score="raise",
    ).fit(*data)
    assert search.n_splits_ == 3
    assert search.cv_results_["mean_test_score"].min() > 0.9
    scores = cross_val_score(
        detector, *data, cv=NoveltyKFold(4), scoring=auroc_scorer, error_score="raise"
    )
    assert len(scores) == 4


def test_learning_curve_scores_the_test_rows(data):
    # It scores the training rows too, where no metric of two kinds can be told.
    with pytest.warns(UserWarning, match="Scoring failed"):
        sizes, trained, tested = learning_curve(
            IsolationForest(n_estimators=10, random_state=0),
            *data,
            cv=NoveltyKFold(3),
            scoring=auroc_scorer,
            train_sizes=[0.5, 1.0],
        )
    assert sizes.tolist() == [75, 150]
    assert np.isnan(trained).all()
    assert tested.shape == (2, 3)
    assert tested.min() > 0.9


def test_groups_are_routed():
    y, groups = attacked_pairs()
    X = np.random.default_rng(0).normal(size=(len(y), 2))
    options = {"cv": NoveltyKFold(4), "scoring": auroc_scorer, "return_indices": True}
    detector = IsolationForest(n_estimators=2, random_state=0)
    plain = cross_validate(detector, X, y, groups=groups, **options)
    with config_context(enable_metadata_routing=True):
        routed = cross_validate(detector, X, y, params={"groups": groups}, **options)
        assert NoveltyKFold().get_metadata_routing().split.requests == {"groups": True}
    for one, other in zip(
        plain["indices"]["test"], routed["indices"]["test"], strict=True
    ):
        assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, r"y must be given: \+1 for in-distribution rows.* got None"),
        (Y == -1, r"labels \[False, True\].*give np.where\(y == 0, 1, -1\)"),
        ((Y == -1).astype(int), r"labels \[0, 1\].*give np.where\(y == 0, 1, -1\)"),
        (np.ones(34), r"labels \[1.0\]. Add anomalies \(-1\)"),
        (-np.ones(34), r"labels \[-1.0\]. Add in-distribution rows \(\+1\)"),
        (np.arange(34) % 10, r"labels \[0, 1, 2, 3, 4\]. From class labels"),
        (np.where(Y == 1, "id", "ood"), r"labels \['id', 'ood'\]"),
        (Y[:, None], r"y must be of shape \(n_samples,\); got shape \(34, 1\)"),
    ],
    ids=["none", "bool", "01", "id only", "ood only", "classes", "text", "2d"],
)
def test_other_labels_are_refused(y, message):
    # By split itself, before the first fold is asked for.
    with pytest.raises(ValueError, match=message):
        NoveltyKFold(3).split(X, y)


def test_way_out_for_zeros_and_ones_leads_out():
    anomaly = (Y == -1).astype(int)
    folds = list(NoveltyKFold(3).split(X, np.where(anomaly == 0, 1, -1)))
    assert len(folds) == 3
    assert not any(anomaly[train].any() for train, _ in folds)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y, r"number of anomalies \(-1\) in y.*n_splits=12 and 11 of them"),
        (-Y, r"number of in-distribution rows \(\+1\) in y.*n_splits=12 and 11 of"),
    ],
)
@pytest.mark.parametrize("groups", [None, np.arange(34)])
def test_fewer_rows_than_folds_are_refused(y, message, groups):
    with pytest.raises(ValueError, match=message):
        NoveltyKFold(12).split(X, y, groups)


def test_groups_that_leave_a_fold_with_one_kind_are_refused():
    y = np.repeat([1, -1], [20, 10])
    with pytest.raises(
        ValueError, match=r"fold \d of n_splits=3 has no anomalies .*finer groups"
    ):
        NoveltyKFold(3).split(y, y, np.append(np.arange(20), [20] * 10))
    with pytest.raises(ValueError, match=r"fold \d of n_splits=3 has no in-distrib"):
        NoveltyKFold(3).split(y, y, np.append([0] * 20, np.arange(1, 11)))
    with pytest.raises(
        ValueError, match="n_splits must be at most the number of groups, 2; got 3"
    ):
        NoveltyKFold(3).split(y, y, np.arange(30) % 2)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        NoveltyKFold(3).split(X[:-1], Y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_splits": 1}, ValueError, "n_splits must be an integer >= 2; got 1"),
        ({"n_splits": 2.5}, ValueError, "n_splits must be an integer >= 2; got 2.5"),
        ({"shuffle": "yes"}, TypeError, "shuffle must be True or False; got 'yes'"),
        ({"random_state": 0}, ValueError, "random_state must be None without shuffle"),
        ({"shuffle": True, "random_state": "a"}, ValueError, "cannot be used to seed"),
    ],
)
def test_wrong_parameters_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        NoveltyKFold(**options)
