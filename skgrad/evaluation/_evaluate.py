"""Any detectors against any anomalies, under a named protocol."""

from collections import defaultdict
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone, is_outlier_detector
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from tqdm import tqdm

from ..detectors import ConformalDetector
from ..detectors._scores import check_no_bare_pyod, in_distribution_scores
from ..feature_extraction import LayerActivationTransformer
from ..feature_extraction._base import BaseModelTransformer
from ..torch_engine.model_state import placement, unwrap_model
from ._anomaly_set import as_anomaly_sets
from ._arrays import as_array, check_finite, check_labels, check_new, check_not_empty
from ._evaluation import Evaluation
from ._protocols import find_protocol
from ._resources import Meter
from ._result import Result
from ._store import Store

_FEWEST_TO_JUDGE_SIGN = 20


def evaluate(
    model,
    detectors,
    X_test,
    anomalies,
    *,
    y_test=None,
    X_fit=None,
    y_fit=None,
    known=None,
    protocol="C",
    seeds=(0,),
    n_folds=5,
    cache=None,
    verbose=False,
    on_step=None,
):
    """Judge detectors around a model against anomalies, all in one table.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier that the detectors watch. It tells the predicted classes.
    detectors : dict of str to estimator
        Outlier detectors or binary classifiers of inputs, by name. Fitted are copies,
        one for each split.
    X_test : array-like of shape (n_samples, *input_shape), Tensor or Dataset
        In-distribution inputs to judge with, never seen by model or detectors.
    anomalies : dict of str to array-like, AttackResult or AnomalySet
        Anomalies by kind. Of an attack the successful inputs count; give an
        `AnomalySet` with sources where inputs of ``X_test`` were attacked.
    y_test : array-like of shape (n_samples,), default=None
        The classes of ``X_test``. If given, protocol B without ``X_fit`` needs no more.
    X_fit : array-like of shape (n_samples, *input_shape), default=None
        In-distribution inputs to fit the detectors on. Without them B and C fit on
        the other folds of ``X_test``, and A on four fifths of it.
    y_fit : array-like of shape (n_samples,), default=None
        The classes of ``X_fit``; needed by protocol B.
    known : array-like, AttackResult or AnomalySet, default=None
        Anomalies for the detectors that learn from some, under B and C: of other inputs
        than those judged, such as attacked ones of ``X_fit``. All others are fitted
        without them.
    protocol : {"A", "A'", "B", "C"} or Protocol, default="C"
        Who is fitted on what; `PROTOCOLS` describes each. All judge successful
        attacks only. Under A and A' only detectors that learn from anomalies get them;
        all others are fitted on in-distribution inputs.
    seeds : sequence of int, default=(0,)
        One repetition for each: it seeds the splits and every ``random_state`` of the
        detectors.
    n_folds : int, default=5
        Number of folds, under B and C without ``X_fit``.
    cache : str or Path, default=None
        A folder that keeps features and scores. Features are computed once per model,
        inputs and transformer, also across detectors; an interrupted evaluation goes on
        where it stopped. Entries depend on the content of all that went into them.
    verbose : bool, default=False
        Whether to show a progress bar, where stderr is a terminal.
    on_step : callable, default=None
        Called with a line that tells what is done next.

    Returns
    -------
    Evaluation
        The results. Its ``frame`` is the table, its ``summary()`` the mean over the
        repetitions.

    Raises
    ------
    ValueError
        For what would mislead: no in-distribution inputs; anomalies that equal inputs
        to fit on or to judge with; a detector that rejects most in-distribution inputs,
        as one does whose scores have the wrong sign.
    TypeError
        For detectors that are none.

    See Also
    --------
    skgrad.metrics : The metrics.

    Notes
    -----
    Seconds and memory are those of this machine at the time when the scores were
    computed. Features that another detector left in the cache cost nothing: to compare
    costs, evaluate without ``cache``.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skgrad import make_recommended_detector
    >>> from skgrad.evaluation import evaluate
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 4)).astype("float32")
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 3))
    >>> result = evaluate(
    ...     model,
    ...     {"recommended": make_recommended_detector(model)},
    ...     X[200:],
    ...     {"far": 20 + X[:50]},
    ...     X_fit=X[:200],
    ... )
    >>> bool(result.frame["auroc"][0] > 0.99)
    True
    """
    protocol = find_protocol(protocol)
    check_detectors(detectors)
    if not protocol.supervised and known is None:
        _check_no_learner(detectors, protocol)
    seeds = _checked_seeds(seeds)
    data = _Data(model, X_test, y_test, anomalies, X_fit, y_fit, known, protocol, cache)
    if data.X_fit is None and not protocol.supervised:
        _check_folds(n_folds, len(data.X_test))
    splits = list(
        protocol.splits(
            len(data.X_test),
            data.anomalies,
            has_fit=data.X_fit is not None,
            seeds=seeds,
            n_folds=n_folds,
        )
    )
    results = []
    step = on_step or (lambda line: None)
    total = len(detectors) * sum(len(split.judged) for split in splits)
    with tqdm(total=total, disable=None if verbose else True, unit="cell") as bar:
        for name, detector in detectors.items():
            step(f"fitting and judging {name}")
            bar.set_description(name)
            judge = _Judge(name, detector, data, protocol.name, Store(cache, "scores"))
            for split in splits:
                judge.prepare(split)
                for kind in split.judged:
                    results.append(judge(kind))
                    bar.update()
    return Evaluation(results)


