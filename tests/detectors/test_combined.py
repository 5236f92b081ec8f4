"""CombinedDetector: p-values, tails, and what the parts see."""

import numpy as np
import pandas as pd
import pytest
from novelty_detectors import draw
from numpy.testing import assert_allclose, assert_array_equal
from pyod.models.knn import KNN
from recording_detectors import RecordsFit
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.preprocessing import StandardScaler

from skgrad import (
    LODA,
    ClassConditionalGaussian,
    CombinedDetector,
    Energy,
    MaxSoftmaxProbability,
)
from skgrad.detectors._combined import LogPValues

PARTS = [
    ("confidence", MaxSoftmaxProbability()),
    ("energy", Energy()),
    ("density", ClassConditionalGaussian(include_logits=False)),
]
NAMES = ["a_0", "a_1", "logits_0", "logits_1", "logits_2"]


def make(**options):
    options = {"blocks": [-1, 3], "random_state": 0, **options}
    return CombinedDetector(PARTS, **options)


class Recording(RecordsFit, CombinedDetector):
    """Keeps the rows that it was fitted on."""


def expected_log_p(scores, reference):
    """The definition, one score after the other."""
    reference = np.sort(reference)
    n = len(reference)
    k = int(np.ceil(0.2 * n))
    u, log_p_u = reference[k - 1], np.log(k / (n + 1))
    mean_excess = np.mean(u - reference[: k - 1])
    bulk = (np.median(reference) - u) / np.log(0.5 * (n + 1) / k)
    scale = max(mean_excess, bulk)
    result = []
    for s in scores:
        if s < u:
            result.append(log_p_u - (u - s) / scale)
        elif s >= reference[-1]:
            result.append(np.log(n / (n + 1)))
        else:
            i = np.searchsorted(reference, s, side="right")
            share = (s - reference[i - 1]) / (reference[i] - reference[i - 1])
            low, high = np.log(i / (n + 1)), np.log((i + 1) / (n + 1))
            result.append(low + share * (high - low))
    return np.array(result)


@pytest.mark.parametrize("n", [10, 51, 400])
def test_log_p_values_by_definition(n):
    generator = np.random.default_rng(0)
    reference, scores = generator.gumbel(size=n), 3 * generator.normal(size=300)
    lower = expected_log_p(scores, reference)
    assert_allclose(LogPValues(np.sort(reference)).of(scores), lower, rtol=1e-12)
    upper = expected_log_p(-scores, -reference)
    both = np.minimum(0, np.log(2) + np.minimum(lower, upper))
    found = LogPValues(np.sort(reference), two_sided=True).of(scores)
    assert_allclose(found, both, rtol=1e-12)


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize(
    "reference",
    [
        [1.0],
        [3.0] * 50,
        [0.0] * 30 + [1.0] * 20,
        np.linspace(-1, 1, 30) * 1e-300,
        np.linspace(-1, 1, 30) * 1e300,
    ],
    ids=["one", "equal", "ties", "tiny", "huge"],
)
def test_tails_of_any_reference(reference, two_sided):
    scores = np.array([-1e308, -1e10, -9.0, 0.0, 1.0, 3.0, 9.0, 1e308])
    values = LogPValues(np.sort(reference), two_sided=two_sided).of(scores)
    assert np.isfinite(values).all()
    assert (values <= 0).all()
    if not two_sided:
        assert (np.diff(values) >= 0).all()


def test_score_is_the_weighted_mean_of_log_p_values():
    X = draw(500)
    detector = Recording(
        PARTS,
        blocks=[2, 3],
        two_sided=["energy"],
        weights=[2, 1, 1],
        random_state=0,
    ).fit(X)
    logs = detector.log_p_values(X)
    assert logs.shape == (500, 3)
    assert_allclose(detector.score_samples(X), logs @ [0.5, 0.25, 0.25], rtol=1e-12)
    # The reference rows are none that the parts were fitted on.
    energy = logsumexp(detector.seen_[:, 2:], axis=1)
    reference = detector.reference_scores_["energy"]
    assert len(reference) == 80
    assert np.isin(np.round(reference, 9), np.round(energy, 9)).all()
    expected = LogPValues(reference, two_sided=True).of(logsumexp(X[:, 2:], axis=1))
    assert_allclose(logs[:, 1], expected, rtol=1e-12)


