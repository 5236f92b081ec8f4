"""Folds that train on in-distribution rows and test on both kinds."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import cross_validate

from skgrad.metrics import auroc_scorer
from skgrad.model_selection import NoveltyKFold

# 23 in-distribution rows and 11 anomalies, in no order.
Y = np.random.default_rng(0).permutation(np.repeat([1, -1], [23, 11]))
X = np.zeros((len(Y), 2))
SHUFFLED = NoveltyKFold(3, shuffle=True, random_state=0)


def attacked_pairs(n_pairs=20, n_alone=10):
    """Images with their attacked versions, then images that were not attacked."""
    y = np.concatenate([np.tile([1, -1], n_pairs), np.ones(n_alone, dtype=int)])
    groups = np.concatenate(
        [np.repeat(np.arange(n_pairs), 2), n_pairs + np.arange(n_alone)]
    )
    return y, groups


@pytest.mark.parametrize("splitter", [NoveltyKFold(3), SHUFFLED, NoveltyKFold(11)])
def test_training_and_test_rows(splitter):
    folds = list(splitter.split(X, Y))
    assert len(folds) == splitter.get_n_splits(X, Y) == splitter.n_splits
    # Every row is tested once.
    assert_array_equal(np.sort(np.concatenate([t for _, t in folds])), range(len(Y)))
    for train, test in folds:
        assert_array_equal(train, np.setdiff1d(np.flatnonzero(Y == 1), test))
        for label, count in ((1, 23), (-1, 11)):
            share = count / splitter.n_splits
            assert np.floor(share) <= np.sum(Y[test] == label) <= np.ceil(share)


@pytest.mark.parametrize("splitter", [NoveltyKFold(4), SHUFFLED])
def test_groups_stay_on_one_side(splitter):
    y, groups = attacked_pairs()
    for train, test in splitter.split(y, y, groups):
        assert not set(groups[train]) & set(groups[test])
        assert np.sum(y[test] == -1) in (5, 6, 7)
        assert_array_equal(train, np.setdiff1d(np.flatnonzero(y == 1), test))
    # Without groups some pairs are separated.
    assert any(
        set(groups[train]) & set(groups[test]) for train, test in SHUFFLED.split(y, y)
    )


def test_shuffling_depends_on_the_seed_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    folds = [test.tolist() for _, test in SHUFFLED.split(X, Y)]
    assert [test.tolist() for _, test in SHUFFLED.split(X, Y)] == folds
    other = NoveltyKFold(3, shuffle=True, random_state=1)
    assert [test.tolist() for _, test in other.split(X, Y)] != folds
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


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
    ("n_splits", "y", "message"),
    [
        (3, None, r"y must be \+1 for in-distribution rows.* got None"),
        (3, (Y == -1).astype(int), r"y must hold \+1.*np.where\(y == 0, 1, -1\)"),
        (3, np.ones(34), r"y must label some inputs -1, anomalies; all 34 are \+1"),
        (3, -np.ones(34), r"y must label some inputs \+1, in-distribution; all 34"),
        (3, Y[:-1], "inconsistent numbers of samples"),
        (12, Y, r"number of anomalies \(-1\) in y.*n_splits=12 and 11 of them"),
        (12, -Y, r"number of in-distribution rows \(\+1\) in y.*n_splits=12 and 11 of"),
    ],
)
def test_unsuitable_labels(n_splits, y, message):
    # By split itself, before the first fold is asked for.
    with pytest.raises(ValueError, match=message):
        NoveltyKFold(n_splits).split(X, y)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([*range(20), *[20] * 10], r"fold \d of n_splits=3 has no anomalies .*finer"),
        ([*[0] * 20, *range(1, 11)], r"fold \d of n_splits=3 has no in-distribution"),
        (np.arange(30) % 2, "n_splits must be at most the number of groups, 2; got 3"),
        (np.arange(9), "groups must hold one value for each of the 30 samples"),
        ([*range(29), "last"], r"groups must be all .*\['int', 'str'\]"),
    ],
)
def test_unsuitable_groups(groups, message):
    y = np.repeat([1, -1], [20, 10])
    with pytest.raises((TypeError, ValueError), match=message):
        NoveltyKFold(3).split(y, y, np.array(groups, dtype=object))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_splits": 1}, "n_splits must be an integer >= 2; got 1"),
        ({"shuffle": "yes"}, "shuffle must be True or False; got 'yes'"),
        ({"random_state": 0}, "random_state must be None without shuffle"),
    ],
)
def test_wrong_parameters(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        NoveltyKFold(**options)
