"""Damaged files: each change of each byte is noticed, and nothing is executed."""

import errno
import io
import os
import signal
import subprocess
import sys
import time
import warnings
from argparse import Namespace

import numpy as np
import pytest
import torch
from networks import images, seeded
from numpy.testing import assert_array_equal
from PIL import Image
from torch import nn

from skgrad import LayerActivationTransformer, _files
from skgrad.datasets import _folders
from skgrad.evaluation import _command_model, _store, load_network, save_network
from skgrad.feature_extraction import _base, _row_cache
from skgrad.feature_extraction._recent import Recent

KIND = "Faults"
X = images(3, (4,))


@pytest.fixture(autouse=True)
def only_the_disk_remembers(monkeypatch):
    monkeypatch.setattr(_base, "_RECENT", Recent(0))
    monkeypatch.setattr(_folders, "_WORTH_CACHING", 1)


class RowsOnDisk:
    """The row cache of a transformer."""

    door, answer = "memory=", "survived: computed again, warned"

    def __init__(self, folder):
        self.store = _row_cache.RowStore(folder, "kind", 0)
        self.keys = _row_cache.row_keys(torch.from_numpy(X))
        self.store.add(self.keys, X)
        (self.path,) = self.store.folder.glob("*.npz")

    def read(self):
        """Return what is read; None if it was noticed, with a warning."""
        fresh = _row_cache.RowStore(self.store.folder.parent, "kind", 0)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            fresh.refresh()
        if told:
            assert "computed again" in str(told[0].message)
            assert not any(key in fresh for key in self.keys)
            return None
        return fresh.take(self.keys)

    def other(self, folder):
        other = _row_cache.RowStore(folder, "kind", 1)
        other.add(self.keys, X + 1)
        (path,) = other.folder.glob("*.npz")
        return path


class Scores:
    """An entry of the cache of evaluations and anomalies."""

    door, answer = "cache=", "survived: computed again, warned"

    def __init__(self, folder):
        self.store = _store.Store(folder, "scores")
        self.store.save("key", {"scores": X})
        self.path = folder / "scores" / "key.npz"

    def read(self):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = self.store.load("key")
        if found is None:
            assert "computed again" in str(told[0].message)
            return None
        return found["scores"]

    def other(self, folder):
        self.store.save("other", {"scores": X + 1})
        return folder / "scores" / "other.npz"


class Weights:
    """A network on disk."""

    door, answer = "load_network", "refused: ValueError, way out"

    def __init__(self, folder):
        self.net = nn.Linear(4, 3, bias=False)
        with torch.no_grad():
            self.net.weight.copy_(torch.from_numpy(X))
        self.path = folder / "net"
        save_network(self.net, self.path)

    def read(self):
        try:
            return load_network(self.net, self.path).weight.detach().numpy()
        except IsADirectoryError:
            return None
        except ValueError as error:
            return None if "path must" in str(error) else str(error)

    def other(self, folder):
        save_network(nn.Linear(4, 2), folder / "other")
        return folder / "other"


class Pixels:
    """The pixels of a folder of images."""

    door, answer = "load_dataset's pixels", "survived: read again, warned"

    def __init__(self, folder):
        Image.fromarray(np.full((3, 4), 7, dtype=np.uint8)).save(folder / "a.png")
        self.folder = folder
        _folders.read_images([folder / "a.png"], cache_dir=folder / "cache")
        (self.path,) = (folder / "cache").iterdir()

    def read(self):
        content = self.path.read_bytes() if self.path.is_file() else None
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = _folders.read_images(
                [self.folder / "a.png"], cache_dir=self.path.parent
            )
        assert (found == 7).all()
        # Written anew unless something is in the way; as it was for the next damage.
        if content is not None:
            self.path.write_bytes(content)
        return None if told else found

    def other(self, folder):
        Image.fromarray(np.zeros((3, 4), dtype=np.uint8)).save(folder / "b.png")
        _folders.read_images([folder / "b.png"], cache_dir=folder / "cache")
        (path,) = {*(folder / "cache").iterdir()} - {self.path}
        return path


@pytest.fixture(params=[RowsOnDisk, Scores, Weights, Pixels], ids=lambda c: c.door)
def kept(request, tmp_path):
    return request.param(tmp_path)


def flips(content):
    """Yield the content with one bit of each byte flipped, another one each time."""
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        yield bytes(damaged)


