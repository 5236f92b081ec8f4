"""Fooling images: confidence in the target, mutations, independence."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import AnyWidth, mirror
from numpy.testing import assert_allclose, assert_array_equal

from skgrad.attacks import fooling_images
from skgrad.attacks._fooling import _polynomial_step
from skgrad.datasets import make_uniform_noise


def softmax_of(net, X, classes):
    with torch.no_grad():
        logits = net.eval()(torch.from_numpy(X))
    return torch.softmax(logits, dim=1).numpy()[np.arange(len(X)), classes]


def test_polynomial_mutation_by_hand():
    u = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
    # With strength 1 the exponent is 1/2: sqrt(0.5) - 1 and 1 - sqrt(0.5).
    expected = [-1, 0.5**0.5 - 1, 0, 1 - 0.5**0.5, 1]
    assert_allclose(_polynomial_step(u, 1.0), expected, atol=1e-12)
    # A higher strength means smaller steps; the mean size is 1 / (strength + 2).
    many = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    sizes = [_polynomial_step(many, s).abs().mean().item() for s in (1, 15)]
    assert_allclose(sizes, [1 / 3, 1 / 17], rtol=1e-3)


def test_the_model_is_confident_of_the_classes_in_turn():
    net = mirror(3, 8)
    noise = make_uniform_noise(7, 3, random_state=0)
    result = fooling_images(net, noise, confidence=0.99, random_state=0)
    assert result.success.all()
    assert result.predicted.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert softmax_of(net, result.X_adv, result.predicted).min() >= 0.99


def test_success_needs_the_confidence():
    # With all values between 0 and 1 a class gets at most e^8 / (e^8 + 2) = 0.99933.
    noise = make_uniform_noise(3, 3, random_state=0)
    evolve = partial(fooling_images, mirror(3, 8), noise, random_state=0)
    result = evolve(confidence=0.9999, n_generations=300)
    assert result.predicted.tolist() == [0, 1, 2]
    assert not result.success.any()
    assert softmax_of(mirror(3, 8), result.X_adv, [0, 1, 2]).min() > 0.99


def test_the_best_of_several_children_replaces_its_parent():
    net, start = mirror(3, 8), np.full((50, 3), 0.5)
    call = {"target": 0, "mutation_rate": 1.0, "random_state": 0}
    results = (
        fooling_images(net, start, n_children=n, n_generations=generations, **call)
        for n, generations in ((1, 1), (20, 1), (20, 9))
    )
    one, several, more = (softmax_of(net, r.X_adv, [0] * 50) for r in results)
    assert (more >= several).all()  # confidence never falls
    assert several.min() > 1 / 3
    assert several.mean() > one.mean() + 0.1


def test_inputs_with_enough_confidence_stay():
    result = fooling_images(mirror(3, 8), [[1.0, 0.0, 0.0]], target=0, confidence=0.9)
    assert result.l0.tolist() == [0]
    assert result.success.all()


@pytest.mark.parametrize(("rate", "share"), [(1.0, 1), (0.2, 0.2)])
def test_mutation_rate_is_the_share_of_mutated_values(rate, share):
    # Every child with more of value 0 is better, as the others hardly matter.
    net = mirror(2, factor=1e-9)
    start = np.full((400, 2), 0.5)
    evolve = partial(fooling_images, net, start, target=0, random_state=0)
    result = evolve(n_generations=1, mutation_rate=rate)
    # Half of the mutations of value 0 that come alone are better; both together too.
    better = (result.l0 > 0).mean()
    expected = share * (1 - share) + share**2 / 2
    assert_allclose(better, expected, atol=0.07)


def test_targets():
    noise = make_uniform_noise(6, 5, random_state=0)
    evolve = partial(fooling_images, AnyWidth(), noise, random_state=0, confidence=0.3)
    with torch.no_grad():
        logits = AnyWidth()(torch.from_numpy(noise.astype(float)))
    least = evolve(target="least_likely", n_generations=1)
    assert_array_equal(least.success, (least.predicted == logits.argmin(dim=1).numpy()))
    with pytest.raises(ValueError, match="bounds must be finite"):
        evolve(bounds=(-np.inf, np.inf))
