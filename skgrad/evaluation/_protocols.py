"""Who is fitted on what and judged on what, as the papers do it, by name."""

from dataclasses import dataclass, field

import numpy as np
from sklearn.model_selection import KFold, ShuffleSplit

from .._messages import brief, did_you_mean, listed

_TEST_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    """The rows of one fit and what is judged after it.

    Parameters
    ----------
    seed, fold : int
        Which repetition it is.
    fit : ndarray of int
        Rows of ``X_test`` that detectors are fitted on, besides ``X_fit``.
    test : ndarray of int
        Rows of ``X_test`` that they are judged on.
    known : dict of str to ndarray of int
        Rows of the anomalies that supervised detectors learn from, by kind.
    judged : dict of str to ndarray of int
        Rows of the anomalies that are judged, by kind.
    """

    seed: int
    fold: int
    fit: np.ndarray
    test: np.ndarray
    known: dict = field(default_factory=dict)
    judged: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """Who is fitted on what and judged on what.

    Those of the papers are in `PROTOCOLS`; `evaluate` takes one of your own as well.
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
        Whether the kind that is judged is the one not learnt from.
    correct_only : bool, default=False
        Whether ``X_fit`` is cut down to what the model classifies correctly.

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

    def splits(self, n_test, anomalies, *, has_fit, seeds, n_folds):
        """Yield the splits, seed by seed.

        Parameters
        ----------
        n_test : int
            Number of in-distribution test inputs.
        anomalies : dict of str to AnomalySet
            The anomalies by kind.
        has_fit : bool
            Whether there are inputs to fit on besides the test inputs.
        seeds : sequence of int
            The seeds.
        n_folds : int
            Number of folds where detectors are fitted on test inputs of other folds.

        Yields
        ------
        Split
            One fit and what it is judged on.
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
                known, judged = {name: rows_known}, rows_test
            else:
                known = {other: halves[other][0] for other in halves if other != name}
                # None of this kind was learnt from, so all without a source are new.
                new = anomalies[name].sources is None
                judged = np.arange(len(anomalies[name].X)) if new else rows_test
            yield Split(seed, 0, np.sort(fit), np.sort(test), known, {name: judged})


def _novelty(n_test, anomalies, has_fit, seed, n_folds):
    rows = np.arange(n_test)
    if has_fit:
        folds = [(rows[:0], rows)]
    else:
        folds = KFold(n_folds, shuffle=True, random_state=seed).split(rows)
    for fold, (fit, test) in enumerate(folds):
        judged = {
            name: np.arange(len(a.X))
            if a.sources is None
            else np.flatnonzero(np.isin(a.sources, test))
            for name, a in anomalies.items()
        }
        yield Split(seed, fold, fit, test, {}, judged)


def _halves(anomalies, test, rng):
    """Part anomalies into known ones and judged ones, each beside its source."""
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
            "are judged on, one kind at a time (paper A).",
            supervised=True,
        ),
        Protocol(
            "A'",
            "40/40/20: supervised detectors learn from all kinds but the one that they "
            "are judged on.",
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
    """Return the protocol of that name, or say which there are."""
    if isinstance(name, Protocol):
        return name
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    raise ValueError(
        f"protocol must be one of {listed(list(PROTOCOLS))}; got {brief(name)}."
        f"{did_you_mean(name, PROTOCOLS)}"
    )
