"""A fit that fails leaves what an earlier fit set."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skgrad import LODA
from skgrad._rollback import restored_on_error


class Learner:
    def __init__(self):
        self.kept, self.changed = 1, 1

    def learn(self, error):
        with restored_on_error(self):
            self.changed = self.new = 2
            del self.kept
            raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_attributes_are_put_back(error):
    learner = Learner()
    with pytest.raises(error):
        learner.learn(error)
    assert vars(learner) == {"kept": 1, "changed": 1}


def test_what_goes_well_stays():
    learner = Learner()
    with restored_on_error(learner):
        learner.changed = 2
    assert learner.changed == 2


def test_a_fit_that_fails_late_spoils_no_earlier_one(monkeypatch):
    X = np.random.default_rng(0).normal(size=(60, 3))
    detector = LODA(n_cuts=5, target_fpr=0.2, random_state=0).fit(X)
    before = detector.score_samples(X), detector.offset_

    def fails(*_, **__):
        raise MemoryError

    monkeypatch.setattr(LODA, "_hold_out", fails)
    with pytest.raises(MemoryError):
        detector.fit(X * 9 + 1)
    assert_array_equal(detector.score_samples(X), before[0])
    assert detector.offset_ == before[1]
