"""Intervals: the metrics behind them, scipy's own, how often they hold the truth."""

from inspect import signature

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import bootstrap, norm

from skgrad.evaluation import bootstrap_intervals
from skgrad.evaluation._result import METRICS

# The parameter's name before and since scipy 1.15.
SEEDED = "rng" if "rng" in signature(bootstrap).parameters else "random_state"


@pytest.mark.parametrize("ties", [False, True])
def test_ends_agree_with_scipy(ties):
    rng = np.random.default_rng(3)
    known, strange = rng.normal(1, 1, 60), rng.normal(0, 1, 45)
    if ties:
        known, strange = known.round(), strange.round()
    ours = bootstrap_intervals(
        known, strange, n_resamples=4000, confidence=0.9, random_state=0
    )
    for name, metric in METRICS.items():

        def statistic(one, two, metric=metric):
            y = np.repeat([1, -1], [len(one), len(two)])
            return metric(y, np.concatenate([one, two]))

        how = {"n_resamples": 200, "confidence_level": 0.9, "method": "percentile"}
        how |= {"vectorized": False, SEEDED: np.random.default_rng(5)}
        theirs = bootstrap((known, strange), statistic, **how).confidence_interval
        # Both are random: the ends of the TNR, a step function, the most.
        tolerance = 0.08 if name == "tnr_at_95tpr" else 0.03
        assert_allclose(ours[name], theirs, atol=tolerance, err_msg=name)


def test_the_truth_is_inside_as_often_as_promised():
    truth = norm.cdf(1 / np.sqrt(2))
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        known, strange = rng.normal(1, 1, 50), rng.normal(0, 1, 50)
        how = {"n_resamples": 200, "confidence": 0.9, "random_state": trial}
        low, high = bootstrap_intervals(known, strange, **how)["auroc"]
        inside += low <= truth <= high
    # 90 % promised; four standard errors are 8.5 %, and percentiles fall short a bit.
    assert 160 <= inside <= 197


def test_same_seed_same_ends_and_no_anomalies():
    rng = np.random.default_rng(2)
    known, strange = rng.normal(size=30), rng.normal(size=20)
    one, two, three = (
        bootstrap_intervals(known, strange, n_resamples=50, random_state=s)
        for s in (0, 0, 1)
    )
    assert one == two != three
    assert np.isnan(list(bootstrap_intervals(known, strange[:0]).values())).all()


def test_infinite_scores_are_scores_as_others():
    how = {"n_resamples": 20, "random_state": 0}
    one = bootstrap_intervals([1.0, np.inf, 2.0], [0.0, -np.inf], **how)
    assert one == bootstrap_intervals([1.0, 9.0, 2.0], [0.0, -9.0], **how)
    assert one["auroc"] == (1.0, 1.0)
