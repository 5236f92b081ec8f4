"""How often a search over a whole pipeline computes the features of each sample."""

from functools import partial

import numpy as np
import pytest
from networks import Recording, images, seeded
from numpy.testing import assert_allclose
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
CANDIDATES = {
    "loda__n_cuts": [5, 10, 15, 20, 25, 30, 35, 40, 45, 50],
    "loda__n_bins": [3, 4, 5, 6, 7],
}
FEW = {"loda__n_cuts": [5, 10], "loda__n_bins": [3, 6]}


@pytest.fixture
def model(tmp_path):
    return seeded(partial(Recording, tmp_path / "seen"))


def search(transformer, candidates, *, n_jobs=1, pipeline_memory=None):
    detector = LODA(target_fpr=0.2, calibration_fraction=0.5, random_state=0)
    pipeline = make_pipeline(transformer, detector, memory=pipeline_memory)
    return GridSearchCV(
        pipeline, candidates, cv=FOLDS, scoring=auroc_scorer, n_jobs=n_jobs
    ).fit(X, Y)


def looked_at_by_fit(model):
    """Return how often a fit of the transformer passes each sample, for any X."""
    model.seen()
    ConfoundingGradientTransformer(model).fit(X)
    return model.seen().total()


def in_transforms(model, seen):
    """Return how often the samples passed that fit does not look at, as all others.

    It looks at the first two of what it is given, and at a variant of one of them.
    """
    model.seen()
    for train in [train for train, _ in FOLDS] + [np.arange(60)]:
        ConfoundingGradientTransformer(model).fit(X[train])
    probes = model.seen()
    return [n for key, n in seen.items() if key not in probes]


HEADS = {0, 1}.union(*(train[:2].tolist() for train, _ in FOLDS))


@pytest.mark.parametrize(
    ("n_jobs", "candidates"), [(1, CANDIDATES), (2, {"loda__n_cuts": [*range(1, 11)]})]
)
def test_search_passes_each_sample_once(model, tmp_path, n_jobs, candidates):
    per_fit = looked_at_by_fit(model)
    transformer = ConfoundingGradientTransformer(model, memory=tmp_path / "rows")
    search(transformer, candidates, n_jobs=n_jobs)
    seen = model.seen()
    assert in_transforms(model, seen) == [1] * (len(X) - len(HEADS))
    # fit looks at the first samples that it is given, once in each process.
    heads = {tuple(train[:2]) for train, _ in FOLDS} | {(0, 1)}
    n_fits = (seen.total() - len(X)) / per_fit
    assert len(heads) <= n_fits <= n_jobs * len(heads) + (n_jobs > 1)
    # Another search, with folds and candidates of its own, passes none.
    search(transformer, {"loda__n_cuts": [6]})
    assert model.seen().total() <= (n_jobs > 1) * len(heads) * per_fit


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_search_with_both_memories(model, tmp_path, n_jobs):
    # How often two processes fit the same is a matter of luck: fit is left out.
    search(
        ConfoundingGradientTransformer(model, memory=tmp_path / "rows"),
        FEW,
        n_jobs=n_jobs,
        pipeline_memory=str(tmp_path / "folds"),
    )
    assert in_transforms(model, model.seen()) == [1] * (len(X) - len(HEADS))


def test_memory_changes_no_score(model, tmp_path):
    one, other = (
        search(ConfoundingGradientTransformer(model, memory=memory), FEW)
        for memory in (None, tmp_path / "rows")
    )
    for key in ("split0_test_score", "split1_test_score", "split2_test_score"):
        assert_allclose(one.cv_results_[key], other.cv_results_[key], atol=0.01)


def test_without_memory_each_candidate_computes_all(model):
    per_fit = looked_at_by_fit(model)
    search(ConfoundingGradientTransformer(model), FEW)
    n_rows = 4 * sum(len(train) + len(test) for train, test in FOLDS) + len(X)
    assert model.seen().total() == n_rows + (4 * len(FOLDS) + 1) * per_fit


def test_memory_of_the_pipeline_keeps_training_folds_only(model, tmp_path):
    """What scikit-learn offers by itself, and why the transformers have a memory."""
    per_fit = looked_at_by_fit(model)
    search(
        ConfoundingGradientTransformer(model),
        FEW,
        pipeline_memory=str(tmp_path / "folds"),
    )
    trained = sum(len(train) for train, _ in FOLDS) + len(X)
    tested = 4 * sum(len(test) for _, test in FOLDS)
    assert model.seen().total() == trained + tested + (len(FOLDS) + 1) * per_fit
