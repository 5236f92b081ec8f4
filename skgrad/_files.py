"""Files that are there whole or not at all."""

import os
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


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
    """
    path = Path(os.path.realpath(path))
    # In the same folder: only within one file system is a replacement one step.
    part = path.with_name(f".{uuid4().hex}-{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


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
