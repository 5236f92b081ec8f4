"""Faults of the machine, made on purpose."""

import os
import sys
from contextlib import contextmanager

import pytest


@contextmanager
def full_disk(monkeypatch, where, error, n_before=0):
    """Let one kind of operation fail, after so many of them that went well.

    ``"write"`` is the system's own limit on the size of files, so that all ways to
    write meet it; the others are the functions below which there are no others.
    """
    if where == "write":
        with _short_files():
            yield
        return
    done = getattr(os, where)
    left = [n_before]

    def fail(*args, **options):
        left[0] -= 1
        if left[0] >= 0:
            return done(*args, **options)
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patch:
        patch.setattr(os, where, fail)
        yield


@contextmanager
def _short_files():
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # What pytest captures goes into files, too.
    sys.stdout.flush()
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def listed(folder):
    """Return all files below a folder with what they hold, without locks."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }
