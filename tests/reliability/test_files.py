"""Files that cannot be written: the error says why, an older file stays as it was."""

import errno
import os
import re
from functools import partial

import pytest
from recording_detectors import Distance, linear_model, rows

from skgrad import LODA, save
from skgrad.evaluation import evaluate
from skgrad.evaluation._html import write_html
from skgrad.evaluation._tables import write_markdown

X, FAR = rows(30)[0], rows(15, 3, 3.0)[0]
RESULTS = evaluate(linear_model(), {"d": Distance()}, X, {"far": FAR})
WRITERS = {
    "write_markdown": partial(write_markdown, RESULTS, title="", notes={}),
    "write_html": partial(write_html, RESULTS, title="", notes={}),
    "save": partial(save, LODA(n_cuts=3, target_fpr=0.5, random_state=0).fit(X)),
}
# The system call that fails, and how.
FAULTS = {
    "full disk": ("fsync", errno.ENOSPC),
    "permission denied": ("replace", errno.EACCES),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WRITERS)
def test_files_that_cannot_be_written(name, fault, tmp_path, monkeypatch):
    path = tmp_path / "result"
    path.write_bytes(b"an older result")
    call, error = FAULTS[fault]

    def fail(*args, **options):
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match=re.escape(os.strerror(error))):
            WRITERS[name](path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"an older result"]
    WRITERS[name](path)
    assert list(tmp_path.iterdir()) == [path]
    assert len(path.read_bytes()) > 100


@pytest.mark.parametrize("name", WRITERS)
def test_folders_that_are_not_there(name, tmp_path):
    with pytest.raises(OSError, match="absent"):
        WRITERS[name](tmp_path / "absent" / "result")
    assert list(tmp_path.iterdir()) == []
