"""The attacks beside those of foolbox: the same model, the same inputs, equal ends."""

import numpy as np
import pytest
import torch
from networks import LeNet, images, seeded
from numpy.testing import assert_array_equal

from skgrad.attacks import bim, fgsm, pgd
from skgrad.attacks._library import import_library

foolbox = import_library("foolbox")
theirs = foolbox.attacks

EPS = {"linf": 0.05, "l2": 1.0}
STEPS = 8


@pytest.fixture(scope="module")
def setting():
    """Return a network in float64, so that rounding turns no sign, and its inputs."""
    net = seeded(LeNet, seed=2, dtype=torch.float64).eval()
    clean = torch.from_numpy(images(16, (1, 28, 28), seed=1)).double()
    with torch.no_grad():
        logits = net(clean)
    y, target = logits.argmax(dim=1), logits.argsort(dim=1)[:, -2]
    return net, clean, y, target


def walk(norm):
    options = {"eps": EPS[norm], "step_size": 0.2 * EPS[norm], "n_steps": STEPS}
    return {**options, "norm": norm, "random_start": False}


ITERATIVE = {"rel_stepsize": 0.2, "steps": STEPS, "random_start": False}
LINF_STEPS = {key: walk("linf")[key] for key in ("eps", "step_size", "n_steps")}
PAIRS = {
    "fgsm": (fgsm, {"eps": EPS["linf"]}, theirs.LinfFastGradientAttack()),
    "bim": (bim, LINF_STEPS, theirs.LinfBasicIterativeAttack(**ITERATIVE)),
    "pgd, linf": (pgd, walk("linf"), theirs.LinfPGD(**ITERATIVE)),
    "pgd, l2": (pgd, walk("l2"), theirs.L2PGD(**ITERATIVE)),
    "bim, l2": (pgd, walk("l2"), theirs.L2BasicIterativeAttack(**ITERATIVE)),
}


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_equal_adversarials(setting, name, targeted):
    attack, options, other = PAIRS[name]
    if targeted and name == "fgsm":
        # Foolbox refuses it with a target; its iterative attack with one step is it.
        other = theirs.LinfBasicIterativeAttack(rel_stepsize=1.0, steps=1)
    net, clean, y, target = setting
    goal = foolbox.criteria.Misclassification(y)
    if targeted:
        goal = foolbox.criteria.TargetedMisclassification(target)
    model = foolbox.PyTorchModel(net, bounds=(0, 1))
    _, expected, success = other(model, clean, goal, epsilons=options["eps"])
    result = attack(net, clean, y, target=target if targeted else None, **options)
    assert np.abs(result.X_adv - expected.numpy()).max() < 1e-9
    assert_array_equal(result.success, success)
    assert result.success.any()
    assert result.linf.max() > 0.01
