"""Samples of Datasets and DataLoaders: counted, selected, read a second time."""

import random
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.utils.data import DataLoader, TensorDataset
from wrong_inputs import Stream, Yields

from skgrad.torch_engine.batching import batches
from skgrad.torch_engine.samples import (
    count_samples,
    join_samples,
    read_array,
    select_samples,
    take_samples,
    warn_if_unsteady,
)

X = np.arange(30, dtype=np.float32).reshape(10, 3)
DATASET = TensorDataset(torch.from_numpy(X))


def doubled(items):
    return 2 * torch.stack([x for (x,) in items])


LOADERS = {
    "plain": (DataLoader(DATASET, batch_size=4), X),
    "workers": (DataLoader(DATASET, batch_size=4, num_workers=2), X),
    "collate": (DataLoader(DATASET, batch_size=4, collate_fn=doubled), 2 * X),
    "backwards": (DataLoader(DATASET, sampler=range(10)[::-1]), X[::-1]),
    "batch sampler": (DataLoader(DATASET, batch_sampler=[[3, 1], [0, 2, 4]]), None),
    "stream": (DataLoader(Stream(lambda: iter(torch.from_numpy(X))), 4), X),
    "whole batches": (
        DataLoader(Yields(5, lambda i: X[2 * i : 2 * i + 2]), batch_size=None),
        X,
    ),
}


@pytest.mark.parametrize(("loader", "read"), LOADERS.values(), ids=LOADERS)
def test_samples_of_a_loader_are_those_that_it_gives(loader, read):
    read = X[[3, 1, 0, 2, 4]] if read is None else read
    rows = np.array([4, 0, 3])
    assert count_samples(loader) == len(read)
    assert_array_equal(take_samples(loader, rows), read[rows])
    assert_array_equal(read_array(loader, "X"), read)
    first, second = (select_samples(loader, part) for part in (rows, rows[:1]))
    assert_array_equal(read_array(first, "X"), read[rows])
    both = join_samples(first, second)
    assert_array_equal(read_array(both, "X"), read[[4, 0, 3, 4]])
    assert_array_equal(take_samples(first, np.array([1])), read[[0]])


def test_a_selection_is_read_as_the_user_reads():
    read = []
    loader = DataLoader(
        Yields(10, lambda i: read.append(i) or X[i]),
        batch_size=3,
        collate_fn=np.stack,
    )
    part = select_samples(loader, np.arange(1, 9))
    assert read == []
    assert [len(batch) for batch in batches(part, batch_size=100)] == [3, 3, 2]
    assert read == list(range(1, 9))


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_no_generator_is_moved(own, num_workers):
    generator = torch.Generator() if own else None
    loader = DataLoader(DATASET, 4, generator=generator, num_workers=num_workers)
    states = [torch.get_rng_state(), own and generator.get_state()]
    settings = {name: value for name, value in vars(loader).items() if name[0] != "_"}
    read_array(loader, "X")
    select_samples(loader, np.arange(3))
    list(batches(loader, 4))
    warn_if_unsteady(loader, torch.from_numpy(X[:4]))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert not own or torch.equal(generator.get_state(), states[1])
    assert settings == {
        name: value for name, value in vars(loader).items() if name[0] != "_"
    }


def noisy(draw):
    return Yields(10, lambda i: torch.from_numpy(X[i]) + draw())


SOURCES = {
    "torch": lambda: torch.rand(1),
    "python": random.random,
    "numpy": lambda: float(np.random.rand()),  # noqa: NPY002
}


# Torch's workers: `pytest.warns` repeats the warning as one of this file.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", ["dataset", "loader"])
def test_values_that_differ_from_reading_to_reading_are_noticed(
    source, num_workers, kind
):
    X = noisy(SOURCES[source])
    options = {"num_workers": num_workers}
    if kind == "loader":
        X, options = DataLoader(X, 4, **options), {}
    state = torch.get_rng_state()
    first = next(batches(X, 4, **options))
    torch.set_rng_state(state)  # as after a network that was held
    with pytest.warns(UserWarning, match="different values each time it is read"):
        warn_if_unsteady(X, first, **options)
    assert torch.equal(torch.get_rng_state(), state)


def test_steady_values_raise_no_warning():
    missing = torch.from_numpy(np.where(X > 3, np.nan, X))
    steady = [
        X,
        torch.from_numpy(X),
        DATASET,
        TensorDataset(missing),
        Stream(lambda: iter(torch.from_numpy(X))),
        *(loader for loader, _ in LOADERS.values()),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in steady:
            for batch_size in (2, 100):
                warn_if_unsteady(data, next(batches(data, batch_size)))
