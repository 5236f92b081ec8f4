"""BIM by hand, samples that stop, and the least-likely class method."""

import pytest
import torch
from networks import LeNet, Recording, images, seeded, two_classes
from numpy.testing import assert_allclose, assert_array_equal

from skgrad.attacks import bim, iterative_least_likely

ROWS = [[0.6, 0.5], [0.9, 0.1], [0.2, 0.8]]


def test_by_hand():
    result = bim(two_classes(), ROWS, [0, 0, 0], eps=0.25, step_size=0.1, n_steps=2)
    # The third is in class 1 from the start, and moved all the same.
    assert_allclose(result.X_adv, [[0.4, 0.7], [0.7, 0.3], [0, 1]], atol=1e-6)
    assert result.success.tolist() == [True, False, True]
    default = bim(two_classes(), ROWS, [0, 0, 0], eps=0.25, n_steps=1)
    assert_allclose(default.linf, [0.25 / 4] * 3, atol=1e-6)
    all_steps = bim(two_classes(), ROWS, [0, 0, 0], eps=0.25)
    assert_allclose(all_steps.X_adv, [[0.35, 0.75], [0.65, 0.35], [0, 1]], atol=1e-6)


def test_each_sample_stops_at_its_own_first_success():
    rows = [[0.6, 0.5], [0.65, 0.4], [0.9, 0.1], [0.2, 0.8]]
    result = bim(
        two_classes(), rows, [0] * 4, eps=0.3, step_size=0.1, stop_at_success=True
    )
    expected = [[0.5, 0.6], [0.45, 0.6], [0.6, 0.4], [0.2, 0.8]]
    assert_allclose(result.X_adv, expected, atol=1e-6)
    assert result.success.tolist() == [True, True, False, True]
    assert_array_equal(result.l0, [2, 2, 2, 0])


def test_stopped_samples_are_passed_no_more(tmp_path):
    net = seeded(lambda: Recording(tmp_path / "seen"))
    clean = images(40, (2, 6, 6))
    with torch.no_grad():
        y = net(torch.from_numpy(clean)).argmax(dim=1).numpy()
    y[:20] = (y[:20] + 1) % 3
    net.seen()
    result = bim(net, clean, y, eps=0.001, n_steps=5, stop_at_success=True)
    seen = net.seen().total()
    assert result.success.tolist() == [True] * 20 + [False] * 20
    # Two to look at the model, one pass each to see which have stopped, four steps
    # more with the others, one pass each at the end.
    assert seen == 2 + 40 + 4 * 20 + 40


def test_least_likely_by_hand():
    result = iterative_least_likely(
        two_classes(), [[0.9, 0.1], [0.3, 0.6]], eps=0.2, step_size=0.1, n_steps=1
    )
    # From class 0 to class 1, and from 1 to 0.
    assert_allclose(result.X_adv, [[0.8, 0.2], [0.4, 0.5]], atol=1e-6)


def test_least_likely_is_bim_towards_that_class():
    net, clean = seeded(LeNet, dtype=torch.float64), images(6, (1, 28, 28))
    with torch.no_grad():
        target = net(torch.from_numpy(clean).double()).argmin(dim=1)
    result = iterative_least_likely(net, clean, eps=0.1)
    expected = bim(net, clean, eps=0.1, target=target, step_size=0.1 / 16, n_steps=20)
    assert_array_equal(result.X_adv, expected.X_adv)
    assert_array_equal(result.success, result.predicted == target.numpy())
    with_y = iterative_least_likely(net, clean, [0] * 6, eps=0.1)
    assert_array_equal(with_y.X_adv, result.X_adv)


@pytest.mark.parametrize(("levels", "steps"), [(8, 10), (32, 36), (0.2, 1)])
def test_number_of_steps_to_the_least_likely_class(tmp_path, levels, steps):
    """Kurakin et al., Sec. 2.2: min(eps + 4, 1.25 eps) with eps in levels."""
    net = seeded(lambda: Recording(tmp_path / "seen"))
    iterative_least_likely(
        net, images(3, (2, 6, 6)), eps=levels / 255, step_size=1 / 255
    )
    # Two to look at the model, one pass to find the class, one at the end.
    assert net.seen().total() == 2 + 3 + 3 * steps + 3
