"""Read a detector from a file."""

from .._files import as_path
from .._messages import brief
from .._optional import import_package
from ..feature_extraction._saved_state import loading_state
from ..guard import GuardedClassifier
from ._read_card import card_in
from ._trusted import name_of, untrusted_names


def load(path, model=None, *, trusted=()):
    """Read a detector from a file that `save` wrote, and give it its network.

    No code from the file is run. Classes of skgrad and of scikit-learn's estimators are
    trusted; any other that the file names raises an error unless it is in ``trusted``.

    Parameters
    ----------
    path : str or path-like
        The file.
    model : torch.nn.Module or fitted skorch net, or a list of them, default=None
        The network that the detector was fitted on, on any device; a list, in any
        order, if there were several. It is shared, not copied. None is for detectors
        without a network.
    trusted : list of str, classes or functions, default=()
        What the file may name in addition, such as ``"pyod.models.knn.KNN"`` or your
        own classes. The error lists what is missing.

    Returns
    -------
    estimator
        The detector, which returns the scores that it returned when it was saved.

    Raises
    ------
    ValueError
        If ``model`` is another network, if the file is damaged or was not written by
        `save`, or if it names something that is not trusted.
    ImportError
        If skops is not installed: ``pip install ".[save]"``.

    Warns
    -----
    InconsistentVersionWarning
        If another version of scikit-learn wrote the file.

    See Also
    --------
    save : Write such a file.
    read_card : What the file says of the detector.

    Notes
    -----
    A network is recognised by its layers and weights, not by what its ``forward``
    does with them. Someone who can change a file can still change the scores; trees of
    scikit-learn (IsolationForest, PyOD's KNN), once trusted, may crash on forged ones.

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
    skops_io = import_package("skops.io", "save and load need", "save")
    path, trusted = as_path(path), _check_trusted(trusted)
    content = path.read_bytes()
    try:
        names = skops_io.get_untrusted_types(data=content)
    # A damaged or foreign file may hold anything.
    except Exception as error:
        raise _not_ours(path, f"{type(error).__name__}: {error}") from error
    others = untrusted_names(names, trusted)
    if others:
        raise ValueError(
            f"{str(path)!r} names classes or functions that load does not trust by "
            "default. If the file comes from a source that you trust, add "
            f"trusted={others}."
        )
    # Networks are put in while skops builds the estimators around them.
    models = model if isinstance(model, (list, tuple)) else [model]
    models = [one for one in models if one is not None]
    with loading_state(models) as networks:
        saved = skops_io.loads(content, trusted=names)
    if not isinstance(saved, dict) or "estimator" not in saved:
        raise _not_ours(path, "it holds no estimator")
    if models and not networks.n_found:
        raise ValueError(
            f"model must be None: {type(saved['estimator']).__name__} in {str(path)!r} "
            "holds no network."
        )
    estimator = saved["estimator"]
    if isinstance(estimator, GuardedClassifier):
        card = card_in(content, path)
        estimator._saved = card.saved, card.versions
    return estimator


def _check_trusted(trusted):
    if isinstance(trusted, (str, type)) or callable(trusted):
        raise TypeError(
            "trusted must be a list of names, classes or functions; got "
            f"{brief(trusted)}. Write [{brief(trusted)}]."
        )
    return [name_of(thing) for thing in trusted]


def _not_ours(path, why):
    return ValueError(
        f"{str(path)!r} is damaged or was not written by skgrad.save ({why}). Copy or "
        "save it again; a pickle is read by the pickle module, which runs its code."
    )
