"""Fooling images: sure of the target, within bounds, each evolved apart."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import AnyWidth, BatchNormNet, seeded
from numpy.testing import assert_allclose, assert_array_equal

from skgrad.attacks import fooling_images
from skgrad.attacks._fooling import _polynomial_step
from skgrad.datasets import make_uniform_noise


def mirror(n_classes=3, factor=8.0):
    """A net whose logits are its inputs, times a factor."""
    net = torch.nn.Linear(n_classes, n_classes, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(factor * torch.eye(n_classes))
    return net


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


def test_the_model_is_sure_of_the_classes_in_turn():
    net = mirror()
    noise = make_uniform_noise(7, 3, random_state=0)
    result = fooling_images(net, noise, confidence=0.99, random_state=0)
    assert result.success.all()
    assert result.predicted.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert softmax_of(net, result.X_adv, result.predicted).min() >= 0.99
    assert result.X_adv.min() >= 0
    assert result.X_adv.max() <= 1


def test_success_needs_the_confidence():
    # With all values between 0 and 1 a class gets at most e^8 / (e^8 + 2) = 0.99933.
    noise = make_uniform_noise(3, 3, random_state=0)
    evolve = partial(fooling_images, mirror(), noise, random_state=0)
    result = evolve(confidence=0.9999, n_generations=300)
    assert result.predicted.tolist() == [0, 1, 2]
    assert not result.success.any()
    assert softmax_of(mirror(), result.X_adv, [0, 1, 2]).min() > 0.99


def test_confidence_never_falls():
    net = mirror()
    noise = make_uniform_noise(4, 3, random_state=0)
    evolve = partial(fooling_images, net, noise, target=2, random_state=3)
    last = softmax_of(net, noise.astype(float), [2] * 4)
    for n_generations in (1, 2, 5, 20, 80):
        result = evolve(n_generations=n_generations)
        now = softmax_of(net, result.X_adv, [2] * 4)
        assert (now >= last).all()
        last = now


def test_who_is_there_already_stays():
    result = fooling_images(mirror(), [[1.0, 0.0, 0.0]], target=0, confidence=0.9)
    assert result.l0.tolist() == [0]
    assert result.success.all()


def test_batches_and_children_are_independent():
    net = seeded(BatchNormNet, seed=3, dtype=torch.float64)
    noise = make_uniform_noise(5, (2, 4, 4), random_state=0)
    evolve = partial(
        fooling_images, net, noise, n_generations=15, n_children=2, random_state=1
    )
    expected = evolve().X_adv
    for batch_size in (1, 3):
        assert_allclose(evolve(batch_size=batch_size).X_adv, expected, atol=1e-12)
    assert_array_equal(evolve().X_adv, expected)
    assert not np.array_equal(evolve(random_state=2).X_adv, expected)


def test_mutation_rate_halves_after_a_thousand_generations():
    net = mirror(20, factor=1e-9)
    evolve = partial(fooling_images, net, np.full((30, 20), 0.5), random_state=0)
    early = evolve(n_generations=1, n_children=1, mutation_rate=1.0, target=0)
    # All values are mutated; half of the children are better.
    assert set(early.l0.tolist()) == {0, 20}
    assert 5 < (early.l0 == 20).sum() < 25


def test_bounds_per_channel_of_series_and_images():
    low, high = np.array([[-1.0], [2.0]]), np.array([[0.0], [5.0]])
    start = low + (high - low) * make_uniform_noise(4, (2, 4), random_state=0)
    net = torch.nn.Sequential(torch.nn.Flatten(), seeded(lambda: torch.nn.Linear(8, 3)))
    result = fooling_images(
        net, start, bounds=(low, high), confidence=0.9, n_generations=30, random_state=0
    )
    assert (result.X_adv >= low - 1e-5).all()
    assert (result.X_adv <= high + 1e-5).all()
    assert (result.l0 > 0).any()


def test_targets_by_name():
    noise = make_uniform_noise(6, 5, random_state=0)
    evolve = partial(fooling_images, AnyWidth(), noise, random_state=0, confidence=0.3)
    with torch.no_grad():
        logits = AnyWidth()(torch.from_numpy(noise.astype(float)))
    least = evolve(target="least_likely", n_generations=1)
    assert_array_equal(least.success, (least.predicted == logits.argmin(dim=1).numpy()))
    with pytest.raises(ValueError, match="target must be None, one class"):
        evolve(target="worst")


def test_model_and_generators_are_left_as_they_were():
    net = seeded(BatchNormNet).train()
    noise = make_uniform_noise(2, (2, 4, 4), random_state=0)
    state = torch.get_rng_state()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    fooling_images(net, noise, n_generations=2)
    assert all(part.training for part in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 1.0}, "'confidence' parameter"),
        ({"n_generations": 0}, "'n_generations' parameter"),
        ({"n_children": 0}, "'n_children' parameter"),
        ({"mutation_rate": 0}, "'mutation_rate' parameter"),
        ({"mutation_strength": -1}, "'mutation_strength' parameter"),
        ({"target": 3}, "target must hold classes 0 to 2"),
        ({"bounds": (0.4, 0.5)}, "X must lie within bounds"),
        ({"bounds": (-np.inf, np.inf)}, "bounds must be finite"),
    ],
)
def test_bad_input(options, message):
    noise = make_uniform_noise(2, 3, random_state=0)
    with pytest.raises(ValueError, match=message):
        fooling_images(mirror(), noise, **options)
