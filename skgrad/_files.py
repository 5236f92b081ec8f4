"""Files that are complete or absent."""

import os
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import numpy as np


@contextmanager
def replacing(path):
    """Yield a temporary path whose file replaces ``path`` when all is written.

    After an exception, ``path`` is as it was before. Symbolic links are followed.

    Parameters
    ----------
    path : str or Path
        The file to write.

    Yields
    ------
    Path
        Where to write; its suffix is that of ``path``.
    """
    path = Path(os.path.realpath(path))
    # Only within one file system is a replacement one step: in the same folder. Without
    # the name, which may be as long as names can be.
    part = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        yield part
        # A new name that reaches the disk before its content would stand for zeros.
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        with suppress(OSError):  # it is gone if all went well
            part.unlink()


def read_arrays(file):
    """Return the arrays of an open npz file, without objects."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(str(error)) from error
