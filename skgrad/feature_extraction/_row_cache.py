"""Features of samples that a model has seen before, kept on disk.

The features of a sample depend on the sample, the model and a few parameters, never on
other samples, so they can be kept one by one. ``Pipeline(memory=...)`` keeps those of
whole training folds only: a grid search would compute each sample anew in every fold,
and the test folds anew for every candidate.

A store is a folder per model and parameters, with the features in any number of
shards: npz files without pickles, named by a hash of their bytes. A shard is never
changed and appears under its name only when it is whole, so that any number of
processes may read and write at once.
"""

import io
import os
import uuid
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import joblib
import numpy as np
import torch

from .. import __version__
from .._files import read_arrays
from .._messages import brief, warn
from .._validation import no_samples
from ..torch_engine.batching import Adaptive, batches, prepare_batch, progress_bar

try:
    import fcntl
except ImportError:  # Windows: processes may compute the same samples at once.
    fcntl = None  # type: ignore[assignment]

# Counts what shards looked like; another number finds nothing of earlier ones.
_FORMAT = 2
# More small shards than this, in bytes, are merged: opening them would take long.
_MANY, _SMALL = 100, 2**22


def checked_folder(memory):
    """Return the folder that ``memory`` stands for, made if need be, or None."""
    location = memory.location if isinstance(memory, joblib.Memory) else memory
    if location is None:
        return None
    try:
        os.makedirs(location, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError of null bytes
        raise ValueError(
            "memory must be None, a folder that exists or can be made, or a "
            f"joblib.Memory with such a location; got {brief(memory)}. The system "
            f"says: {error}"
        ) from error
    return Path(location) / "skgrad"


def map_batches_once(
    function, data, *, store, batch_size, device, dtype, input_shape, progress
):
    """Do what `map_batches` does, with samples that the store does not hold.

    They are gathered to whole batches, in order, so that a first pass computes the
    very batches that it would without a store.

    Parameters
    ----------
    function, data, batch_size, device, dtype, input_shape, progress
        As in `map_batches`.
    store : RowStore
        Where features come from and go to.

    Returns
    -------
    Tensor of shape (n_samples, n_features)
        The features in the order of ``data``.
    """
    compute = Adaptive(function, batch_size=batch_size, device=device, dtype=dtype)
    on_cpu = {"device": torch.device("cpu"), "dtype": dtype, "input_shape": input_shape}
    wanted, missing = [], {}
    store.refresh()
    with progress_bar(data, progress) as bar:
        for raw in batches(data, batch_size):
            batch = prepare_batch(raw, **on_cpu)
            keys = row_keys(batch)
            wanted += keys
            for i, key in enumerate(keys):
                if key not in store:
                    # A copy: a view would keep the whole batch in memory.
                    missing[key] = batch[i].clone()
            while len(missing) >= batch_size:
                _compute_first(batch_size, missing, compute, store)
            bar.update(len(raw))
        if missing:
            _compute_first(batch_size, missing, compute, store)
    if not wanted:
        raise ValueError(no_samples())
    return torch.from_numpy(store.take(wanted))


def _compute_first(n_samples, missing, compute, store):
    """Compute the first missing samples that no other process has computed by now."""
    group = {key: missing.pop(key) for key in list(islice(missing, n_samples))}
    with store.locked():
        store.refresh()
        keys = [key for key in group if key not in store]
        if keys:
            store.add(keys, compute(torch.stack([group[k] for k in keys])).numpy())


def row_keys(batch):
    """Return a hash of each sample as the model gets it: type, shape and values."""
    start = blake2b(f"{batch.dtype} {tuple(batch.shape[1:])}".encode(), digest_size=16)
    keys = []
    for row in batch.flatten(1).contiguous().view(torch.uint8).numpy():
        content = start.copy()
        content.update(row)
        keys.append(content.digest())
    return keys


class RowStore:
    """The features of one model under one set of parameters, by sample.

    Parameters
    ----------
    folder : Path
        Where the stores are.
    kind : str
        What kind of features it holds, for people who look into the folder.
    content : object
        All that the features depend on besides the sample; hashed by joblib.
    """

    def __init__(self, folder, kind, content):
        key = joblib.hash((_FORMAT, __version__, kind, content), hash_name="sha1")
        self.folder = folder / f"{kind}-{key}"
        self._rows = {}  # key of a sample -> its features
        self._small = {}  # shard -> whether it is small, for all that were looked at
        self._writes = True

    def __contains__(self, key):
        return key in self._rows

    def take(self, keys):
        """Return the features of these samples as an array."""
        return np.array([self._rows[key] for key in keys])

    def refresh(self):
        """Read the shards that were not there before."""
        # Again if there were some, because another process may have merged them.
        while fresh := [
            path for path in self.folder.glob("*.npz") if path.name not in self._small
        ]:
            for path in fresh:
                self._rows.update(self._read(path))

    def add(self, keys, values):
        """Remember features, here and on disk; a disk that is full only warns."""
        self._rows.update(zip(keys, values, strict=True))
        if not self._writes:
            return
        try:
            self._write(keys, values)
            if sum(self._small.values()) > _MANY:
                self._merge()
        except OSError as error:
            self._writes = False
            warn(
                f"memory: features cannot be written to {str(self.folder)!r}: {error}. "
                "The result is complete, but some of it will be computed again next "
                "time. Make room there, or give memory another folder.",
                RuntimeWarning,
            )

    @contextmanager
    def locked(self):
        """Let one process at a time compute, so that the others find its results.

        Where there are no locks, or the folder is read-only, they may compute the same.
        """
        with ExitStack() as stack:
            with suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(open(self.folder / "lock", "ab"))
                if fcntl:
                    fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self, path):
        """Return the rows of a shard by key; none, with a warning, if it is damaged."""
        self._small[path.name] = False
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # merged into another one
            return {}
        except OSError as error:
            return _warn_of(path, f"cannot be read ({error})")
        rows = self._rows_of(content) if self._name_of(content) == path.name else None
        if rows is None:
            with suppress(OSError):
                path.unlink()
            return _warn_of(path, "is damaged")
        self._small[path.name] = len(content) < _SMALL
        return rows

    def _rows_of(self, content):
        """Return the rows in the bytes of a shard; None if they are no shard."""
        try:
            shard = read_arrays(io.BytesIO(content))
            keys = shard["keys"].view("V16").ravel().tolist()
            return dict(zip(keys, shard["values"], strict=True))
        except (ValueError, KeyError):
            return None

    def _name_of(self, content):
        """Return what a shard is called: a hash of it and of the store that it is of.

        Samples are the same in all stores: a shard of another would be believed.
        """
        hashed = blake2b(self.folder.name.encode(), digest_size=16)
        hashed.update(content)
        return f"{hashed.hexdigest()}.npz"

    def _write(self, keys, values):
        buffer = io.BytesIO()
        as_bytes = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)
        np.savez(buffer, keys=as_bytes, values=values)
        content = buffer.getvalue()
        name = self._name_of(content)
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / f"{uuid.uuid4().hex}.tmp"
        try:
            unfinished.write_bytes(content)
            os.replace(unfinished, self.folder / name)
        finally:
            with suppress(OSError):  # gone, if all went well
                unfinished.unlink()
        self._small[name] = len(content) < _SMALL

    def _merge(self):
        """Put all small shards into one; those go only after it has come."""
        paths = [self.folder / name for name, small in self._small.items() if small]
        rows = {}
        for path in paths:
            rows.update(self._read(path))
        if not rows:
            return
        self._write(list(rows), np.array(list(rows.values())))
        for path in paths:
            self._small[path.name] = False
            with suppress(OSError):
                path.unlink()


def _warn_of(path, what):
    warn(
        f"memory: {str(path)!r} {what}. Its samples are computed again.",
        RuntimeWarning,
    )
    return {}
