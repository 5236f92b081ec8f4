"""Options that some attacks of foolbox need, and others lack."""

import logging
from functools import partial

import numpy as np
import pytest
from networks import BatchNormNet, images, seeded
from torch import nn

from skgrad.attacks import (
    art_attack,
    carlini_wagner,
    foolbox_attack,
    fooling_images,
)
from skgrad.attacks._library import import_library, root_logger_restored

X = images(3, (2, 6, 6))
NET = seeded(BatchNormNet)
foolbox = import_library("foolbox")


@pytest.mark.parametrize("attack", ["InversionAttack", "PointwiseAttack"])
def test_eps_without_a_norm(attack):
    with pytest.raises(ValueError, match=f"eps must be None for {attack}.*got 0.1"):
        foolbox_attack(NET, X, attack=attack, eps=0.1)


def test_eps_in_a_norm_that_was_given():
    options = {"distance": foolbox.distances.linf}
    result = foolbox_attack(
        NET, X, attack="InversionAttack", options=options, eps=0.1, random_state=0
    )
    assert result.linf.max() <= 0.1 + 1e-6


def test_attack_that_always_aims():
    options = {"steps": 2, "population": 3}
    with pytest.raises(ValueError, match="target must not be None for GenAttack"):
        foolbox_attack(NET, X, attack="GenAttack", options=options, eps=0.1)
    result = foolbox_attack(
        NET, X, attack="GenAttack", options=options, eps=0.1, target="random"
    )
    assert result.linf.max() <= 0.1 + 1e-6


def test_models_out_of_reach_of_autograd_are_told():
    class Detached(nn.Linear):
        def forward(self, x):
            return super().forward(x.detach())

    class Rounded(nn.Linear):
        def forward(self, x):
            return super().forward(x.round())

    rows = [[0.2, 0.4], [0.6, 0.3]]
    for attack in (
        partial(foolbox_attack, attack="LinfPGD", eps=0.1),
        partial(art_attack, attack="FastGradientMethod", options={"eps": 0.1}),
        partial(carlini_wagner, n_steps=2, binary_search_steps=1),
    ):
        with pytest.raises(ValueError, match="must let autograd reach its input"):
            attack(seeded(lambda: Detached(2, 2)), rows)
        with pytest.raises(ValueError, match="must be differentiable"):
            attack(seeded(lambda: Rounded(2, 2)), rows)


def test_errors_of_a_library_say_which_attack_they_come_from():
    with pytest.raises(Exception, match=r".") as caught:
        art_attack(seeded(lambda: nn.Linear(2, 2)), [[0.2, 0.4]], attack="GeoDA")
    assert "Raised while GeoDA attacked inputs of shape (2,)" in str(
        caught.value.__notes__
    )


def test_single_numbers_are_no_samples():
    for attack in (partial(foolbox_attack, attack="LinfPGD", eps=0.1), fooling_images):
        with pytest.raises(ValueError, match="at least one sample"):
            attack(seeded(lambda: nn.Linear(2, 2)), np.array(0.5))


def test_root_logger_is_left_alone(monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with root_logger_restored():
        logging.info("what some libraries say adds a handler")
        assert logging.getLogger().handlers
    assert logging.getLogger().handlers == []