def test_a_p_value_above_its_largest_counts_as_the_largest():
    X = draw(500)
    plain = make().fit(X)
    detector = make(max_p_values=[1, 0.2, 0.5]).fit(X)
    logs = detector.log_p_values(X)
    # The parts themselves are reported as they are.
    assert_array_equal(logs, plain.log_p_values(X))
    expected = np.minimum(logs, np.log([1, 0.2, 0.5])).mean(axis=1)
    assert_allclose(detector.score_samples(X), expected, rtol=1e-12)
    assert_array_equal(
        make(max_p_values=[1, 1, 1]).fit(X).score_samples(X), plain.score_samples(X)
    )


def test_parts_are_not_fitted_on_the_reference():
    parts = [("near", LocalOutlierFactor(novelty=True)), ("energy", Energy())]
    detector = Recording(parts, blocks=[-1, 3], random_state=0).fit(draw(500))
    near, reference = detector.detectors_["near"], detector.reference_scores_["near"]
    assert (near.n_samples_fit_, len(reference)) == (320, 80)
    others = [row for row in detector.seen_ if not (row == near._fit_X).all(1).any()]
    assert_allclose(np.sort(near.score_samples(others)), reference)


def test_logits_by_names_and_by_widths():
    X = draw(300)
    by_width = make().fit(X).score_samples(X)
    frame = pd.DataFrame(X, columns=NAMES)
    by_name = make(blocks=None).fit(frame).score_samples(frame)
    assert_array_equal(by_name, by_width)
    # Widths take precedence over names.
    other_names = pd.DataFrame(X, columns=[f"f{i}" for i in range(5)])
    detector = make().fit(other_names)
    assert detector.detectors_["energy"].logits_ == slice(2, 5)
    assert_array_equal(detector.score_samples(other_names), by_width)


def test_parts_of_every_origin_without_logits():
    X, far = draw(400), draw(20) + np.array([40.0, -40, 0, 0, 0])
    parts = [("cuts", LODA()), ("forest", IsolationForest()), ("near", KNN())]
    detector = CombinedDetector(parts, random_state=0).fit(X)
    assert (detector.predict(far) == -1).all()
    # The parts given are neither seeded nor fitted.
    assert parts[0][1].random_state is None
    assert not hasattr(parts[2][1], "decision_scores_")


def test_parameters_of_the_parts():
    detector = make()
    detector.set_params(density__covariance="tied", reference_fraction=0.3)
    assert detector.get_params()["density__covariance"] == "tied"
    assert clone(detector).detectors[2][1].covariance == "tied"
    assert PARTS[2][1].covariance == "tied"  # as in scikit-learn's compositions
    detector.set_params(density__covariance="per_class", energy=LODA())
    assert isinstance(dict(detector.detectors)["energy"], LODA)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"detectors": []}, ValueError, "list of one or more pairs"),
        ({"detectors": [LODA()]}, (TypeError, ValueError), "pairs|len"),
        ({"detectors": [("a", LODA()), ("a", LODA())]}, ValueError, "not unique"),
        (
            {"detectors": [("a", StandardScaler())]},
            TypeError,
            r"^detectors\['a'\] must be",
        ),
        ({"two_sided": ["nope"]}, ValueError, r"two_sided must hold names.*\['nope'\]"),
        ({"weights": [1, 2]}, ValueError, "numbers >= 0.*one per detector, 3 here"),
        ({"max_p_values": [1, 0, 1]}, ValueError, r"in \(0, 1\], one per detector, 3"),
        (
            {"max_p_values": [0.5]},
            ValueError,
            r"max_p_values must.*got \[0.5\]",
        ),
        ({"max_p_values": [1, [1], 1]}, ValueError, "max_p_values must be None or num"),
        ({"max_p_values": ["a"] * 3}, ValueError, "max_p_values must be None or numb"),
        ({"threshold": "per_class", "blocks": None}, ValueError, "blocks must be"),
    ],
)
def test_bad_parameters(options, error, message):
    options = {"detectors": PARTS, "blocks": [2, 3], **options}
    with pytest.raises(error, match=message):
        CombinedDetector(**options).fit(draw(100))
