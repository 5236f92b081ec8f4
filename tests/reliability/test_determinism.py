"""The same seed gives the same result: again, elsewhere, and in more threads."""

import os
import subprocess
import sys
from pathlib import Path

import doing_it_again
import numpy as np
import pytest
import torch
from networks import BatchNormNet, images, seeded
from novelty_detectors import MAKERS, draw
from numpy.testing import assert_allclose, assert_array_equal

from skgrad.attacks import pgd, random_noise
from skgrad.datasets import make_uniform_noise

KIND = "Determinism"


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    """Do everything in a process with other hashes of str, by number of threads."""
    folder, tests = tmp_path_factory.mktemp("there"), Path(doing_it_again.__file__)
    found = [str(tests.parent), str(tests.parents[1]), os.environ.get("PYTHONPATH", "")]
    settings = {"PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(found)}
    command = [sys.executable, str(tests), str(folder)]
    subprocess.run(command, env=os.environ | settings, check=True)
    return {n: dict(np.load(folder / f"{n}.npz")) for n in (1, 2)}


@pytest.fixture(scope="module")
def here():
    return doing_it_again.everything()


def test_again_in_this_process(here, counted):
    counted(KIND, f"{len(here)} results again in one process", "equal bit by bit")
    again = doing_it_again.everything()
    assert again.keys() == here.keys()
    for name, value in here.items():
        assert_array_equal(again[name], value, err_msg=name)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_in_another_process(n_threads, here, there, counted):
    answer = "equal bit by bit" if n_threads == 1 else "equal but for rounding"
    case = f"{len(here)} results in another process, threads: {n_threads}"
    counted(KIND, case, answer)
    assert there[n_threads].keys() == here.keys()
    for name, value in here.items():
        if n_threads == 1:
            assert_array_equal(there[1][name], value, err_msg=name)
        else:
            # Sums in another order differ in their last digits.
            assert_allclose(there[2][name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def random_results():
    """Return functions of random_state whose results depend on it."""
    net = seeded(BatchNormNet)
    X, rows = images(6, (2, 6, 6)), draw(120)

    def score(random_state):
        detector = MAKERS["LODA"](random_state=random_state, target_fpr=0.1)
        return detector.fit(rows).score_samples(rows)

    return {
        "LODA": score,
        "train_network": lambda seed: doing_it_again.training(seed)["train_network"],
        "pgd": lambda seed: pgd(net, X, eps=0.1, n_steps=1, random_state=seed).X_adv,
        "random noise": lambda seed: (
            random_noise(net, X, eps=0.1, random_state=seed).X_adv
        ),
        "uniform noise": lambda seed: make_uniform_noise(2, 3, random_state=seed),
    }


@pytest.mark.parametrize("name", random_results())
def test_kinds_of_random_state(name, counted):
    counted(KIND, f"int, RandomState and None: {name}", "as in scikit-learn")
    draw_with = random_results()[name]
    first = draw_with(3)
    assert_array_equal(draw_with(3), first)
    assert not np.array_equal(draw_with(4), first)
    # An instance goes on where it is; a fresh one of the same seed does the same.
    one, other = np.random.RandomState(5), np.random.RandomState(5)
    results = [draw_with(one), draw_with(one)]
    assert not np.array_equal(*results)
    for result in results:
        assert_array_equal(draw_with(other), result)
    # None is numpy's global generator.
    before = np.random.get_state()  # noqa: NPY002
    results = [draw_with(None), draw_with(None)]
    assert not np.array_equal(*results)
    np.random.set_state(before)  # noqa: NPY002
    for result in results:
        assert_array_equal(draw_with(None), result)


def test_seeds_leave_the_global_generators(counted):
    counted(KIND, "global generators of torch and numpy", "neither used nor moved")
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    for draw_with in random_results().values():
        draw_with(0)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
