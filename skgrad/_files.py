"""Paths, and files that are complete or absent."""

import errno
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from ._messages import brief


def as_path(path):
    """Return the parameter ``path`` as a Path."""
    try:
        return Path(path)
    except TypeError as error:
        raise TypeError(
            f"path must be a str or a Path; got {brief(path, 200)}."
        ) from error


@contextmanager
def replacing(path, *, durable=True):
    """Yield a temporary path whose file replaces ``path`` when all is written.

    After an exception, ``path`` is as it was before. Symbolic links are followed. With
    ``durable`` that holds after a power cut, too, at the cost of some milliseconds.

    The temporary name has the suffix of ``path``, which says the format to writers.
    """
    path = Path(os.path.realpath(as_path(path)))
    if not path.parent.is_dir():
        # Else the error would be about the temporary name.
        text = "There is no such folder. Make its folder first"
        raise FileNotFoundError(errno.ENOENT, text, str(path))
    # Only within one file system is a replacement one step: in the same folder. Without
    # the name, which may be as long as names can be.
    part = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        yield part
        if durable:
            # A new name that reaches the disk before its content would stand for zeros.
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        with suppress(OSError):  # it is gone if all went well
            part.unlink()
