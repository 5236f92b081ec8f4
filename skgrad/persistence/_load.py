"""Reading a detector from a file."""

import os
import warnings
from contextlib import contextmanager

import sklearn
from sklearn.exceptions import InconsistentVersionWarning

from .. import __version__
from .._messages import brief, warn
from ..feature_extraction._references import filling_in
from ..torch_engine.fingerprint import network_identity
from ..torch_engine.model_state import unwrap_model
from ._archive import FORMAT, DamagedError, read_header
from ._skops import checked_names, skops_io, untrusted


def load(path, model=None, *, trusted=()):
    """Read a detector from a file that `save` wrote, and put its network in.

    No code of the file is run: it can name classes of skgrad, scikit-learn and PyOD
    and those in ``trusted``, and is refused if it names any other.

    Parameters
    ----------
    path : str or path-like
        The file.
    model : torch.nn.Module or fitted skorch net, or a list of them, default=None
        The network that the detector was fitted on, on any device; a list, in any
        order, if there were several. It is shared, not copied. None is for detectors
        without a network.
    trusted : list of classes and functions, default=()
        What else may be in it: your own classes and functions, given to `save` too.

    Returns
    -------
    estimator
        The detector, which gives the scores that it gave when it was saved.

    Raises
    ------
    ValueError
        If ``model`` is another network, if the file is damaged, not one of ours or of
        a later format, or if it names something that is not trusted.
    ImportError
        If skops is not installed: ``pip install "skgrad[save]"``.

    Warns
    -----
    InconsistentVersionWarning
        If another version of scikit-learn wrote it.
    UserWarning
        If a ``device`` in it is not on this machine; the model's own is taken.

    See Also
    --------
    save : Write such a file.

    Notes
    -----
    A network is recognised by its layers and weights, not by what its ``forward``
    does with them. Who can change a file can still change the scores, and the trees of
    scikit-learn (IsolationForest, PyOD's KNN) may crash on forged ones.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np, skgrad
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> detector = skgrad.LODA(target_fpr=0.2, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "detector.skgrad")
    ...     skgrad.save(detector, path)
    ...     loaded = skgrad.load(path)
    >>> loaded.offset_ == detector.offset_
    True
    """
    extra = checked_names(trusted)
    skops_io()  # or it says how to get it
    content = _read(path)
    with _naming(path):
        header = read_header(content)
    _check_format(header, path)
    models = _matched(header, model, path)
    with _naming(path), _one_warning(header):
        return build(content, models, extra)


def build(content, models, extra):
    """Build the estimator of an archive.

    Parameters
    ----------
    content : bytes
        The archive.
    models : list
        The networks that were left out, in order.
    extra : list of str
        Names of classes and functions to trust besides.

    Returns
    -------
    estimator
        The estimator.

    Raises
    ------
    DamagedError
        If it names others, or cannot be read.
    """
    try:
        trusted, others = untrusted(content, extra)
        if not others:
            with filling_in(models):
                return skops_io().loads(content, trusted=trusted)
    # Anything may be in a file that was tampered with.
    except Exception as error:
        why = str(error).rstrip(".")
        raise DamagedError(f"{type(error).__name__}: {why}") from error
    raise DamagedError(
        f"it names {', '.join(others)}, which is not trusted; name classes and "
        "functions of your own with trusted=[...]"
    )


def _read(path):
    try:
        with open(os.fspath(path), "rb") as file:
            return file.read()
    except IsADirectoryError as error:
        raise ValueError(
            f"path must be that of a file; {os.fspath(path)!r} is a folder."
        ) from error
    except TypeError as error:
        raise TypeError(
            "path must be a str or path-like; got "
            f"{type(path).__name__}: {brief(path)}."
        ) from error


@contextmanager
def _naming(path):
    """Say which file is damaged, and what to do."""
    try:
        yield
    except DamagedError as error:
        raise ValueError(
            f"{os.fspath(path)!r} cannot be loaded: {error}. It must be a complete "
            "file that skgrad.save wrote; copy or save it again. Pickles are read by "
            "the pickle module, which runs the code in them."
        ) from error


def _check_format(header, path):
    if header["format"] > FORMAT:
        raise ValueError(
            f"{os.fspath(path)!r} has format {header['format']} of skgrad "
            f"{header.get('skgrad')}; this is skgrad {__version__}, which reads up to "
            f"format {FORMAT}. Update skgrad."
        )


def _matched(header, model, path):
    """Return the given networks in the order of the file."""
    wanted = header.get("networks", [])
    given = model if isinstance(model, (list, tuple)) else [model]
    given = [one for one in given if one is not None]
    if given and not wanted:
        raise ValueError(
            f"model must be None: the {header.get('detector')} in {os.fspath(path)!r} "
            "holds no network to compare it with. Leave it out."
        )
    known = [(network_identity(unwrap_model(one)), one) for one in given]
    return [_match(identity, known, path) for identity in wanted]


def _match(wanted, known, path):
    for identity, model in known:
        if identity["fingerprint"] == wanted["fingerprint"]:
            return model
    described = [_described(other) for other, _ in known]
    alike = _described(wanted) in described
    way_out = "Load the weights that it had then, or fit a detector on this network."
    raise ValueError(
        "model must be the network that the detector was fitted on: "
        f"{os.fspath(path)!r} was saved with {_described(wanted)}; got "
        f"{' and '.join(described) or None}"
        f"{', but other weights or layers' if alike else ''}. "
        f"{way_out if known else 'Give it as model=.'}"
    )


def _described(identity):
    return f"{identity['class']} ({identity['n_parameters']:,} parameters)"


@contextmanager
def _one_warning(header):
    """Let scikit-learn's warning of another version come once, not per estimator."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        yield
    then = header.get("versions", {}).get("scikit-learn")
    if then != sklearn.__version__:
        warn(
            InconsistentVersionWarning(
                estimator_name=header.get("detector"),
                current_sklearn_version=sklearn.__version__,
                original_sklearn_version=then,
            ),
            InconsistentVersionWarning,
        )
