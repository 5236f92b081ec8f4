"""Features of parts of X in several processes, wherever joblib runs them.

What all parts have in common, the fitted transformer with its network, is pickled once.
Each worker unpickles it once, and computes one part after the other with it.
"""

import copy
import math
import pickle
import threading
from concurrent.futures import BrokenExecutor, CancelledError
from hashlib import blake2b
from itertools import islice
from typing import Any

import joblib
import numpy as np
import torch
from joblib.parallel import get_active_backend
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm.auto import tqdm

from .._finite import NotFiniteError
from .._messages import cut
from .._several import Several
from .._validation import DATASETS, dataset_name
from ..torch_engine.batching import Rows, known_length
from ..torch_engine.samples import is_stream, settings_of

# Parts for each worker, so that all of them end at about the same time.
_PER_WORKER = 4
# Largest number of batches in a part: what is under way fits into memory, however many
# inputs there are.
_MOST_BATCHES = 32
# Attempts in a row that bring nothing. The first may end before its first part is
# gathered, as a lost worker takes the parts of others along.
_MOST_VAIN = 2

# What a worker keeps: the last content that it unpickled. Threads of one process have a
# network each, because a network serves one of them at a time.
_WORKER = threading.local()


def count_workers(transformer, X):
    """Return how many workers share X: 1 computes it here, without joblib."""
    n_jobs = transformer.n_jobs
    n_workers = joblib.effective_n_jobs(n_jobs)
    if n_workers == 1:
        return 1
    if isinstance(X, DATASETS) and is_stream(X):
        # A context around a whole program is no wish about this X.
        if n_jobs is None:
            return 1
        raise ValueError(
            f"n_jobs must be None or 1 for {dataset_name(X)}, whose samples are "
            f"reached one after the other only; got {n_jobs}. Give a Dataset with "
            "__getitem__ and __len__, or a DataLoader of one."
        )
    if isinstance(X, DataLoader):
        return min(n_workers, len(X))
    return min(n_workers, math.ceil(len(X) / transformer.batch_size))


def features_by_parts(transformer, X, n_workers):
    """Compute features of X in several workers.

    Parts begin where a batch does, so that each batch is what it is without workers.
    Where a worker is lost, what was gathered is kept and the rest is begun again, as
    long as that brings anything. Returns an ndarray (n_samples, n_features_out).
    Raises what a part raises, with a note of its rows.
    """
    n_samples = known_length(X)
    rows, n_done, n_vain = Rows(n_samples), 0, 0
    pickled = _pickled(transformer, X)
    key = blake2b(pickled, digest_size=16).hexdigest()
    name, hidden = type(transformer).__name__, not transformer.verbose
    with tqdm(total=n_samples, desc=name, unit="sample", disable=hidden) as bar:
        while True:
            n_before = n_done
            parts = islice(_parts(X, transformer.batch_size, n_workers), n_done, None)
            tasks = (
                joblib.delayed(_features_of)(key, pickled, part, start, stop)
                for start, stop, part in parts
            )
            try:
                for features in _run(tasks, transformer.n_jobs):
                    # Arrays from a cluster may be read-only, which torch warns of.
                    writable = np.require(features, requirements="W")
                    rows.append(torch.from_numpy(writable))
                    n_done += 1
                    bar.update(len(features))
                return rows.gathered().numpy()
            except _LOST as error:
                n_vain = n_vain + 1 if n_done == n_before else 0
                if n_vain == _MOST_VAIN:
                    raise RuntimeError(_lost(rows.n_filled, error)) from error


def _run(tasks, n_jobs):
    """Return the results of tasks in their order, each as soon as it is there."""
    # A list of all parts would need the memory of the features twice.
    lazily = getattr(get_active_backend()[0], "supports_return_generator", False)
    # Not scikit-learn's Parallel, which sets the filters of warnings in each thread:
    # where two overlap, the filters of the process stay changed.
    how = "generator" if lazily else "list"
    return joblib.Parallel(n_jobs, return_as=how)(tasks)


