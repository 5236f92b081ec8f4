"""Known anomalies: who learns from them, and which are refused."""

import numpy as np
import pytest
import torch

from skgrad import make_confounding_gradient_detector
from skgrad.baselines import LID, Mahalanobis
from skgrad.evaluation import AnomalySet, evaluate

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6)).astype(np.float32)
X_FIT, X_TEST = X[:200], X[200:]
KNOWN, ANOMALIES = X_FIT[:40] * 4, {"far": X_TEST[:30] * 4}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
    )


def run(model, detector, **options):
    options = {"X_fit": X_FIT, **options}
    (result,) = evaluate(model, {"d": detector}, X_TEST, ANOMALIES, **options).results
    return result


def test_detector_is_fitted_on_inputs_and_known_anomalies(model):
    result = run(model, LID(model, combination="logistic"), known=KNOWN, seeds=[3])
    alone = LID(model, combination="logistic", random_state=3)
    alone.fit(np.concatenate([X_FIT, KNOWN]), np.repeat([1, -1], [200, 40]))
    np.testing.assert_allclose(result.scores_id, alone.score_samples(X_TEST))


def test_classifier_learns_from_all_inputs_and_known_anomalies(model):
    classifier = make_confounding_gradient_detector(model)
    assert run(model, classifier, known=KNOWN).metrics["auroc"] > 0.8


def test_known_anomalies_change_nothing_for_others(model, tmp_path):
    detector = Mahalanobis(model)
    without = run(model, detector, cache=tmp_path)
    stored = len(list((tmp_path / "scores").iterdir()))
    within = run(model, detector, known=KNOWN, cache=tmp_path)
    np.testing.assert_array_equal(without.scores_id, within.scores_id)
    # The same entries of the store serve both.
    assert len(list((tmp_path / "scores").iterdir())) == stored


def test_other_known_anomalies_are_other_entries_of_the_store(model, tmp_path):
    detector = LID(model, combination="logistic")
    one, other = (
        run(model, detector, known=known, cache=tmp_path)
        for known in (KNOWN, -KNOWN[:20] * 2)
    )
    assert not np.array_equal(one.scores_id, other.scores_id)


def test_known_anomalies_serve_folds_of_the_test_inputs(model):
    detector = LID(model, combination="logistic")
    found = evaluate(model, {"d": detector}, X, ANOMALIES, known=KNOWN, n_folds=2)
    assert len(found.results) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"known": KNOWN, "protocol": "A"}, "known must be None under protocol 'A'"),
        ({"known": KNOWN[:0]}, "known must hold anomalies"),
        ({"known": AnomalySet(KNOWN, np.arange(40))}, "known must hold no sources"),
        ({"known": ANOMALIES["far"]}, "must be none of the inputs in known"),
        ({"known": X_TEST[:5]}, "known must be none of the inputs in X_test"),
        (
            {"known": KNOWN, "X_fit": np.concatenate([X_TEST + 1, KNOWN[:2]])},
            "known must be none of the inputs in X_fit; 2 are",
        ),
    ],
)
def test_what_would_mislead_is_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        run(model, LID(model, combination="logistic"), **options)
