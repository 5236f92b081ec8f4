"""Arrays on disk, so that an interrupted evaluation goes on where it stopped."""

import pickle
import zipfile
from pathlib import Path

import joblib
import numpy as np
import sklearn
import torch

from .._files import replacing
from ..feature_extraction._portable import code_of


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
        self.folder = None if folder is None else Path(folder) / kind
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def key(self, *parts):
        """Return the key of arrays that depend on these parts, by content and code."""
        if self.folder is None:
            return None
        from .. import __version__

        versions = __version__, sklearn.__version__, torch.__version__, np.__version__
        code = [code_of(part) for part in parts if hasattr(part, "get_params")]
        try:
            return joblib.hash((versions, code, *parts))
        # Pickle has many ways to fail at what a user's estimator may hold.
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise ValueError(
                "cache needs detectors and a model that can be pickled, so that scores "
                f"of others are never taken for theirs: {error.args[0]} Define classes "
                "and functions at the top of a file, or use cache=None."
            ) from error

    def load(self, key):
        """Return the arrays by name, or None if there are none that can be read."""
        if self.folder is None:
            return None
        try:
            # Opened here, as numpy leaves a damaged file open.
            with (
                (self.folder / f"{key}.npz").open("rb") as file,
                np.load(file, allow_pickle=False) as arrays,
            ):
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):
            return None  # never written, or damaged: computed anew, and replaced

    def save(self, key, arrays):
        """Write the arrays; nobody ever reads a file that is half written."""
        if self.folder is None:
            return
        with (
            replacing(self.folder / f"{key}.npz") as part,
            part.open("wb") as file,
        ):
            np.savez(file, **arrays)
