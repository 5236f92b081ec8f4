"""Any detectors against any anomalies, under a named protocol."""

from collections.abc import Sequence
from contextlib import nullcontext
from numbers import Integral

import joblib
import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_memory
from tqdm import tqdm

from .._messages import brief
from ..attacks import AttackResult
from ..detectors._scores import check_no_bare_pyod, classifies_anomalies
from ._evaluation import Evaluation
from ._inputs import Inputs
from ._protocols import find_protocol
from ._scoring import needs_anomalies, score_detector

# A fifth of fewer would be no input at all.
_MIN_TO_SPLIT = 5


def evaluate(
    model,
    detectors,
    X_test,
    anomalies,
    *,
    y_test=None,
    X_fit=None,
    y_fit=None,
    known_anomalies=None,
    protocol="C",
    seeds=(0,),
    n_folds=5,
    input_shape=None,
    n_jobs=None,
    memory=None,
    verbose=False,
):
    """Test detectors of a model against anomalies, all in one table.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    detectors : dict of str to estimator
        Outlier detectors or binary classifiers of inputs, by name. Clones of them are
        fitted, one for each split.
    X_test : array-like of shape (n_samples, *input_shape), Tensor, Dataset, DataLoader
        In-distribution inputs to test with, never seen by model or detectors. Several
        inputs of a model come in a dictionary or tuple, here and below.
    anomalies : dict of str to array-like, AttackResult or AnomalySet
        Anomalies by kind. Of an attack the successful inputs count; give an
        `AnomalySet` with sources where inputs of ``X_test`` were attacked, and with a
        group, such as "near data", for means by group.
    y_test : array-like of shape (n_samples,), default=None
        The classes of ``X_test``; needed by protocol B without ``X_fit``.
    X_fit : array-like of shape (n_samples, *input_shape), default=None
        In-distribution inputs to fit on. Without them B and C fit on the other folds
        of ``X_test``, and A on four fifths of it.
    y_fit : array-like of shape (n_samples,), default=None
        The classes of ``X_fit``; needed by protocol B.
    known_anomalies : array-like, AttackResult or AnomalySet, default=None
        Anomalies for the detectors that learn from some, under B and C, such as
        attacked inputs of ``X_fit``. All other detectors are fitted without them.
    protocol : {"A", "A'", "B", "C"} or Protocol, default="C"
        What detectors are fitted on; `PROTOCOLS` describes each. Under A and A' only
        detectors that learn from anomalies get them.
    seeds : sequence of int, default=(0,)
        One repetition for each; they seed the splits and the detectors.
    n_folds : int, default=5
        Number of folds, under B and C without ``X_fit``.
    input_shape : tuple of int, default=None
        The shape of one input of the model, where inputs are given as flat rows.
    n_jobs : int, default=None
        Number of workers that share the inputs of each transformer whose own ``n_jobs``
        is None, -1 for one per processor, as in scikit-learn; detectors of scikit-learn
        without ``n_jobs`` of their own take them, too. The table is the same.
    memory : str or joblib.Memory, default=None
        Cache of the scores on disk, as in scikit-learn's Pipeline: an interrupted
        evaluation continues. It does not notice edits of a detector's code.
    verbose : bool, default=False
        Whether to show a progress bar, where stderr is a terminal.

    Returns
    -------
    Evaluation
        The results; its ``frame`` is the table, its ``summary()`` the means by kind or
        group, its ``regret()`` the distance to the best detector.

    Raises
    ------
    ValueError
        For what would mislead: inputs to test with of which a tenth were fitted on;
        anomalies that equal inputs to fit on or to test with; scores with NaN; a
        detector that rejects most in-distribution inputs, or those that it scores
        highest, as one does whose scores have the wrong sign.
    TypeError
        If one of the detectors is not an estimator, or is PyOD's without an adapter.

    Notes
    -----
    Seconds and memory are those of the machine and the time at which the scores were
    computed, also where ``memory`` returns them; the memory is that of this process,
    without its workers. Detectors share no features: give the
    transformers in them the same ``memory`` to compute features once.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skgrad import make_recommended_detector
    >>> from skgrad.evaluation import evaluate
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 4)).astype("float32")
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 3))
    >>> detectors = {"recommended": make_recommended_detector(model)}
    >>> anomalies = {"far": 20 + X[:50]}
    >>> result = evaluate(model, detectors, X[200:], anomalies, X_fit=X[:200])
    >>> bool(result.frame["auroc"][0] > 0.99)
    True
    """
    protocol = find_protocol(protocol)
    _check_detectors(detectors, protocol.supervised or known_anomalies is not None)
    seeds, memory = _checked_seeds(seeds), check_memory(memory)
    _check_n_jobs(n_jobs)
    # Detectors are fitted on test inputs then: on the clean one of an attack, perhaps.
    if X_fit is None or protocol.supervised:
        _check_sources(anomalies)
    data = Inputs(
        model=model,
        X_test=X_test,
        y_test=y_test,
        anomalies=anomalies,
        X_fit=X_fit,
        y_fit=y_fit,
        known_anomalies=known_anomalies,
        protocol=protocol,
        input_shape=input_shape,
    )
    n_test, has_fit = len(data.X_test), data.X_fit is not None
    _check_sizes(n_test, n_folds, has_fit, protocol)
    how = {"has_fit": has_fit, "seeds": seeds, "n_folds": n_folds}
    splits = list(protocol._splits(n_test, data.anomalies, **how))
    results = []
    total = len(detectors) * sum(len(split.tested) for split in splits)
    bar = tqdm(total=total, disable=None if verbose else True, unit="cell")
    with _workers(n_jobs), bar:
        for name, detector in detectors.items():
            bar.set_description(name)
            for result in score_detector(
                name, detector, data, splits, protocol.name, memory
            ):
                results.append(result)
                bar.update()
    return Evaluation(results)