def check_detectors(detectors):
    """Refuse what is no dict of detectors by name."""
    if not isinstance(detectors, dict) or not detectors:
        raise TypeError(
            "detectors must be a dict of at least one name to detector, such as "
            "{'recommended': make_recommended_detector(model)}; got "
            f"{detectors!r:.100}."
        )
    for name, detector in detectors.items():
        if isinstance(detector, type) or not hasattr(detector, "fit"):
            raise TypeError(
                f"detectors[{name!r}] must be an outlier detector or a classifier with "
                f"fit; got {detector!r:.100}."
            )
        check_no_bare_pyod(detector)


def _check_no_learner(detectors, protocol):
    """Refuse detectors that learn from anomalies where none are known."""
    for name, detector in detectors.items():
        if needs_anomalies(detector):
            raise ValueError(
                f"detectors[{name!r}] learns from anomalies, of which protocol "
                f'{protocol.name!r} gives it none. Take protocol="A" (the kind that '
                'is judged is learnt from) or "A\'" (all others are).'
            )


def _check_folds(n_folds, n_test):
    if not isinstance(n_folds, Integral) or not 2 <= int(n_folds) <= n_test:
        raise ValueError(
            f"n_folds must be an integer from 2 to the {n_test} inputs in X_test; got "
            f"{n_folds!r}. Or give X_fit: then there are no folds."
        )


def _checked_seeds(seeds):
    if not isinstance(seeds, (Sequence, np.ndarray, range)) or not len(seeds):
        raise TypeError(f"seeds must be a sequence such as (0, 1, 2); got {seeds!r}.")
    for seed in seeds:
        if not isinstance(seed, Integral) or not 0 <= int(seed) < 2**32:
            raise ValueError(
                f"seeds must be integers from 0 to {2**32 - 1}; got {seed!r}."
            )
    return tuple(int(seed) for seed in seeds)


class _Data:
    """All inputs, checked, and the classes that the model predicts for them."""

    def __init__(
        self, model, X_test, y_test, anomalies, X_fit, y_fit, known, protocol, cache
    ):
        self.features = None if cache is None else str(cache)
        self.device = placement(unwrap_model(model))["device"]
        self._logits = LayerActivationTransformer(model, "logits")
        share_features(self._logits, self.features)
        self.X_test = as_array(X_test, "X_test")
        check_not_empty(self.X_test, "X_test", "in-distribution inputs")
        check_finite(self.X_test, "X_test")
        self.anomalies = as_anomaly_sets(anomalies, len(self.X_test))
        for kind, found in self.anomalies.items():
            check_finite(found.X, f"anomalies[{kind!r}]")
        self._logits.fit(self.X_test)
        self.classes = self.predict(self.X_test)
        y_test = check_labels(y_test, self.X_test, "y_test")
        self.X_fit = None if X_fit is None else as_array(X_fit, "X_fit")
        self.allowed = np.ones(len(self.X_test), dtype=bool)
        if self.X_fit is not None:
            check_not_empty(self.X_fit, "X_fit", "in-distribution inputs")
            check_finite(self.X_fit, "X_fit")
            self._check_anomalies(self.X_fit, "X_fit")
        self.known = self._checked_known(known, protocol)
        if protocol.correct_only:
            self._keep_correct(y_test, check_labels(y_fit, X_fit, "y_fit"), protocol)
        self._check_anomalies(self.X_test, "X_test")
        self.anomaly_classes = {
            name: self.predict(found.X) for name, found in self.anomalies.items()
        }
        self.prints = self._prints() if cache is not None else defaultdict(str)

    def _prints(self):
        """Return fingerprints of the inputs: three by name, the judged by (kind,)."""
        inputs: dict = {"X_fit": self.X_fit, "X_test": self.X_test, "known": self.known}
        inputs |= {(kind,): found.X for kind, found in self.anomalies.items()}
        return {name: joblib.hash(X) for name, X in inputs.items()}

    def predict(self, X):
        """Return the predicted classes."""
        if not len(X):
            return np.empty(0, dtype=np.intp)
        return np.asarray(self._logits.transform(X)).argmax(axis=1)

    def _checked_known(self, known, protocol):
        """Return the anomalies to learn from, or None."""
        if known is None:
            return None
        if protocol.supervised:
            raise ValueError(
                f"known must be None under protocol {protocol.name!r}, under which "
                "detectors learn from a part of anomalies. Take protocol 'B' or 'C'."
            )
        found = as_anomaly_sets({"known": known}, len(self.X_test))["known"]
        check_not_empty(found.X, "known", "anomalies")
        if found.sources is not None:
            raise ValueError(
                "known must hold no sources, which are rows of X_test: detectors would "
                "learn from what they are judged by. Attack inputs of X_fit."
            )
        check_new(found.X, self.X_test, "known", "X_test")
        self._check_anomalies(found.X, "known")
        return found.X

    def _check_anomalies(self, known, name):
        for kind, found in self.anomalies.items():
            check_new(found.X, known, f"anomalies[{kind!r}]", name)

    def _keep_correct(self, y_test, y_fit, protocol):
        """Cut the inputs to fit on down to those classified correctly."""
        y, name = (y_test, "y_test") if self.X_fit is None else (y_fit, "y_fit")
        if y is None:
            raise ValueError(
                f"{name} must be given under protocol {protocol.name!r}, which fits on "
                "correctly classified inputs alone; got None."
            )
        if self.X_fit is None:
            self.allowed = self.classes == y
            right = self.allowed
        else:
            right = self.predict(self.X_fit) == y
            self.X_fit = self.X_fit[right]
        if not right.any():
            raise ValueError(
                f"{name} must agree with the model somewhere; it classifies none of "
                f"the {len(right)} inputs so. Are the classes numbered from 0, in the "
                "order of the logits?"
            )