# What joblib raises where a process, or a machine of a cluster, ended. Tasks that wait
# for what it held are cancelled.
_LOST = BrokenExecutor, CancelledError


def _lost(row, error):
    return (
        "n_jobs: a worker ended before it returned its features, or could not unpickle "
        f"what it was sent; from row {row} of X on nothing came back. Mostly "
        "the machine has too little memory: call again with smaller n_jobs or "
        "batch_size. To keep what was computed, give X in several calls with memory=. "
        f"joblib says: {cut(str(error), 300)}"
    )


def _pickled(transformer, X):
    """Return the bytes of what all parts have in common, as an array.

    joblib writes a large array to disk once, or scatters it to a cluster, where it
    would send bytes with each task.
    """
    common = copy.copy(transformer).set_params(n_jobs=None, memory=None, verbose=False)
    data: Any = None
    if isinstance(X, DataLoader):
        data = X.dataset, settings_of(X)
    elif isinstance(X, Dataset):
        data = X, None
    # Classes and functions of notebooks have to travel as well.
    whole = joblib.wrap_non_picklable_objects((common, data), keep_wrapper=False)
    return np.frombuffer(pickle.dumps(whole), dtype=np.uint8)


def _parts(X, batch_size, n_workers):
    """Yield for each part its first row, the row after its last, and what is sent.

    That is the part itself, a range of indices of a Dataset, or the indices in each
    batch of a DataLoader.
    """
    if isinstance(X, DataLoader):
        batches: Any = X.batch_sampler  # None for streams, which have no parts
        yield from _runs(list(batches), n_workers)
        return
    n_samples = len(X)
    step = batch_size * _n_batches(math.ceil(n_samples / batch_size), n_workers)
    for start in range(0, n_samples, step):
        stop = min(start + step, n_samples)
        rows = range(start, stop)
        yield start, stop, rows if isinstance(X, Dataset) else _piece(X[start:stop])


def _runs(batches, n_workers):
    """Yield what `_parts` does, of the batches of a DataLoader."""
    start, step = 0, _n_batches(len(batches), n_workers)
    for first in range(0, len(batches), step):
        run = batches[first : first + step]
        stop = start + sum(map(len, run))
        yield start, stop, run
        start = stop


def _n_batches(n_batches, n_workers):
    """Return the number of batches in a part."""
    return min(math.ceil(n_batches / (_PER_WORKER * n_workers)), _MOST_BATCHES)


def _piece(part):
    """Return rows of X so that no more than they are sent."""
    if isinstance(part, Several):
        return part.map(_piece)
    if isinstance(part, Tensor):  # would be pickled with all of its memory
        return part.detach().clone()
    base = part
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    # joblib sends the name of the file, which here has none or has other values.
    if base is not None and (base.filename is None or base.mode == "c"):
        return np.array(part)
    return part


# In the workers


def _features_of(key, pickled, part, start, stop):
    """Return the features of a part, the rows ``start`` to ``stop`` of X."""
    transformer, data = _unpickled(key, pickled)
    try:
        return transformer._compute_rows(_read_lazily(data, part))
    except NotFiniteError as error:
        error.rows = [start + row for row in error.rows]
        raise
    except Exception as error:
        error.add_note(f"n_jobs: raised in rows {start} to {stop - 1} of X.")
        raise


def _unpickled(key, pickled):
    """Return what all parts have in common, the same object for each part."""
    if getattr(_WORKER, "key", None) != key:
        # Both may not fit into memory at once.
        _WORKER.key = _WORKER.common = None
        _WORKER.common = pickle.loads(pickled)
        _WORKER.key = key
    return _WORKER.common


def _read_lazily(data, part):
    """Return the inputs of a part."""
    if data is None:
        return part
    dataset, settings = data
    if settings is None:
        return Subset(dataset, part)
    return DataLoader(dataset, batch_sampler=part, **settings)