def _check_detectors(detectors, anomalies_known):
    """Raise unless detectors is a dict of estimators that can be fitted."""
    if not isinstance(detectors, dict) or not detectors:
        raise TypeError(
            "detectors must be a dict of at least one name to detector, such as "
            "{'recommended': make_recommended_detector(model)}; got "
            f"{brief(detectors)}."
        )
    for name, detector in detectors.items():
        if isinstance(detector, type) or not hasattr(detector, "fit"):
            raise TypeError(
                f"detectors[{name!r}] must be an outlier detector or a classifier with "
                f"fit; got {brief(detector)}."
            )
        check_no_bare_pyod(detector, f"detectors[{name!r}]")
        if is_classifier(detector) and not classifies_anomalies(detector):
            raise TypeError(
                f"detectors[{name!r}] must predict anomalies; {brief(detector, 40)} "
                "predicts the classes of its network. Give the detector inside it, its "
                "parameter detector or make_recommended_detector(model)."
            )
        if needs_anomalies(detector) and not anomalies_known:
            raise ValueError(
                f"detectors[{name!r}] learns from anomalies, and there are none. Give "
                'known_anomalies, or use protocol="A" (the kind that is tested is '
                'learnt from) or "A\'" (all others are).'
            )


def _check_sources(anomalies):
    """Raise if an attack may have its clean inputs on the other side of a split."""
    for name, given in anomalies.items() if isinstance(anomalies, dict) else ():
        if isinstance(given, AttackResult):
            raise ValueError(
                f"anomalies[{name!r}] must have its sources, as detectors are fitted "
                "on a part of X_test: give AnomalySet.from_attack(result, "
                "sources=rows), or sources=None if the attacked inputs are not in it."
            )


def _check_sizes(n_test, n_folds, has_fit, protocol):
    """Raise if X_test is too small to split as the protocol says."""
    if protocol.supervised:
        if n_test < _MIN_TO_SPLIT:
            raise ValueError(
                f"X_test must hold {_MIN_TO_SPLIT} inputs or more under protocol "
                f"{protocol.name!r}, which tests on a fifth of them; got {n_test}."
            )
    elif not has_fit and not (
        isinstance(n_folds, Integral) and 2 <= int(n_folds) <= n_test
    ):
        raise ValueError(
            f"n_folds must be an integer from 2 to the {n_test} inputs in X_test; got "
            f"{brief(n_folds)}. Or give X_fit: then there are no folds."
        )


def _check_n_jobs(n_jobs):
    """Raise unless n_jobs says how many workers joblib is to take."""
    # bool is a whole number too, of which True would mean one worker.
    whole = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool)
    if n_jobs is not None and not (whole and n_jobs):
        raise ValueError(
            "n_jobs must be None, a number of workers from 1 on, or a negative number "
            f"that counts back from all processors; got {brief(n_jobs)}."
        )


def _workers(n_jobs):
    """Return a context in which joblib takes so many workers where nobody says.

    That of joblib acts from here on, so it has to be entered at once.
    """
    return nullcontext() if n_jobs is None else joblib.parallel_config(n_jobs=n_jobs)


def _checked_seeds(seeds):
    """Return the seeds as a tuple; one that came twice would count twice."""
    if (
        not isinstance(seeds, (Sequence, np.ndarray))
        or not len(seeds)
        or not all(isinstance(s, Integral) and 0 <= int(s) < 2**32 for s in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise ValueError(
            f"seeds must be different integers from 0 to {2**32 - 1}, such as "
            f"(0, 1, 2); got {brief(seeds)}."
        )
    return tuple(int(seed) for seed in seeds)
