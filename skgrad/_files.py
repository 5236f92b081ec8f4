"""Files that are there whole or not at all."""

import errno
import os
import zipfile
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

import numpy as np

from ._messages import brief

# In bytes.
_SEAL, _PIECE = 16, 2**20


@contextmanager
def replacing(path):
    """Give a new file beside `path`, which takes its place when all is written.

    Parameters
    ----------
    path : str or Path
        The file to be; what is there stays until the new one is complete, and after an
        exception. Symbolic links are followed.

    Yields
    ------
    Path
        The file to write to; its suffix is that of `path`.

    Raises
    ------
    OSError
        If the file cannot be written, with `path` and a way out.
    """
    path = as_path(path)
    with telling(path):
        path = Path(os.path.realpath(path))
        if path.exists() and not (path.is_file() or path.is_dir()):
            # Whoever may write to the folder, such as root to /dev, would replace it.
            raise OSError(errno.EINVAL, "It is a device or a pipe, not a file")
        # In the same folder: only within one file system is a replacement one step.
        # Without the name, which may be as long as names can be.
        part = path.with_name(f".{uuid4().hex}{path.suffix}")
        try:
            yield part
            _to_disk(part)
            os.replace(part, path)
        finally:
            with suppress(OSError):  # gone, if all went well
                part.unlink()


@contextmanager
def telling(path):
    """Say with errors of the system which file they are about, and the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            way_out = "Make room there, or choose another path"
        elif error.errno == errno.ENOENT:
            way_out = "Make its folder first, or choose another path"
        else:
            way_out = "Choose a path that can be written"
        reason = error.strerror or error
        text = f"{reason}; what was there is untouched. {way_out}"
        raise OSError(error.errno or errno.EIO, text, str(path)) from error


def as_path(path):
    """Return where a file is or is to be, or say why that is none."""
    try:
        return Path(path)
    except TypeError as error:
        raise TypeError(
            f"path must be a str or a Path; got {brief(path, 200)}."
        ) from error


def _to_disk(path):
    """Wait for the content: a name that comes before it would stand for zeros."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_text(text, path):
    """Write a text, whole or not at all.

    Parameters
    ----------
    text : str
        What to write, in UTF-8 and with its own line ends.
    path : str or Path
        The file; replaced if it exists.
    """
    with (
        replacing(path) as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        file.write(text)


def write_sealed(path, key, arrays):
    """Write arrays so that `read_sealed` can tell whether they are still the same.

    Parameters
    ----------
    path : str or Path
        The file: an npz, and after it a hash of it and of the key.
    key : str
        What the arrays are the answer to.
    arrays : dict of str to ndarray
        What to write; no objects.
    """
    with replacing(path) as part, part.open("w+b") as file:
        # As np.savez does it; that of numpy 1 leaves the archive open on a full disk.
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(
                        member, np.asanyarray(array), allow_pickle=False
                    )
        file.write(_seal(key, file, file.seek(0, os.SEEK_END)))


def read_sealed(path, key):
    """Read the arrays that `write_sealed` wrote.

    Parameters
    ----------
    path : str or Path
        The file.
    key : str
        As it was written.

    Returns
    -------
    dict of str to ndarray
        The arrays.

    Raises
    ------
    OSError
        If the file is not there or cannot be read.
    ValueError
        If it is not what was written under that key, to the last bit.
    """
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END) - _SEAL
        if size < 0 or _seal(key, file, size) != file.read():
            raise ValueError("it is not what was written")
        file.seek(0)
        return read_arrays(file)


def read_arrays(file):
    """Read the arrays of an open npz file.

    Raises
    ------
    ValueError
        If it is none, or holds objects, whose reading could execute anything.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(str(error)) from error


def _seal(key, file, size):
    """Return the hash of a key and the first bytes of a file; it is left behind them.

    Piece by piece: the pixels of a data set fill much of the memory by themselves.
    """
    hashed = blake2b(key.encode(), digest_size=_SEAL)
    file.seek(0)
    for start in range(0, size, _PIECE):
        hashed.update(file.read(min(_PIECE, size - start)))
    return hashed.digest()