class _Judge:
    """Fits one detector where needed, and scores with it."""

    def __init__(self, name, detector, data, protocol, store):
        self.name, self.data, self.protocol, self.store = name, data, protocol, store
        self.detector = detector
        self._told = self._fitted = None
        # Under A and A' the paper's classifier is trained on the split alone.
        self._of_split_alone = _rests_on_classifier(detector) and data.known is None

    def prepare(self, split):
        """Take up a split. Nothing is fitted before scores are asked for."""
        self.split = split
        taught = needs_anomalies(self.detector)
        known = split.known if taught else {}
        self._untaught = (
            taught and self.data.known is None and not any(map(len, known.values()))
        )
        rows = [self._rows(), *known.values()]
        told = split.seed, *known, *(part.tobytes() for part in rows)
        if told != self._told:
            self._told, self._fitted = told, None
        prints = self.data.prints
        known = [(prints[kind,], rows) for kind, rows in known.items()]
        if taught and self.data.known is not None:
            known.append(prints["known"])
        self._key = self.store.key(
            self.detector,
            split.seed,
            None if self._of_split_alone else prints["X_fit"],
            (prints["X_test"], self._rows()),
            known,
        )

    def __call__(self, kind):
        """Return the result for one kind of anomaly."""
        split, data = self.split, self.data
        if self._untaught:
            return self._nothing(kind)
        of_id = self._scored("X_test", data.X_test, split.test)
        self._check_sign(of_id)
        rows = split.judged[kind]
        of_kind = self._scored((kind,), data.anomalies[kind].X, rows)
        offset = float(of_id["offset"])
        return Result(
            self.name,
            kind,
            of_id["scores"],
            of_kind["scores"],
            offset if np.isfinite(offset) else None,
            rejected_id=of_id["rejected"],
            rejected_anomaly=of_kind["rejected"],
            classes_id=data.classes[split.test],
            classes_anomaly=data.anomaly_classes[kind][rows],
            protocol=self.protocol,
            seed=split.seed,
            fold=split.fold,
            fit_seconds=float(of_id["fit_seconds"]),
            score_seconds=float(of_id["seconds"] + of_kind["seconds"]),
            peak_memory=float(np.fmax(of_id["peak_memory"], of_kind["peak_memory"])),
        )

    def _nothing(self, kind):
        """Return a result without scores: there was no anomaly to learn from."""
        none = np.empty(0)
        place = {"seed": self.split.seed, "fold": self.split.fold}
        return Result(
            self.name, kind, none, none, None, protocol=self.protocol, **place
        )

    def _rows(self):
        """Return the rows of the test inputs to fit on."""
        return self.split.fit[self.data.allowed[self.split.fit]]

    def _scored(self, name, X, rows):
        """Return scores of rows of inputs, from the store or computed."""
        if not len(rows):
            empty = {"scores": np.empty(0), "rejected": np.empty(0, dtype=bool)}
            return empty | {"seconds": 0.0, "peak_memory": np.nan}
        place = self.store.key(self._key, self.data.prints[name], rows)
        scored = self.store.load(place)
        if scored is None:
            scored = self._score(X if len(rows) == len(X) else X[rows])
            self.store.save(place, scored)
        return scored

    def _score(self, X):
        if self._fitted is None:
            self._fitted = self._fit()
        detector, fit = self._fitted
        with Meter(self.data.device) as score:
            scores = in_distribution_scores(detector, X)
            rejected, offset = _decide(detector, X, scores)
        return {
            "scores": scores,
            "rejected": rejected,
            "offset": offset,
            "fit_seconds": fit.seconds,
            "seconds": score.seconds,
            "peak_memory": np.fmax(fit.peak_memory, score.peak_memory),
        }

    def _fit(self):
        """Return a fitted copy, and what it cost."""
        X, y = self._inputs_to_fit()
        detector = seeded(clone(self.detector), self.split.seed)
        share_features(detector, self.data.features)
        with Meter(self.data.device) as meter:
            detector.fit(X, y)
        return detector, meter

    def _inputs_to_fit(self):
        """Return inputs and labels, +1 in-distribution and -1 anomaly, to fit on."""
        data = self.data
        parts = [data.X_test[self._rows()]]
        if data.X_fit is not None and not self._of_split_alone:
            parts.insert(0, data.X_fit)
        n_id = sum(map(len, parts))
        if not needs_anomalies(self.detector):
            return _joined(parts), None
        known = [data.anomalies[k].X[rows] for k, rows in self.split.known.items()]
        X = _joined([*parts, *known, *([] if data.known is None else [data.known])])
        return X, np.repeat([1, -1], [n_id, len(X) - n_id])

    def _check_sign(self, scored):
        rejected = float(np.mean(scored["rejected"]))
        # Of very few inputs more than half may be rejected by chance.
        enough = len(scored["rejected"]) >= _FEWEST_TO_JUDGE_SIGN
        if enough and rejected > 0.5 and is_outlier_detector(self.detector):
            raise ValueError(
                f"detectors[{self.name!r}] rejects {rejected:.0%} of the "
                "in-distribution inputs X_test. Either its scores have the wrong sign "
                "(higher must mean more in-distribution), or X_fit and X_test differ, "
                "as in their scale."
            )


