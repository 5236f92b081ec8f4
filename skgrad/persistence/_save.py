"""Write a detector to a file."""

from datetime import UTC, datetime
from io import BytesIO
from zipfile import ZIP_DEFLATED, ZipFile

from .. import __version__
from .._files import replacing
from .._messages import brief
from .._optional import import_package
from ..feature_extraction._saved_state import loading_state, saving_state
from ..guard._card import make_card, present_versions
from ._read_card import CARD


def save(detector, path):
    """Write a detector to a file, without its network and without code.

    The file holds JSON and numpy arrays, in the format of skops: loading it runs no
    code from the file, as unpickling would. Of the network it holds the class, the
    number of parameters and a fingerprint, which `load` compares with those of the
    network that it is given. `read_card` shows these, and what was promised when.

    Parameters
    ----------
    detector : estimator
        A detector, transformer, pipeline or search, fitted or not.
    path : str or path-like
        The file to write; by custom it ends in ``.skgrad``. What is there is replaced
        once the new file is complete.

    Raises
    ------
    TypeError
        If the detector holds something that such a file cannot. Nothing is written.
    ImportError
        If skops is not installed: ``pip install ".[save]"``.

    See Also
    --------
    load : Read the file.
    read_card : What it says of the detector.

    Notes
    -----
    ``memory`` and ``device`` are left out: they belong to one machine. Save the weights
    of the network separately, for instance with `torch.save` of its ``state_dict()``.

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
    if isinstance(detector, type) or not hasattr(detector, "get_params"):
        raise TypeError(
            "detector must be an estimator with scikit-learn's interface; got "
            f"{type(detector).__name__}: {brief(detector)}."
        )
    content = _dump(detector)
    with replacing(path) as part:
        part.write_bytes(content)


def _dump(detector):
    """Return the content of the file, after loading it once.

    skops writes the names of functions and classes without a check that they can be
    imported. What is loaded here is the user's own object, so all of it is trusted.
    """
    skops_io = import_package("skops.io", "save and load need", "save")
    try:
        with saving_state() as networks:
            content = skops_io.dumps(
                {"skgrad": __version__, "estimator": detector},
                compression=ZIP_DEFLATED,
            )
        with loading_state(networks.models):
            skops_io.loads(content, skops_io.get_untrusted_types(data=content))
    # An estimator may hold anything, and skops fails at it in many ways.
    except Exception as error:
        raise TypeError(
            f"{type(detector).__name__} cannot be saved without code: "
            f"{type(error).__name__}: {error}. Remove that part, or pickle the "
            "detector: a pickle holds everything, the network included."
        ) from error
    now = datetime.now(UTC).isoformat(timespec="seconds")
    card = make_card(detector, networks.identities, (now, present_versions()))
    archive = BytesIO(content)
    with ZipFile(archive, "a", compression=ZIP_DEFLATED) as members:
        members.writestr(CARD, card.to_json())
    return archive.getvalue()
