"""Attacks of ART that go their own way with seeds and batch sizes."""

import sys
from functools import partial

import numpy as np
import pytest
from networks import AnyWidth, BatchNormNet, images, seeded
from numpy.testing import assert_array_equal

from skgrad.attacks import art_attack

X = images(4, (2, 6, 6))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("HopSkipJump", {"max_iter": 1, "max_eval": 10, "init_eval": 5}),
        ("BoundaryAttack", {"max_iter": 3}),
    ],
)
def test_generators_that_attacks_make_for_themselves_are_seeded(name, options):
    net = seeded(BatchNormNet)
    attack = partial(art_attack, net, X, attack=name, options=options)
    first, second, other = (attack(random_state=seed) for seed in (4, 4, 5))
    assert first.success.any()
    assert_array_equal(first.X_adv, second.X_adv)
    assert not np.array_equal(first.X_adv, other.X_adv)
    homes = [home for key, home in sys.modules.items() if key.startswith("art.")]
    assert all(home.np is np for home in homes if hasattr(home, "np"))


def test_attacks_that_take_one_input_at_a_time():
    rows = np.random.default_rng(0).uniform(size=(3, 4))  # ZOO takes images in batches
    options = {"use_resize": False, "use_importance": False, "nb_parallel": 4}
    options |= {"initial_const": 100, "learning_rate": 0.3}
    attack = partial(art_attack, AnyWidth(), rows, attack="ZooAttack", random_state=0)
    result = attack(options=options)
    assert (result.l2 > 0).any()
    given = attack(options={**options, "batch_size": 1})
    assert_array_equal(given.X_adv, result.X_adv)
    with pytest.raises(ValueError, match=r"got \{.*'batch_size': 2\}.*batch_size=1"):
        attack(options={**options, "batch_size": 2})


def test_options_are_told_as_they_were_given():
    with pytest.raises(ValueError, match=r"got \{'steps': 3\}\. It says: .*steps"):
        art_attack(seeded(BatchNormNet), X, attack="DeepFool", options={"steps": 3})
