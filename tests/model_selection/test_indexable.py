"""Several inputs and Datasets in scikit-learn's splits and searches."""

import numpy as np
import pytest
import torch
from networks import MaskedText, OfOneTensor, seeded
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from torch.utils.data import TensorDataset
from wrong_inputs import Yields

from skgrad import NoveltyKFold, make_uniform_detector
from skgrad.metrics import auroc_scorer
from skgrad.model_selection import indexable_inputs

DRAW = np.random.default_rng(0)
IDS = DRAW.integers(1000, size=(90, 6))
MASK = (np.arange(6) < DRAW.integers(1, 7, size=90)[:, None]).astype(np.int64)
TOKENS = {"input_ids": IDS, "attention_mask": MASK}
FLOATS = np.concatenate([IDS, MASK], axis=1).astype(np.float64)
Y = np.repeat([1, -1], [60, 30])
NET = seeded(MaskedText, dtype=torch.float64)
FOLDS = NoveltyKFold(3)


def search(net, layers, X):
    options = {"layers": layers, "target_fpr": 0.5, "random_state": 0}
    nus = {"detect__nu": [0.1, 0.5]}
    detector = make_uniform_detector(net, **options)
    return GridSearchCV(detector, nus, cv=FOLDS, scoring=auroc_scorer).fit(X, Y)


def test_a_search_is_that_over_one_array():
    expected = search(OfOneTensor(NET), "net.hidden", FLOATS)
    items = [({k: v[i] for k, v in TOKENS.items()}, 0) for i in range(90)]
    for X in (
        TOKENS,
        (torch.from_numpy(IDS), MASK),
        Yields(90, items.__getitem__),
        indexable_inputs(TOKENS),
    ):
        found = search(NET, "hidden", indexable_inputs(X))
        for split in ("split0_test_score", "split1_test_score", "split2_test_score"):
            assert_allclose(found.cv_results_[split], expected.cv_results_[split])
        assert_allclose(
            found.best_estimator_.score_samples(X),
            expected.best_estimator_.score_samples(FLOATS),
            rtol=1e-6,
        )


def test_rows_and_names():
    X = indexable_inputs(TOKENS | {"labels": Y})
    assert len(X) == 90
    fit, test = train_test_split(X, random_state=0)
    rows = train_test_split(np.arange(90), random_state=0)[1]
    assert_array_equal(test["input_ids"], IDS[rows])
    assert_array_equal(test["attention_mask"], MASK[rows])
    assert len(fit) == 67
    assert "'attention_mask': (90, 6)" in repr(X)


def test_a_dataset_of_one_input_becomes_its_array():
    X = torch.rand(7, 3)
    array = indexable_inputs(TensorDataset(X, torch.zeros(7)))
    assert isinstance(array, np.ndarray)
    assert_array_equal(array, X)


def test_folds_of_several_inputs():
    for X in (TOKENS, (IDS, MASK)):
        for found, expected in zip(FOLDS.split(X, Y), FOLDS.split(IDS, Y), strict=True):
            assert_array_equal(found[0], expected[0])
    with pytest.raises(ValueError, match=r"numbers of samples: \[90, 60\]"):
        FOLDS.split(TOKENS, Y[15:75])


def test_without_it_scikit_learn_counts_the_keys():
    detector = make_uniform_detector(NET, layers="hidden")
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[2, 90\]"):
        cross_val_score(detector, TOKENS, Y, cv=FOLDS, scoring=auroc_scorer)
