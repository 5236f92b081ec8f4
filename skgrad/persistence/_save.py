"""Writing a detector to a file."""

import os
import warnings
from pathlib import Path

import numpy as np
import sklearn
import torch

from .. import __version__
from .._files import replacing
from .._messages import brief
from ..feature_extraction._references import leaving_out
from ._archive import pack
from ._load import build
from ._skops import checked_names, is_foreign, skops_io, untrusted
from ._where import find_part


def save(detector, path, *, trusted=()):
    """Write a detector to a file, without its network and without code.

    The file holds JSON and numpy arrays: loading it runs no code of its own, as
    unpickling does. Of the network it holds the class, the number of parameters and a
    hash of its weights, by which `load` tells whether it is given the same one.

    Parameters
    ----------
    detector : estimator
        A detector, transformer or pipeline of skgrad, scikit-learn and PyOD, fitted or
        not.
    path : str or path-like
        The file to write, in a folder that exists; by custom it ends in ``.skgrad``.
        What is there is replaced once the new file is complete.
    trusted : list of classes and functions, default=()
        What else it may be made of: classes and functions of your own, which can be
        imported where the file is loaded. `load` has to be told the same.

    Raises
    ------
    TypeError
        If the detector holds something that such a file cannot, which the message
        names. Nothing is written then.
    ImportError
        If skops is not installed: ``pip install "skgrad[save]"``.

    See Also
    --------
    load : Read it again.

    Notes
    -----
    The ``memory`` of transformers is left out: it is a folder of this machine. Save
    the weights of the network apart, for instance with `torch.save` of its
    ``state_dict()``.

    Examples
    --------
    >>> import os, tempfile
    >>> import torch, skgrad
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.randn(100, 4)
    >>> detector = skgrad.make_uniform_detector(model, None, target_fpr=0.2).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "detector.skgrad")
    ...     skgrad.save(detector, path)
    ...     loaded = skgrad.load(path, model=model)
    >>> bool((loaded.predict(X) == detector.predict(X)).all())
    True
    """
    path = _checked_path(path)
    if isinstance(detector, type) or not hasattr(detector, "get_params"):
        raise TypeError(
            "detector must be an estimator of scikit-learn's kind; got "
            f"{type(detector).__name__}: {brief(detector)}."
        )
    content = _packed(detector, checked_names(trusted))
    with replacing(path) as part:
        part.write_bytes(content)


def _checked_path(path):
    try:
        path = Path(os.fsdecode(path))
    except TypeError as error:
        raise TypeError(
            "path must be a str or path-like; got "
            f"{type(path).__name__}: {brief(path)}."
        ) from error
    if path.is_dir():
        raise ValueError(
            f"path must be that of a file; {str(path)!r} is a folder. Add a name, such "
            "as 'detector.skgrad'."
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"path must lie in a folder that exists; {str(path.parent)!r} does not. "
            "Make it first."
        )
    return path


def _packed(detector, extra):
    """Return what the file is to hold, after trying to load it."""
    skops_io()  # or it says how to get it
    content, networks, models = _dumped(detector, extra)
    header = {
        "skgrad": __version__,
        "detector": type(detector).__name__,
        "versions": versions(),
        "networks": networks,
    }
    content = pack(header, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            build(content, models, extra)
    # Whatever it is that a foreign estimator holds.
    except Exception as error:
        raise _refusal(detector, f"it could not be loaded again: {error}") from error
    return content


def _dumped(detector, extra):
    """Return what skops writes, and the networks that it left out."""
    with leaving_out() as left_out:
        try:
            content = skops_io().dumps(detector)
        except RecursionError as error:
            raise _refusal(
                detector,
                "it holds itself, as what set_fit_request and its like were called on "
                "does, or is nested too deep",
            ) from error
        except Exception as error:
            if left_out.refused is error:  # it says all about the model
                raise
            raise _refusal_of_part(detector, is_foreign, str(error)) from error
    _, others = untrusted(content, extra)
    if others:
        names = ", ".join(others)
        raise _refusal_of_part(detector, others.__contains__, f"it is made of {names}")
    return content, left_out.identities, left_out.models


def _refusal_of_part(detector, wanted, why):
    """Return an error that says where the part is that cannot be saved."""
    path, name = find_part(detector, wanted)
    return _refusal(detector, f"{path} is made of {name}" if path else why)


def _refusal(detector, why):
    return TypeError(
        f"{type(detector).__name__} cannot be saved: {why}. A file without code holds "
        "estimators of skgrad, scikit-learn and PyOD, numbers, texts and arrays. Take "
        "that part off, name classes and functions of your own with trusted=[...], or "
        "pickle the detector: a pickle carries everything, and the network too."
    )


def versions():
    """Return the versions of what a detector's results depend on."""
    return {
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
    }
