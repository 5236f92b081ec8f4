"""Attacks on the one input of floats among several, the others fixed."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import MaskedText, RowsAndKinds, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad.attacks import (
    adaptive_pgd,
    bim,
    carlini_wagner,
    cosine_similarity_attack,
    fgsm,
    fooling_images,
    jsma,
    pgd,
    random_noise,
)
from skgrad.evaluation import AnomalySet

NET = seeded(RowsAndKinds, dtype=torch.float64)
with torch.no_grad():
    NET.linear.weight *= 4  # so that other classes are near
DRAW = np.random.default_rng(0)
ROWS, KINDS = DRAW.uniform(size=(9, 6)), DRAW.integers(4, size=(9, 2))
X = {"kinds": KINDS, "x": ROWS}


class OfOneSample(nn.Module):
    """The network for rows alone, with the kinds of one sample."""

    def __init__(self, kinds):
        super().__init__()
        self.net, self.kinds = NET, torch.from_numpy(kinds)

    def forward(self, x):
        return self.net(x, self.kinds.expand(len(x), 2))


@pytest.mark.parametrize(
    "attack",
    [
        partial(fgsm, eps=0.1),
        partial(bim, eps=0.2, stop_at_success=True),
        partial(pgd, eps=0.1, random_start=False),
        partial(cosine_similarity_attack, eps=0.1, n_steps=3, random_start=False),
        partial(jsma, target=0),
    ],
)
def test_each_sample_is_attacked_with_its_own_others(attack):
    result = attack(NET, X)
    alone = [attack(OfOneSample(KINDS[i]), ROWS[i : i + 1]) for i in range(9)]
    assert_allclose(result.X_adv["x"], np.concatenate([one.X_adv for one in alone]))
    assert_array_equal(result.X_adv["kinds"], KINDS)
    assert_array_equal(result.success, np.concatenate([one.success for one in alone]))
    by_order = attack(NET, (torch.from_numpy(ROWS), KINDS))
    assert_allclose(by_order.X_adv.entries[0], result.X_adv["x"])


@pytest.mark.parametrize(
    "attack",
    [
        partial(pgd, eps=0.3),
        partial(random_noise, eps=0.3),
        partial(carlini_wagner, n_steps=40, binary_search_steps=3),
        partial(fooling_images, n_generations=3, target=1),
    ],
)
def test_what_is_found_fools_the_network(attack):
    if attack.func is carlini_wagner:
        pytest.importorskip("foolbox")
    result = attack(NET, X, random_state=0)
    found = torch.from_numpy(result.X_adv["x"])
    logits = NET(found, torch.from_numpy(KINDS)).argmax(dim=1)
    assert_array_equal(result.predicted, logits)
    assert (result.X_adv["x"] != ROWS).any()
    assert_array_equal(result.X_adv["kinds"], KINDS)
    assert len(AnomalySet.from_attack(result).X) == result.success.sum()


def test_attacks_need_one_input_of_floats():
    text, ids = seeded(MaskedText, dtype=torch.float64), KINDS
    for net, inputs, came in (
        (text, ids, "got whole numbers"),
        (text, (ids, np.ones_like(ids)), "got 0, 1 with whole numbers alone"),
        (
            seeded(TwoRows),
            {"x": ROWS, "y": ROWS},
            "got 'x', 'y' with floats in 'x', 'y",
        ),
    ):
        with pytest.raises(ValueError, match=f"X must hold one array of flo.*{came}"):
            fgsm(net, inputs, eps=0.1)
    with pytest.raises(TypeError, match=r"must be one array of inputs here.*the other"):
        adaptive_pgd(NET, X, detector=None, eps=0.1)


class TwoRows(nn.Module):
    """A network of two inputs of floats."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x, y):
        return self.head(x + y)
