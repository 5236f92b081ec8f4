"""Read the card of a file."""

from io import BytesIO
from zipfile import ZipFile

from .._files import as_path
from ..guard import Card

# The member of the archive; skops reads only those that its own schema names.
CARD = "card.json"


def read_card(path):
    """Read what a file of `save` says of the guard or detector in it.

    Nothing is loaded but the card, and neither the network nor skops is needed.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Card
        Network, sizes of the data, rates promised and measured, versions and date.

    Raises
    ------
    ValueError
        If the file holds no card.

    See Also
    --------
    load : Read the guard or detector itself.

    Notes
    -----
    The card is written by `save` from what it saves. Someone who can change the file
    can change the card: `load` compares the network itself, not its card.

    Examples
    --------
    >>> import os, tempfile
    >>> import torch, skgrad
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.randn(200, 4)
    >>> guard = skgrad.GuardedClassifier(model, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "guard.skgrad")
    ...     skgrad.save(guard, path)
    ...     card = skgrad.read_card(path)
    >>> card  # doctest: +SKIP
    card of       GuardedClassifier
    network       Linear, 15 parameters, 7bd4a2ffb21ee4a0dd7a4b1b1ed4b1f6
    fitted on     160 inputs
    calibrated on 40 inputs
    promised      5 % of in-distribution inputs rejected, on average
    measured      2.5 % of the calibration inputs rejected
    versions      skgrad 0.1.0, torch 2.14.1, scikit-learn 1.9.1, numpy 2.4.6
    saved         2026-11-29T13:52:05+00:00
    """
    path = as_path(path)
    return card_in(path.read_bytes(), path)


def card_in(content, path):
    """Return the card in the content of a file; the path is for the error."""
    try:
        with ZipFile(BytesIO(content)) as archive:
            return Card.from_json(archive.read(CARD).decode())
    # A damaged or foreign file may hold anything.
    except Exception as error:
        raise ValueError(
            f"{str(path)!r} holds no card: it is damaged, or was not written by "
            f"skgrad.save ({type(error).__name__}: {error}). Save it again."
        ) from error
