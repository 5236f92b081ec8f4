"""The least-likely class method: its target, and Kurakin's number of steps."""

import pytest
import torch
from networks import LeNet, Recording, images, seeded, two_classes
from numpy.testing import assert_allclose, assert_array_equal

from skgrad.attacks import bim, iterative_least_likely


def test_by_hand():
    result = iterative_least_likely(
        two_classes(), [[0.9, 0.1], [0.3, 0.6]], eps=0.2, step_size=0.1, n_steps=1
    )
    # From class 0 to class 1, and from 1 to 0.
    assert_allclose(result.X_adv, [[0.8, 0.2], [0.4, 0.5]], atol=1e-6)


def test_is_bim_towards_the_least_likely_class():
    net, clean = seeded(LeNet, dtype=torch.float64), images(6, (1, 28, 28))
    with torch.no_grad():
        target = net(torch.from_numpy(clean).double()).argmin(dim=1)
    result = iterative_least_likely(net, clean, eps=0.1)
    expected = bim(net, clean, eps=0.1, target=target, step_size=0.1 / 16, n_steps=20)
    assert_array_equal(result.X_adv, expected.X_adv)
    assert_array_equal(result.success, result.predicted == target.numpy())
    assert_array_equal(iterative_least_likely(net, clean, [0] * 6, eps=0.1).X_adv,
                       result.X_adv)  # fmt: skip


@pytest.mark.parametrize(
    ("levels", "steps"), [(2, 3), (4, 5), (8, 10), (16, 20), (32, 36), (0.2, 1)]
)
def test_number_of_steps(tmp_path, levels, steps):
    net = seeded(lambda: Recording(tmp_path / "seen"))
    iterative_least_likely(
        net, images(3, (2, 6, 6)), eps=levels / 255, step_size=1 / 255
    )
    # Two to look at the model, one pass to find the class, one in the end.
    assert net.seen().total() == 2 + 3 + 3 * steps + 3


def test_bad_options():
    for options in ({"n_steps": 0}, {"step_size": 0}, {"stop_at_success": "yes"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            iterative_least_likely(two_classes(), [[0.5, 0.5]], eps=0.1, **options)
