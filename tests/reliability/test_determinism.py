"""The same seed gives the same result: again, in another process, in more threads.

As a script this computes everything random in 1 and in 2 threads and writes the results
to a folder, so that processes can be compared.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from entry_points import (
    ENTRY_POINTS,
    FEATURE_ESTIMATORS,
    IMAGES,
    LABELS,
    first_answer,
    network,
)
from novelty_detectors import MAKERS, draw
from numpy.testing import assert_allclose, assert_array_equal
from threadpoolctl import threadpool_limits

from skgrad import MLPAnomalyClassifier, NoveltyKFold
from skgrad.attacks import pgd, random_noise
from skgrad.datasets import make_gaussian_noise, make_uniform_noise

TESTS = Path(__file__).parents[1]


def everything(n_threads=1):
    """Return the results of everything random, by name."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with threadpool_limits(n_threads):
            return _everything()
    finally:
        torch.set_num_threads(before)


def _everything():
    model, X = network().double(), IMAGES.astype(np.float64)
    results = {name: call(model, X) for name, call in ENTRY_POINTS.items()}
    rows = draw(len(LABELS))
    for name, make in FEATURE_ESTIMATORS.items():
        results[name] = first_answer(make().fit(rows, LABELS), rows)
    folds = NoveltyKFold(3, shuffle=True, random_state=0).split(rows, LABELS)
    return results | {
        "folds": np.concatenate([test for _, test in folds]),
        "Gaussian noise": make_gaussian_noise(3, (2, 2), random_state=0),
        "uniform noise": make_uniform_noise(3, (2, 2), random_state=0),
    }


@pytest.fixture(scope="module")
def here():
    return everything()


def test_again_in_this_process(here):
    again = everything()
    assert again.keys() == here.keys()
    for name, value in here.items():
        assert_array_equal(again[name], value, err_msg=name)


@pytest.mark.slow
def test_in_another_process(here, tmp_path):
    # Strings have other hashes there.
    found = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    settings = {"PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(found)}
    command = [sys.executable, __file__, str(tmp_path)]
    subprocess.run(command, env=os.environ | settings, check=True)
    there = {n: dict(np.load(tmp_path / f"{n}.npz")) for n in (1, 2)}
    for name, value in here.items():
        assert_array_equal(there[1][name], value, err_msg=name)
        # In two threads sums in another order differ in their last digits.
        assert_allclose(there[2][name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def random_results():
    """Return functions of random_state whose results depend on it."""
    net, X, rows = network(), IMAGES[:6], draw(120)
    labels = np.repeat([1, -1], 60)

    def scores(random_state):
        detector = MAKERS["LODA"](random_state=random_state, target_fpr=0.1)
        return detector.fit(rows).score_samples(rows)

    def probabilities(random_state):
        classifier = MLPAnomalyClassifier(max_epochs=1, random_state=random_state)
        return classifier.fit(rows, labels).predict_proba(rows)

    return {
        "LODA": scores,
        "MLPAnomalyClassifier": probabilities,
        "pgd": lambda seed: pgd(net, X, eps=0.1, n_steps=1, random_state=seed).X_adv,
        "random noise": lambda seed: (
            random_noise(net, X, eps=0.1, random_state=seed).X_adv
        ),
        "uniform noise": lambda seed: make_uniform_noise(2, 3, random_state=seed),
    }


@pytest.mark.parametrize("name", random_results())
def test_kinds_of_random_state(name):
    draw_with = random_results()[name]
    torch_state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = draw_with(3)
    assert_array_equal(draw_with(3), first)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
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


if __name__ == "__main__":
    for n_threads in (1, 2):
        np.savez(Path(sys.argv[1]) / f"{n_threads}.npz", **everything(n_threads))
