"""How often a search over a whole pipeline computes the features of each sample."""

from functools import partial

import numpy as np
import pytest
from networks import Recording, images, seeded
from numpy.testing import assert_array_equal
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skgrad import LODA, ConfoundingGradientTransformer
from skgrad.metrics import auroc_scorer

# 40 in-distribution samples and 20 others; three folds, each tested on both kinds.
X = np.concatenate([images(40, (2, 6, 6)), 3 * images(20, (2, 6, 6), seed=1)])
Y = np.repeat([1, -1], [40, 20])
FOLDS = [
    (
        np.setdiff1d(np.arange(40), np.arange(fold, 40, 3)),
        np.concatenate([np.arange(fold, 40, 3), np.arange(40, 60)]),
    )
    for fold in range(3)
]
FEW = {"loda__n_cuts": [5, 10], "loda__n_bins": [3, 6]}


@pytest.fixture
def model(tmp_path):
    return seeded(partial(Recording, tmp_path / "seen"))


def search(transformer, *, n_jobs=1):
    detector = LODA(target_fpr=0.2, calibration_fraction=0.5, random_state=0)
    pipeline = make_pipeline(transformer, detector)
    return GridSearchCV(
        pipeline, FEW, cv=FOLDS, scoring=auroc_scorer, n_jobs=n_jobs
    ).fit(X, Y)


def test_memory_computes_each_fold_once_and_changes_no_score(model, tmp_path):
    # A fit passes each sample as often, whatever X is.
    ConfoundingGradientTransformer(model).fit(X)
    per_fit = model.seen().total()
    transformer = ConfoundingGradientTransformer(model, memory=str(tmp_path / "memory"))
    first = search(transformer)
    n_rows = sum(len(train) + len(test) for train, test in FOLDS) + len(X)
    n_fits = 4 * len(FOLDS) + 1
    assert model.seen().total() == n_rows + n_fits * per_fit
    # Another search over the same folds passes none in transform.
    second = search(transformer)
    assert model.seen().total() == n_fits * per_fit
    # Of two processes joblib promises right results, not that each entry is found.
    parallel = search(transformer, n_jobs=2)
    assert model.seen().total() < n_rows + n_fits * per_fit
    plain = search(ConfoundingGradientTransformer(model))
    for key in ("split0_test_score", "split1_test_score", "split2_test_score"):
        for other in (first, second, parallel):
            assert_array_equal(other.cv_results_[key], plain.cv_results_[key])
