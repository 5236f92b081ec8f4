"""One detector: fitted where needed, asked for its scores and decisions."""

from typing import Any

import numpy as np
from sklearn.base import clone, is_outlier_detector
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from .._seeding import seed_estimator
from ..detectors import ConformalDetector
from ..detectors._scores import in_distribution_scores
from ._inputs import share_features
from ._resources import Meter
from ._result import Result

_FEWEST_TO_JUDGE_SIGN = 20


class Judge:
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
            scores = self._checked(in_distribution_scores(detector, X), len(X))
            rejected, offset = _decide(detector, X, scores)
        return {
            "scores": scores,
            "rejected": rejected,
            "offset": offset,
            "fit_seconds": fit.seconds,
            "seconds": score.seconds,
            "peak_memory": np.fmax(fit.peak_memory, score.peak_memory),
        }

    def _checked(self, scores, n_samples):
        scores = np.asarray(scores)
        if scores.shape != (n_samples,) or np.isnan(scores).any():
            raise ValueError(
                f"detectors[{self.name!r}] must give each input one score, a number; "
                f"got shape {scores.shape} for {n_samples} inputs, with "
                f"{np.isnan(scores).sum()} times NaN."
            )
        return scores

    def _fit(self):
        """Return a fitted copy, and what it cost."""
        X, y = self._inputs_to_fit()
        detector = seed_estimator(clone(self.detector), self.split.seed, overwrite=True)
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
        scores, is_rejected = scored["scores"], scored["rejected"]
        # By a threshold of its own such a detector may reject the right inputs.
        if enough and _all_higher(scores[is_rejected], scores[~is_rejected]):
            raise ValueError(
                f"detectors[{self.name!r}] rejects the in-distribution inputs X_test "
                "that it scores highest. Its scores have the wrong sign: higher must "
                "mean more in-distribution."
            )


def _all_higher(scores, others):
    """Tell whether scores lie above all others; two of them might do so by chance."""
    return min(len(scores), len(others)) > 2 and scores.min() > others.max()


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
