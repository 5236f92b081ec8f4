"""A disk that is full, read-only or gone: results survive, old files stay whole."""

import errno
import os
import sys
import warnings
from functools import partial

import numpy as np
import pytest
from faults import full_disk, listed
from judged import make
from judging import Distance, linear_model, rows
from networks import images, seeded
from numpy.testing import assert_array_equal
from PIL import Image
from torch import nn

from skgrad import LODA, LayerActivationTransformer, save
from skgrad.datasets import _folders
from skgrad.evaluation import (
    Evaluation,
    Threat,
    evaluate,
    make_anomalies,
    plot_score_distributions,
    save_network,
    write_csv,
    write_html,
    write_markdown,
)
from skgrad.feature_extraction import _base
from skgrad.feature_extraction._recent import Recent

KIND = "Faults"
RESULTS = Evaluation([make()])
# Where it happens and what the system says; "write" is limited by the system itself.
FAULTS = {
    "full disk at a write": ("write", errno.EFBIG),
    "full disk at fsync": ("fsync", errno.ENOSPC),
    "full disk at the rename": ("replace", errno.ENOSPC),
    "quota exceeded": ("fsync", errno.EDQUOT),
    "permission denied": ("replace", errno.EACCES),
    "read-only file system": ("replace", errno.EROFS),
    "disk that fails": ("fsync", errno.EIO),
}
OUTPUTS = {
    "write_csv": lambda path: write_csv(RESULTS, path, target_fpr=0.1, random_state=0),
    "write_markdown": lambda path: write_markdown(RESULTS, path),
    "write_html": lambda path: write_html(RESULTS, path),
    "plot_score_distributions": lambda path: plot_score_distributions(RESULTS, path),
    "save_network": lambda path: save_network(nn.Linear(9, 9), path),
}


@pytest.fixture(autouse=True)
def only_the_disk_remembers(monkeypatch):
    monkeypatch.setattr(_base, "_RECENT", Recent(0))


@pytest.fixture
def no_figures(monkeypatch):
    # They take their time, and are written like the rest of the page.
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


@pytest.fixture
def fault(request):
    return FAULTS[request.param]


@pytest.mark.parametrize("door", OUTPUTS)
@pytest.mark.parametrize("fault", FAULTS, indirect=True, ids=FAULTS.keys())
def test_outputs_that_cannot_be_written(
    door, fault, tmp_path, monkeypatch, counted, request
):
    if door == "write_html":
        request.getfixturevalue("no_figures")
    write, path = OUTPUTS[door], tmp_path / "result.png"
    path.write_bytes(b"an older result")
    with (
        full_disk(monkeypatch, *fault),
        pytest.raises(OSError, match=r"untouched\. (Make room|Choose).*result.png"),
    ):
        write(path)
    assert listed(tmp_path) == {path.relative_to(tmp_path): b"an older result"}
    write(path)
    assert len(path.read_bytes()) > 100
    assert list(tmp_path.iterdir()) == [path]
    counted(KIND, f"{door}: {name_of(fault)}", "refused: OSError, old file intact")


def name_of(fault):
    return next(name for name, value in FAULTS.items() if value == fault)


