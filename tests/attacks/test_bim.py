"""BIM by hand; stopped samples stay where they are and cost nothing more."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import AnyWidth, Recording, images, seeded, two_classes
from numpy.testing import assert_allclose, assert_array_equal

from skgrad.attacks import bim, fgsm

ROWS = [[0.6, 0.5], [0.9, 0.1], [0.2, 0.8]]


def test_by_hand():
    result = bim(two_classes(), ROWS, [0, 0, 0], eps=0.25, step_size=0.1, n_steps=2)
    # The third is in class 1 from the start, and moved all the same.
    assert_allclose(result.X_adv, [[0.4, 0.7], [0.7, 0.3], [0, 1]], atol=1e-6)
    assert result.success.tolist() == [True, False, True]
    default = bim(two_classes(), ROWS, [0, 0, 0], eps=0.25, n_steps=1)
    assert_allclose(default.linf, [0.25 / 4] * 3, atol=1e-6)
    whole = bim(two_classes(), ROWS, [0, 0, 0], eps=0.25)
    assert_allclose(whole.X_adv, [[0.35, 0.75], [0.65, 0.35], [0, 1]], atol=1e-6)


def test_each_sample_stops_at_its_own_first_success():
    rows = [[0.6, 0.5], [0.65, 0.4], [0.9, 0.1], [0.2, 0.8]]
    result = bim(
        two_classes(), rows, [0] * 4, eps=0.3, step_size=0.1, stop_at_success=True
    )
    expected = [[0.5, 0.6], [0.45, 0.6], [0.6, 0.4], [0.2, 0.8]]
    assert_allclose(result.X_adv, expected, atol=1e-6)
    assert result.success.tolist() == [True, True, False, True]
    assert_array_equal(result.l0, [2, 2, 2, 0])


def test_stopping_equals_the_shortest_walk_that_succeeds():
    net, clean = seeded(partial(AnyWidth, 10)), images(30, (6,))
    y = fgsm(net, clean, eps=1e-9).predicted
    y[:2] = (y[:2] + 1) % 10
    walks = [bim(net, clean, y, eps=0.2, step_size=0.02, n_steps=n) for n in (1, 2, 3)]
    stopped = bim(
        net, clean, y, eps=0.2, step_size=0.02, n_steps=3, stop_at_success=True
    )
    assert_array_equal(stopped.X_adv[:2], clean[:2])
    for i in range(2, 30):
        first = next((w for w in walks if w.success[i]), walks[-1])
        assert_allclose(stopped.X_adv[i], first.X_adv[i], atol=1e-12)
    assert {1, 2, 3} <= set((stopped.linf / 0.02).round())


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
    # Two to look at the model, one pass each to see who is there, four steps more with
    # those who are not, one pass each in the end.
    assert seen == 2 + 40 + 4 * 20 + 40


def test_samples_do_not_depend_on_who_stops_beside_them():
    net, clean = seeded(partial(AnyWidth, 10)), images(9, (6,))
    walk = {"eps": 0.5, "step_size": 0.02, "stop_at_success": True}
    together = bim(net, clean, **walk)
    for batch_size in (1, 4):
        alone = bim(net, clean, batch_size=batch_size, **walk)
        assert_allclose(alone.X_adv, together.X_adv, atol=1e-12)
    assert len(np.unique(together.linf.round(6))) > 2


def test_bad_options():
    for options in ({"n_steps": 0}, {"step_size": 0}, {"stop_at_success": "yes"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            bim(two_classes(), ROWS, eps=0.1, **options)
