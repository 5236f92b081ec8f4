"""One detector: fitted on what a split gives it, and its scores and decisions."""

from typing import Any

import joblib
import numpy as np
import sklearn
import torch
from sklearn.base import clone, is_outlier_detector
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from .._seeding import seed_estimator
from .._several import joined
from .._unwrap import last_step
from ..detectors import ConformalDetector
from ..detectors._scores import in_distribution_scores
from ._protocols import merge_splits
from ._resources import Meter
from ._result import Result

_MIN_TO_CHECK_SIGN = 20


def score_detector(name, detector, data, splits, protocol, memory):
    """Yield the results of one detector, split by split and kind by kind."""
    from .. import __version__

    # joblib would write down the repr of all arguments, which takes seconds of a large
    # pipeline; their hash stands for them.
    ignored = ["name", "detector", "X", "y", "tested", "device"]
    score = memory.cache(_fit_and_score, ignore=ignored)
    # Scores of other versions may differ.
    versions = __version__, sklearn.__version__, torch.__version__, np.__version__
    learns = needs_anomalies(detector)
    for split in splits if learns else merge_splits(splits):
        place = {"protocol": protocol, "seed": split.seed, "fold": split.fold}
        if learns and data.known is None and not any(map(len, split.known.values())):
            # There is no anomaly to learn from, so there are no scores.
            nothing = np.empty(0)
            for kind in split.tested:
                group = {"group": data.anomalies[kind].group}
                yield Result(name, kind, nothing, nothing, None, **place, **group)
            continue
        X, y = _inputs_to_fit(detector, data, split)
        tested = [data.X_test[split.test]]
        tested += [data.anomalies[kind].X[rows] for kind, rows in split.tested.items()]
        kept = getattr(memory, "location", "") is not None
        key = joblib.hash((versions, detector, X, y, tested)) if kept else None
        offset, fit, (of_id, *of_anomalies) = score(
            name, detector, split.seed, X, y, tested, data.device, key
        )
        _check_sign(name, detector, *of_id[:2])
        for (kind, rows), found in zip(split.tested.items(), of_anomalies, strict=True):
            yield Result(
                name,
                kind,
                of_id[0],
                found[0],
                offset,
                rejected_id=of_id[1],
                rejected_anomaly=found[1],
                classes_id=data.classes[split.test],
                classes_anomaly=data.anomaly_classes[kind][rows],
                fit_seconds=fit[0],
                score_seconds=of_id[2] + found[2],
                peak_memory=float(np.fmax.reduce([fit[1], of_id[3], found[3]])),
                group=data.anomalies[kind].group,
                **place,
            )


def _inputs_to_fit(detector, data, split):
    """Return inputs and labels, +1 in-distribution and -1 anomaly, to fit on."""
    parts = [data.X_test[split.fit[data.usable[split.fit]]]]
    last = last_step(detector)
    while isinstance(last, ConformalDetector):  # not fitted yet
        last = last_step(last.detector)
    # Under A and A' the paper's classifier is trained on the split alone.
    split_alone = not is_outlier_detector(last) and data.known is None
    if data.X_fit is not None and not split_alone:
        parts.insert(0, data.X_fit)
    n_id = sum(map(len, parts))
    if not needs_anomalies(detector):
        return _joined(parts), None
    parts += [data.anomalies[kind].X[rows] for kind, rows in split.known.items()]
    X = _joined([*parts, *([] if data.known is None else [data.known])])
    return X, np.repeat([1, -1], [n_id, len(X) - n_id])


def _joined(parts):
    parts = [part for part in parts if len(part)]
    return parts[0] if len(parts) == 1 else joined(parts)


def _fit_and_score(name, detector, seed, X, y, tested, device, key):
    """Fit a clone, and score several arrays of inputs.

    Returns the threshold (None if it is not one for all inputs), seconds and memory of
    the fit, and for each array the scores, the decisions, seconds and memory.
    """
    detector = seed_estimator(clone(detector), seed, overwrite=True)
    with Meter(device) as fit:
        detector.fit(X, y)
    offset: Any = _one_offset(detector)
    scored: list = []
    for X in tested:
        if not len(X):  # no attack succeeded
            scored.append((np.empty(0), np.empty(0, dtype=bool), 0.0, np.nan))
            continue
        with Meter(device) as meter:
            scores = np.asarray(in_distribution_scores(detector, X))
            if scores.shape != (len(X),) or np.isnan(scores).any():
                raise ValueError(
                    f"detectors[{name!r}] must give each input one score, a number; "
                    f"got shape {scores.shape} for {len(X)} inputs, with "
                    f"{np.isnan(scores).sum()} times NaN."
                )
            rejected = _rejected(detector, X) if offset is None else scores < offset
        scored.append((scores, rejected, meter.seconds, meter.peak_memory))
    return offset, (fit.seconds, fit.peak_memory), scored


def _one_offset(detector):
    """Return the threshold of the scores if there is one for all inputs, else None."""
    # Not that of a detector inside ConformalDetector, whose decisions are another's.
    last = detector
    while isinstance(last, Pipeline):
        last = last[-1]
    offset = getattr(last, "offset_", None)
    if not is_outlier_detector(detector) or offset is None or np.ndim(offset):
        return None
    per_class = getattr(last, "class_offsets_", None) is not None
    return float(offset) if hasattr(last, "score_samples") and not per_class else None


def _rejected(detector, X):
    """Return which inputs a detector rejects by its ``predict``."""
    labels = np.asarray(detector.predict(X))
    if not is_outlier_detector(detector):
        # Of classes 0 and 1 the second means anomaly, of -1 and +1 the first.
        return labels != 1 if -1 in detector.classes_ else labels == 1
    unknown = np.setdiff1d(labels, [-1, 1])
    if len(unknown):
        raise ValueError(
            f"{type(last_step(detector)).__name__} must predict +1 for in-distribution "
            f"inputs and -1 for anomalies; it predicts {unknown[:5].tolist()}."
        )
    return labels == -1


def _check_sign(name, detector, scores, rejected):
    """Raise if the decisions on in-distribution inputs show a wrong sign."""
    # Of very few inputs more than half may be rejected by chance.
    if len(rejected) < _MIN_TO_CHECK_SIGN:
        return
    share = float(np.mean(rejected))
    if share > 0.5 and is_outlier_detector(detector):
        raise ValueError(
            f"detectors[{name!r}] rejects {share:.0%} of X_test. Either its scores "
            "have the wrong sign (higher must mean more in-distribution), or X_fit and "
            "X_test differ, as in their scale."
        )
    # A detector that decides by something other than its scores may reject the right
    # inputs although the scores are of the wrong sign.
    low, high = scores[~rejected], scores[rejected]
    if min(len(low), len(high)) > 2 and high.min() > low.max():
        raise ValueError(
            f"detectors[{name!r}] rejects the inputs of X_test that it scores highest. "
            "Its scores have the wrong sign: higher must mean more in-distribution."
        )


def needs_anomalies(detector):
    """Return True if fit needs labels: a classifier's, or those of known anomalies."""
    return get_tags(last_step(detector)).target_tags.required
