"""Options that some attacks of foolbox need, and others lack."""

import pytest
from networks import BatchNormNet, images, seeded

from skgrad.attacks import foolbox_attack
from skgrad.attacks._library import import_library

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