PLACES = {
    "missing parent": (lambda p: p / "absent" / "x.png", "Make its folder first"),
    "path is a folder": (lambda p: p / "folder", "Choose a path"),
    "parent is a file": (lambda p: p / "file" / "x.png", "Choose a path"),
    "name too long": (lambda p: p / ("x" * 300 + ".png"), "Choose a path"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("door", [d for d in OUTPUTS if not d.startswith("plot")])
def test_places_that_cannot_be(door, place, tmp_path, counted, no_figures):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    where, way_out = PLACES[place]
    with pytest.raises(OSError, match=way_out) as caught:
        OUTPUTS[door](where(tmp_path))
    assert caught.value.filename == str(where(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before
    counted(KIND, f"{door}: {place}", "refused: OSError, nothing left behind")


def test_name_as_long_as_names_can_be(tmp_path, counted):
    path = tmp_path / ("x" * 251 + ".csv")
    OUTPUTS["write_csv"](path)
    assert list(tmp_path.iterdir()) == [path]
    counted(KIND, "write_csv: longest name", "survived: written")


@pytest.mark.parametrize("k", range(3))
def test_report_stops_at_any_file(k, tmp_path, monkeypatch, counted, no_figures):
    names = ["report.html", "table.csv", "table.md"]
    for name in names:
        (tmp_path / name).write_text("older")
    with (
        full_disk(monkeypatch, "replace", errno.ENOSPC, n_before=k),
        pytest.raises(OSError, match="Make room there"),
    ):
        RESULTS.write(tmp_path)
    assert sorted(os.listdir(tmp_path)) == names
    older = [name for name in names if (tmp_path / name).read_text() == "older"]
    assert older == sorted(["table.csv", "table.md", "report.html"][k:])
    counted(KIND, f"Evaluation.write: full at file {k + 1}", "refused: OSError, whole")


def test_report_folder_that_cannot_be(tmp_path, counted, no_figures):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="Choose a path that can be written"):
            RESULTS.write(folder)
    counted(KIND, "Evaluation.write: a file in the way", "refused: OSError, way out")


# Caches: without them everything goes on.

X = images(6, (4,))
X_TEST, X_FIT, FAR = rows(30, seed=1)[0], rows(40, seed=2)[0], rows(15, 3, 3.0)[0]


def features(cache):
    transformer = LayerActivationTransformer(
        seeded(lambda: nn.Linear(4, 3)), "logits", batch_size=2, memory=cache
    )
    return transformer.fit(X).transform(X)


def scores(cache):
    found = evaluate(
        linear_model(),
        {"d": Distance(), "e": Distance(power=2.0)},
        X_TEST,
        {"far": FAR},
        X_fit=X_FIT,
        cache=cache,
    )
    parts = [part for r in found.results for part in (r.scores_id, r.scores_anomaly)]
    return np.concatenate(parts)


def anomalies(cache):
    y = X_TEST[:, :3].argmax(axis=1)
    found = make_anomalies(
        linear_model(),
        X_TEST,
        y,
        ["noise in ball", "uniform noise"],
        threat=Threat(bounds=(-9, 9)),
        cache=cache,
    )
    return np.concatenate([made.X for made in found.values()])


def pixels(cache):
    folder = cache.parent / "pictures" if cache else None
    if folder is None:
        return np.full((2, 1, 20, 20), 7, dtype=np.uint8)
    folder.mkdir(exist_ok=True)
    paths = [folder / "a.png", folder / "b.png"]
    for path in paths:
        if not path.exists():
            Image.fromarray(np.full((20, 20), 7, dtype=np.uint8)).save(path)
    return _folders.read_images(paths, cache_dir=cache)


CACHES = {
    "memory=": features,
    "evaluate(cache=)": scores,
    "make_anomalies(cache=)": anomalies,
    "load_dataset's pixels": pixels,
}


@pytest.fixture(params=CACHES)
def cached(request, monkeypatch):
    monkeypatch.setattr(_folders, "_WORTH_CACHING", 1)
    return request.param, CACHES[request.param]


CACHE_FAULTS = {k: v for k, v in FAULTS.items() if v[0] != "fsync"}


@pytest.mark.parametrize("fault", CACHE_FAULTS, indirect=True, ids=CACHE_FAULTS.keys())
def test_cache_that_cannot_be_written(cached, fault, tmp_path, monkeypatch, counted):
    door, run = cached
    expected, cache = run(None), tmp_path / "cache"
    if door == "load_dataset's pixels":
        run(cache)  # makes the pictures
        for path in cache.iterdir():
            path.unlink()
    with (
        full_disk(monkeypatch, *fault),
        pytest.warns(RuntimeWarning, match="Make room|Choose a path|another folder"),
    ):
        assert_array_equal(run(cache), expected)
    assert listed(cache) == {}
    assert_array_equal(run(cache), expected)
    assert listed(cache)
    assert_array_equal(run(cache), expected)
    counted(KIND, f"{door}: {name_of(fault)}", "survived: result right, warned")


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("door", [*CACHES][:3])
def test_cache_disk_that_fills_up_meanwhile(door, k, tmp_path, monkeypatch, counted):
    run, cache = CACHES[door], tmp_path / "cache"
    expected = run(None)
    with (
        full_disk(monkeypatch, "replace", errno.ENOSPC, n_before=k),
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        assert_array_equal(run(cache), expected)
    found = listed(cache)
    assert told or len(found) <= k  # if not, there was nothing more to write
    assert all(path.suffix == ".npz" for path in found)
    assert_array_equal(run(cache), expected)
    # What was whole was taken as it was.
    assert found.items() <= listed(cache).items()
    counted(KIND, f"{door}: full after {k} files", "survived: result right, warned")


@pytest.mark.parametrize("place", ["a file", "below a file", "name too long"])
@pytest.mark.parametrize("door", [*CACHES][:3])
def test_cache_folder_that_cannot_be(door, place, tmp_path, counted):
    run = CACHES[door]
    (tmp_path / "file").write_text("")
    folder = {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "below",
        "name too long": tmp_path / ("x" * 300),
    }[place]
    message = r"(memory|cache) must be None.*folder that exists or can be made"
    with pytest.raises(ValueError, match=message):
        run(folder)
    counted(KIND, f"{door}: folder is {place}", "refused: ValueError, way out")


def test_cache_folder_deleted_meanwhile(tmp_path, monkeypatch, counted):
    expected = scores(None)
    fit = Distance.fit

    def tidy_up(self, X, y=None):
        for path in sorted((tmp_path / "cache").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        return fit(self, X, y)

    with monkeypatch.context() as patch:
        patch.setattr(Distance, "fit", tidy_up)
        assert_array_equal(scores(tmp_path / "cache"), expected)
    assert_array_equal(scores(tmp_path / "cache"), expected)
    counted(KIND, "evaluate(cache=): folder deleted meanwhile", "survived: right")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this platform")
@pytest.mark.parametrize("name", [*OUTPUTS, "save"])
def test_devices_and_pipes_are_not_replaced(name, tmp_path, counted):
    # As root, a new file at /dev/null would take the place of the device.
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    write = OUTPUTS.get(name) or partial(
        save, LODA(n_cuts=3, target_fpr=0.5).fit(rows(40)[0])
    )
    with pytest.raises(OSError, match=r"device or a pipe.*untouched\. Choose a path"):
        write(path)
    assert path.is_fifo()
    assert list(tmp_path.iterdir()) == [path]
    counted(KIND, "a device or a pipe as the file to write", "refused, OSError")
