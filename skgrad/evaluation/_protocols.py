"""The papers' protocols: what detectors are fitted on and tested on."""

from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
from sklearn.model_selection import KFold, ShuffleSplit

from .._messages import brief, did_you_mean, listed

# Paper A's 40/40/20: its classifier divides the other four fifths itself.
_TEST_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """The rows of one fit and of the test after it.

    ``fit`` and ``test`` are rows of ``X_test``, the first in addition to ``X_fit``;
    ``known`` and ``tested`` are rows of anomalies by kind: those that supervised
    detectors learn from, and those that detectors are tested on.
    """

    seed: int
    fold: int
    fit: np.ndarray
    test: np.ndarray
    known: dict = field(default_factory=dict)
    tested: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """What detectors are fitted on, and what they are tested on.

    Those of the papers are in `PROTOCOLS`; `evaluate` also accepts a custom one.
    Each parameter is an attribute of the same name.

    Parameters
    ----------
    name : str
        Its name.
    description : str
        What it does, in a sentence.
    supervised : bool, default=False
        Whether detectors that can learn from anomalies get some.
    leave_one_out : bool, default=False
        Whether supervised detectors learn from all kinds except the tested one.
    correct_only : bool, default=False
        Whether detectors are fitted on correctly classified inputs alone.

    Examples
    --------
    >>> from skgrad.evaluation import PROTOCOLS
    >>> PROTOCOLS["C"].description
    'Detectors are fitted on in-distribution inputs alone (paper C).'
    """

    name: str
    description: str
    supervised: bool = False
    leave_one_out: bool = False
    correct_only: bool = False

    def _splits(self, n_test, anomalies, *, has_fit, seeds, n_folds):
        """Yield the splits of so many test inputs, seed by seed.

        ``anomalies`` are AnomalySets by kind. ``has_fit`` is False where there is no
        ``X_fit``: then B and C fit on folds of the test inputs.
        """
        for seed in seeds:
            if self.supervised:
                yield from self._supervised(n_test, anomalies, seed)
            else:
                yield from _novelty(n_test, anomalies, has_fit, seed, n_folds)

    def _supervised(self, n_test, anomalies, seed):
        """Hold out a fifth; the rest is for training and validation (40/40/20)."""
        shuffle = ShuffleSplit(1, test_size=_TEST_SHARE, random_state=seed)
        ((fit, test),) = shuffle.split(np.empty(n_test))
        rng = np.random.default_rng(seed)
        halves = {name: _halves(a, test, rng) for name, a in anomalies.items()}
        for name, (rows_known, rows_test) in halves.items():
            if not self.leave_one_out:
                known, tested = {name: rows_known}, rows_test
            else:
                known = {other: halves[other][0] for other in halves if other != name}
                # No anomaly of this kind is learnt from: all without a source are new.
                new = anomalies[name].sources is None
                tested = np.arange(len(anomalies[name].X)) if new else rows_test
            yield Split(seed, 0, np.sort(fit), np.sort(test), known, {name: tested})


def merge_splits(splits):
    """Yield the splits for a detector that learns from no anomalies.

    Under protocols A and A' all kinds of one seed share their in-distribution inputs:
    such a detector is fitted once for all of them.
    """
    for _, group in groupby(splits, key=lambda split: (split.seed, split.fold)):
        first, *others = group
        tested = dict(first.tested)
        for split in others:
            tested |= split.tested
        yield replace(first, known={}, tested=tested)


def _novelty(n_test, anomalies, has_fit, seed, n_folds):
    rows = np.arange(n_test)
    if has_fit:
        folds = [(rows[:0], rows)]
    else:
        folds = KFold(n_folds, shuffle=True, random_state=seed).split(rows)
    for fold, (fit, test) in enumerate(folds):
        tested = {
            name: np.arange(len(a.X))
            if a.sources is None
            else np.flatnonzero(np.isin(a.sources, test))
            for name, a in anomalies.items()
        }
        yield Split(seed, fold, fit, test, {}, tested)


def _halves(anomalies, test, rng):
    """Divide anomalies into known ones and tested ones, each beside its source."""
    if anomalies.sources is not None:
        held_out = np.isin(anomalies.sources, test)
    else:
        held_out = np.zeros(len(anomalies.X), dtype=bool)
        n_held_out = round(_TEST_SHARE * len(held_out))
        held_out[rng.permutation(len(held_out))[:n_held_out]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "A",
            "40/40/20: supervised detectors learn from the kind of anomaly that they "
            "are tested on, one kind at a time (paper A).",
            supervised=True,
        ),
        Protocol(
            "A'",
            "40/40/20: supervised detectors learn from all kinds but the one that they "
            "are tested on.",
            supervised=True,
            leave_one_out=True,
        ),
        Protocol(
            "B",
            "Detectors are fitted on in-distribution inputs that the model classifies "
            "correctly (paper B).",
            correct_only=True,
        ),
        Protocol(
            "C", "Detectors are fitted on in-distribution inputs alone (paper C)."
        ),
    )
}
"""The protocols of the papers by name, for `evaluate`; each is a `Protocol`."""


def find_protocol(name):
    """Return the protocol of a name; a Protocol is returned as it is."""
    if isinstance(name, Protocol):
        return name
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    raise ValueError(
        f"protocol must be one of {listed(list(PROTOCOLS))}; got {brief(name)}."
        f"{did_you_mean(name, PROTOCOLS)}"
    )