def _joined(parts):
    parts = [part for part in parts if len(part)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def needs_anomalies(detector):
    """Tell whether fit needs labels: a classifier's, or those of known anomalies."""
    return get_tags(_last_step(detector)).target_tags.required


def _last_step(detector):
    while isinstance(detector, Pipeline):
        detector = detector[-1]
    return detector


def _rests_on_classifier(detector):
    """Tell whether a classifier scores, if need be under a threshold of ours."""
    last = _last_step(detector)
    while isinstance(last, ConformalDetector):
        last = _last_step(last.detector)
    return not is_outlier_detector(last)


def _decide(detector, X, scores):
    """Return which inputs are rejected, and the threshold; NaN if not just one."""
    last = _last_step(detector)
    if not is_outlier_detector(detector):
        labels = np.asarray(detector.predict(X))
        # Of classes 0 and 1 the second means anomaly, of -1 and +1 the first.
        return labels != 1 if -1 in detector.classes_ else labels == 1, np.nan
    offset: Any = getattr(last, "offset_", None)
    per_class = getattr(last, "class_offsets_", None) is not None
    one_for_all = offset is not None and np.ndim(offset) == 0 and not per_class
    if one_for_all and hasattr(last, "score_samples"):
        return scores < offset, float(offset)
    labels = np.asarray(detector.predict(X))
    unknown = np.setdiff1d(labels, [-1, 1])
    if len(unknown):
        raise ValueError(
            f"{type(last).__name__} must predict +1 for in-distribution inputs and -1 "
            f"for anomalies; it predicts {unknown[:5].tolist()}."
        )
    return labels == -1, np.nan


def seeded(estimator, seed):
    """Set every ``random_state`` of an estimator and of what it holds."""
    names = [
        name
        for name in estimator.get_params(deep=True)
        if name == "random_state" or name.endswith("__random_state")
    ]
    return estimator.set_params(**dict.fromkeys(names, seed))


def share_features(estimator, folder):
    """Let every transformer over a model, wherever it hides, keep its features."""
    if folder is None:
        return
    for part in (estimator, *estimator.get_params(deep=True).values()):
        if isinstance(part, BaseModelTransformer) and part.memory is None:
            part.set_params(memory=folder)
