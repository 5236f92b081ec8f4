"""Batches that are halved for lack of memory draw what whole ones draw."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn

from skgrad.attacks import pgd, random_noise


class Hungry(nn.Linear):
    """Has no memory for more than three samples once ``after`` passes were made."""

    def __init__(self, after):
        torch.manual_seed(0)
        super().__init__(4, 3, dtype=torch.float64)
        self.after = after

    def forward(self, x):
        self.after[0] -= 1
        if self.after[0] < 0 and len(x) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(x)


@pytest.mark.filterwarnings("ignore:Out of memory:RuntimeWarning")
@pytest.mark.parametrize("attack", [pgd, random_noise])
def test_same_numbers_in_halves(attack):
    X, y = np.random.default_rng(0).uniform(size=(8, 4)), np.arange(8) % 3

    def adversarial(after):
        drawn = np.random.RandomState(0)
        options = {"eps": 0.1, "batch_size": 8, "random_state": drawn}
        return attack(Hungry([after]), X, y, **options).X_adv, drawn.uniform()

    whole, following = adversarial(999)
    for after in range(4):
        halved, drawn = adversarial(after)
        assert_array_equal(halved, whole)
        assert drawn == following
