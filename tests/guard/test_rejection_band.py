"""Bands of rejections in a window, by simulation."""

import numpy as np
import pytest
from scipy.stats import binom

from skgrad.detectors import conformal_threshold
from skgrad.guard import rejection_band


@pytest.mark.parametrize("m", [30, 200])
def test_band_holds_over_calibrations(m):
    rng = np.random.default_rng(0)
    low, high = rejection_band(100, m, target_fpr=0.1, confidence=0.8)
    counts = np.array(
        [
            np.sum(rng.normal(size=100) < conformal_threshold(rng.normal(size=m), 0.1))
            for _ in range(1500)
        ]
    )
    fewest, most = binom(1500, 0.1).ppf([0.001, 0.999])
    # At most a tenth on either side, and more with one number more.
    for beyond, one_more in (
        (counts < low, counts <= low),
        (counts > high, counts >= high),
    ):
        assert np.sum(beyond) <= most
        assert np.sum(one_more) >= fewest


def test_many_calibration_scores_leave_the_binomial_band():
    band = rejection_band(500, 10**7, target_fpr=0.02, confidence=0.9)
    assert band == tuple(binom(500, 0.02).ppf([0.05, 0.95]))


def test_wrong_arguments_are_rejected():
    with pytest.raises(ValueError, match="n_calibration must be at least 19 for"):
        rejection_band(100, 18)
    assert rejection_band(100, 19).low == 0
    for options in ({"n_inputs": 0}, {"target_fpr": 1}, {"confidence": 1}):
        with pytest.raises(ValueError, match=f"'{next(iter(options))}' parameter"):
            rejection_band(**{"n_inputs": 9, "n_calibration": 99, **options})