DAMAGES = {
    "a bit flipped in each byte": flips,
    "cut off at each length": lambda content: (
        content[:end] for end in range(len(content))
    ),
    "zeros from each eighth byte on": lambda content: (
        content[:start] + bytes(len(content) - start)
        for start in range(0, len(content) - 8, 8)
    ),
    "bytes behind the end": lambda content: [content + b"x", 2 * content],
    "something else": lambda content: [b"x" * 300, b"\x93NUMPY", b"PK\x03\x04", b"{}"],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_damage_is_noticed(kept, damage, counted):
    content, whole = kept.path.read_bytes(), kept.read()
    assert whole is not None
    step = 7 if isinstance(kept, Pixels) else 1  # decodes the images each time
    for damaged in [*DAMAGES[damage](content)][::step]:
        if damaged == content:
            continue
        kept.path.write_bytes(damaged)
        found = kept.read()
        # A name of the metadata that is not the weights' may change; never a weight.
        assert found is None or (
            isinstance(kept, Weights) and np.array_equal(found, whole)
        )
    kept.path.write_bytes(content)
    assert_array_equal(kept.read(), whole)
    counted(KIND, f"{kept.door}: {damage}", kept.answer)


def test_file_of_another_entry(kept, tmp_path, counted):
    content = kept.other(tmp_path).read_bytes()
    kept.path.write_bytes(content)
    assert kept.read() is None
    counted(KIND, f"{kept.door}: another's file", kept.answer)


def test_shard_moved_from_another_store(tmp_path, counted):
    kept = RowsOnDisk(tmp_path)
    other = kept.other(tmp_path)
    kept.path.unlink()
    other.rename(kept.path.parent / other.name)
    assert kept.read() is None
    counted(KIND, "memory=: another model's shard", RowsOnDisk.answer)


def test_folder_in_place_of_the_file(kept, counted):
    kept.path.unlink()
    kept.path.mkdir()
    assert kept.read() is None
    counted(KIND, f"{kept.door}: a folder in its place", kept.answer)


def test_file_of_an_older_format(tmp_path, counted):
    kept = Scores(tmp_path)
    np.savez(kept.path, scores=X + 1)
    assert kept.read() is None
    counted(KIND, "cache=: file without a seal", kept.answer)


class Evil:
    """Executes something when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_pickles_are_not_executed(tmp_path, monkeypatch, counted):
    marker = tmp_path / "executed"
    evil = np.array([Evil(marker)], dtype=object)
    scores, rows = Scores(tmp_path), RowsOnDisk(tmp_path / "rows")
    write = np.lib.format.write_array
    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array", lambda f, a, **_: write(f, a))
        _files.write_sealed(scores.path, "key", {"scores": evil})
    assert scores.read() is None
    counted(KIND, "cache=: a pickle under a right seal", Scores.answer)
    buffer = io.BytesIO()
    np.savez(buffer, keys=np.zeros((1, 16), np.uint8), values=evil)
    content = buffer.getvalue()
    (rows.path.parent / rows.store._name_of(content)).write_bytes(content)
    with pytest.warns(RuntimeWarning, match="is damaged"):
        _row_cache.RowStore(tmp_path / "rows", "kind", 0).refresh()
    counted(KIND, "memory=: a pickle under a right name", RowsOnDisk.answer)
    torch.save(Evil(marker), tmp_path / "net.pt")
    with pytest.raises(_command_model.OptionError, match="--weights must be a"):
        _command_model._load_weights(nn.Linear(2, 2), tmp_path / "net.pt")
    counted(KIND, "--weights: a pickle", "refused: one line, nothing executed")
    assert not marker.exists()


@pytest.mark.parametrize("fault", ["damaged", "full disk"])
def test_network_of_the_command_line(fault, tmp_path, monkeypatch, counted):
    trained = []

    def train(X, y, device):
        trained.append(1)
        return seeded(lambda: nn.Linear(4, 3))

    monkeypatch.setattr(_command_model, "train_digits_network", train)
    monkeypatch.setitem(
        _command_model.BUILT_IN, "digits", (lambda: nn.Linear(4, 3), {})
    )
    options = Namespace(cache=tmp_path, device="cpu")

    def run():
        return _command_model.train_or_load("digits", X, [0], options, lambda _: None)

    if fault == "damaged":
        run()
        (path,) = (tmp_path / "networks").iterdir()
        path.write_bytes(path.read_bytes()[:-1])
        message = "cannot be used and is trained anew"
    else:
        message = "is not kept.*Make room there.*next run trains anew"
        replace = os.replace

        def full(*paths):
            monkeypatch.setattr(os, "replace", replace)
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
    with pytest.warns(RuntimeWarning, match=f"--cache: .*{message}"):
        assert_array_equal(run().weight.detach(), train(X, 0, 0).weight.detach())
    before = len(trained)
    run()
    run()
    assert len(trained) - before == (0 if fault == "damaged" else 1)
    counted(KIND, f"--cache: network, {fault}", "survived: trained anew, warned")


WRITER = """
import sys
import numpy as np
from skgrad.evaluation._store import Store
from skgrad.feature_extraction._row_cache import RowStore
from pathlib import Path
folder = Path(sys.argv[1])
store, rows = Store(folder, "scores"), RowStore(folder, "kind", 0)
for i in range(10**6):
    store.save("key", {"scores": np.full(20_000, float(i))})
    key = i.to_bytes(16, "little")
    rows.add([key], np.full((1, 20_000), float(i)))
    if i == 3:
        print("ready", flush=True)
"""


def test_writers_that_are_killed(tmp_path, counted):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        # A reader meanwhile never sees anything but whole entries.
        until = time.monotonic() + 1
        while time.monotonic() < until:
            scores = _store.Store(tmp_path, "scores").load("key")["scores"]
            assert len(np.unique(scores)) == 1
    finally:
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            writer.stdout.close()
    scores = _store.Store(tmp_path, "scores").load("key")["scores"]
    assert len(np.unique(scores)) == 1
    rows = _row_cache.RowStore(tmp_path, "kind", 0)
    rows.refresh()
    found = rows.take(list(rows._rows))
    assert len(found) >= 4
    assert (found == found[:, :1]).all()
    counted(KIND, "caches: two writers, both killed", "survived: whole entries only")


def test_transformer_over_damaged_shards_warns_and_is_right(tmp_path, counted):
    transformer = LayerActivationTransformer(
        seeded(lambda: nn.Linear(4, 3)), "logits", memory=tmp_path
    ).fit(X)
    expected = np.asarray(transformer.transform(X))
    (shard,) = tmp_path.rglob("*.npz")
    shard.write_bytes(next(flips(shard.read_bytes())))
    with pytest.warns(RuntimeWarning, match="is damaged. Its samples are computed"):
        assert_array_equal(transformer.transform(X), expected)
    assert_array_equal(transformer.transform(X), expected)
    counted(KIND, "memory=: damaged between calls", RowsOnDisk.answer)
