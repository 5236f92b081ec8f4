"""Arrays on disk, so that an interrupted evaluation goes on where it stopped."""

import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import sklearn
import torch

from .._files import read_sealed, write_sealed
from .._messages import brief, warn


class Store:
    """Keeps arrays under keys made of whatever they depend on.

    Parameters
    ----------
    folder : str or Path or None
        Where they are kept; None keeps nothing.
    kind : str
        What they are: the name of a folder within it.
    """

    def __init__(self, folder, kind):
        self.folder: Any = None if folder is None else _made(folder, kind)
        self._writes = self.folder is not None

    def key(self, *parts):
        """Return the key of arrays that depend on these parts, by content."""
        if self.folder is None:
            return None
        from .. import __version__

        versions = __version__, sklearn.__version__, torch.__version__, np.__version__
        try:
            return joblib.hash((versions, *parts))
        # Pickle has many ways to fail at what a user's estimator may hold.
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise ValueError(
                "cache needs detectors and a model that can be pickled, so that scores "
                f"of others are never taken for theirs: {error.args[0]} Define classes "
                "and functions at the top of a file, or use cache=None."
            ) from error

    def load(self, key):
        """Return the arrays by name, or None if there are none, or damaged ones."""
        if self.folder is None:
            return None
        path = self._path(key)
        try:
            return read_sealed(path, key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            warn(
                f"cache: {str(path)!r} cannot be used ({error}). What it held is "
                "computed again.",
                RuntimeWarning,
            )
            return None

    def save(self, key, arrays):
        """Write the arrays, whole or not at all; a disk that is full only warns."""
        if not self._writes:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)  # someone may tidy up
            write_sealed(self._path(key), key, arrays)
        except OSError as error:
            # Once: what comes next would fail as well, after the same wait.
            self._writes = False
            warn(
                f"cache: {self.folder.name} are not kept from here on: {error}. All "
                "results come as they would, but if this run is stopped, the next one "
                "has to compute them again.",
                RuntimeWarning,
            )

    def _path(self, key):
        return self.folder / f"{key}.npz"


def _made(cache, kind):
    try:
        folder = Path(cache) / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except (OSError, TypeError) as error:
        raise ValueError(
            "cache must be None, or a folder that exists or can be made; got "
            f"{brief(cache)}. The system says: {error}"
        ) from error
