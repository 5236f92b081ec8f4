"""Thresholds that keep an error rate: the bound, and the promise by simulation."""

import numpy as np
import pytest
from scipy.stats import binom

from skgrad.guard import NoThresholdWarning, risk_threshold
from skgrad.guard._risk_threshold import error_bound


def test_bound_by_definition():
    n_wrong, n_trusted = np.array([0, 3, 40, 7, 0]), np.array([10, 50, 80, 7, 0])
    bounds = error_bound(n_wrong, n_trusted, 0.05)
    # At the bound, so few errors are as unlikely as promised.
    np.testing.assert_allclose(binom.cdf(n_wrong, n_trusted, bounds)[:3], 0.05)
    assert bounds[3:].tolist() == [1, 1]


def test_threshold_trusts_what_it_reports():
    rng = np.random.default_rng(0)
    for dtype in (np.float64, np.float32):
        scores = rng.random(2000).astype(dtype)
        correct = rng.random(2000) < 0.6 + 0.4 * scores
        found = risk_threshold(correct, scores, alpha=0.1)
        trusted = scores >= found.threshold
        assert 0.2 < trusted.mean() == found.coverage
        n_wrong, n_trusted = np.sum(trusted & ~correct), np.sum(trusted)
        assert found.bound == error_bound(n_wrong, n_trusted, 0.05 / 20) <= 0.1


def test_everything_is_trusted_where_nothing_is_wrong():
    assert risk_threshold(np.ones(200), np.arange(200)) == (
        -np.inf,
        1.0,
        pytest.approx(1 - (0.05 / 20) ** (1 / 200)),
    )


def test_fewest_predictions():
    assert risk_threshold(np.ones(117), np.arange(117)).coverage == 1
    with pytest.warns(NoThresholdWarning, match="117 of them would do") as caught:
        found = risk_threshold(np.ones(116), np.arange(116))
    assert found[:2] == (np.inf, 0.0)
    assert np.isnan(found.bound)
    assert "lowest bound is 0.0503, from 116 predictions" in str(caught[0].message)


# Error rates of new predictions whose score exceeds t, for scores uniform in [0, 1].
# The first is just above alpha everywhere, so that every choice is wrong.
RISKS = {
    "at the limit": (lambda s: np.full_like(s, 0.1001), lambda t: 0.1001),
    "falls": (lambda s: 0.3 * (1 - s), lambda t: 0.15 * (1 - t)),
    "rises": (lambda s: 0.05 + 0.1 * s, lambda t: 0.1 + 0.05 * t),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No threshold")
@pytest.mark.parametrize("decimals", [9, 1], ids=["no ties", "many ties"])
@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("n_samples", [100, 500, 2000])
def test_promise_by_simulation(n_samples, risk, decimals):
    """The error rate of what is trusted exceeds alpha in few of 2,000 draws."""
    rng = np.random.default_rng(0)
    of_score, above = RISKS[risk]
    n_violations = 0
    for _ in range(2000):
        uniform = rng.random(n_samples)
        # Rounded down, so that trusted scores are those of an interval again.
        scores = np.floor(uniform * 10**decimals) / 10**decimals
        correct = rng.random(n_samples) >= of_score(uniform)
        found = risk_threshold(correct, scores, alpha=0.1, delta=0.1)
        if found.coverage:
            threshold = max(found.threshold, 0)
            if decimals == 1:
                threshold = np.ceil(threshold * 10) / 10
            n_violations += threshold < 1 and above(threshold) > 0.1
    assert n_violations <= binom.ppf(0.999, 2000, 0.1)


@pytest.mark.parametrize(
    ("arguments", "options", "match"),
    [
        (([1, 2], [0, 1]), {}, "correct must hold True"),
        (([1, 0], [0, np.nan]), {}, "scores must hold"),
        (([1, 0], [0, 1, 2]), {}, "scores must hold one value for each of the 2"),
        (([1, 0], [0, 1]), {"alpha": 0}, "'alpha' parameter"),
        (([1, 0], [0, 1]), {"delta": 1}, "'delta' parameter"),
        (([1, 0], [0, 1]), {"n_thresholds": 0}, "'n_thresholds' parameter"),
    ],
)
def test_wrong_arguments_are_rejected(arguments, options, match):
    with pytest.raises(ValueError, match=match):
        risk_threshold(*arguments, **options)
