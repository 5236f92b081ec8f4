"""Notice that a stream of inputs no longer scores as the calibration inputs did."""

import json
from numbers import Integral, Real

import numpy as np
from sklearn.pipeline import Pipeline

from .._compat import Interval, validate_params
from .._files import as_path, replacing
from .._labels import check_per_sample, check_scores
from .._messages import brief
from ._judgement import Judgement
from ._urn_martingale import UrnMartingale, level_ranks

_FORMAT = 2


class PValueMonitor:
    r"""Raise an alarm when inputs score lower than the calibration inputs.

    A gambler bets on each input that its conformal p-value is low. As long as the
    stream is like the calibration inputs no bet is favourable, and that the wealth
    *ever* grows from 1 to :math:`1 / \alpha` has probability :math:`\alpha` at most,
    however long the stream is (Ville's inequality).

    P-values from one set of m calibration scores depend on one another, so a bet that
    takes them as independent raises false alarms on long streams. Here the chance that
    the next score lies below the calibration score of rank k is

    .. math:: q_t = \frac{k + n_t}{m + 1 + t},

    with :math:`n_t` of the t scores seen so far below it. This is exact, for every
    distribution and every m, if the calibration scores and the stream are exchangeable:
    each rank among them is equally likely. A bet that a share :math:`\pi` of the stream
    are anomalies below it multiplies its stake by :math:`1 + \pi (1 - q_t) / q_t` if
    the score is, else by :math:`1 - \pi`. Several bets (ranks near 0.2, 1, 5 and 20 %
    of m + 1, shares of 3, 10 and 30 %) split the wealth; half of it waits for drifts
    that begin later.

    Parameters
    ----------
    calibration_scores : array-like of shape (n_calibration,) or fitted detector
        Scores of in-distribution inputs that the detector was not fitted on, higher =
        more in-distribution; or a guard or detector that has such
        ``calibration_scores_``, or a pipeline that ends in one.
    alpha : float, default=0.01
        Bound on the probability of a false alarm over all time, in (0, 1).
    random_state : int or None, default=0
        Seed of the numbers that order equal scores at random; None draws one.

    Attributes
    ----------
    alarm_ : bool
        Whether the wealth ever reached 1 / alpha. It stays True.
    alarm_at_ : int or None
        How many inputs had been seen then.
    log_wealth_, max_log_wealth_ : float
        Natural logarithm of the wealth now, and at its highest.
    n_seen_, n_calibration_ : int
        How many scores the stream and the calibration set had.
    class_counts_ : dict
        For each class that was predicted how many inputs it had, and how many of them
        were rejected: a tuple of two int. Of what `update` got as a `Judgement`.

    Raises
    ------
    ValueError
        If scores are NaN or not numbers; the stream is then as it was.

    See Also
    --------
    skgrad.detectors.conformal_p_values : P-values of single inputs.

    Notes
    -----
    Only lower scores raise an alarm. An alarm says that the stream has changed, by
    anomalies or by a drift, not which inputs did. What the calibration set cannot tell
    from chance is not found: with 100 scores not 5 % of anomalies. A slow drift becomes
    part of what is compared with. After an alarm, and after a new calibration, begin
    with a new monitor.

    The state does not grow with the stream. It depends on the order of the scores, and
    not on how they are divided into calls. `save` and `resume` keep it in a file.

    References
    ----------
    Vovk, Gammerman, Shafer (2005), "Algorithmic Learning in a Random World", Sec. 7.1:
    test martingales for exchangeability, of independent p-values.

    Shafer, Shen, Vereshchagin, Vovk (2011), "Test Martingales, Bayes Factors and
    p-Values", Statistical Science 26, Eq. 5: Ville's inequality.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.guard import PValueMonitor
    >>> rng = np.random.default_rng(0)
    >>> monitor = PValueMonitor(rng.normal(size=500), alpha=0.01)
    >>> _ = monitor.update(rng.normal(size=1000))
    >>> monitor.alarm_
    False
    >>> anomalous = rng.random(200) < 0.2
    >>> _ = monitor.update(rng.normal(size=200) - 4 * anomalous)
    >>> monitor.alarm_, monitor.alarm_at_ - 1000 < 100
    (True, True)
    """

    @validate_params(
        {
            "calibration_scores": "no_validation",  # by check_scores
            "alpha": [Interval(Real, 0, 1, closed="neither")],
            "random_state": [Interval(Integral, 0, None, closed="left"), None],
        },
        prefer_skip_nested_validation=True,
    )
    def __init__(self, calibration_scores, *, alpha=0.01, random_state=0):
        scores = _calibration_scores(calibration_scores)
        self.alpha = alpha
        self._rng = np.random.default_rng(random_state)
        # Equal scores are ordered by random numbers: ranks are then equally likely, as
        # the bets take them to be.
        tie_breaks = self._rng.random(len(scores))
        order = np.lexsort((tie_breaks, scores))
        ranks = level_ranks(len(scores))
        self._levels = scores[order][ranks - 1]
        self._tie_breaks = tie_breaks[order][ranks - 1]
        self._game = UrnMartingale(ranks, len(scores))
        self.max_log_wealth_, self.alarm_at_ = 0.0, None
        self.class_counts_ = {}

    @property
    def log_wealth_(self):
        return float(self._game.log_wealth)

    @property
    def n_seen_(self):
        return self._game.n_seen

    @property
    def n_calibration_(self):
        return self._game.n_calibration

    @property
    def alarm_(self):
        return self.alarm_at_ is not None

    def update(self, scores):
        """Take the next scores of the stream.

        Parameters
        ----------
        scores : array-like of shape (n_samples,) or Judgement
            Scores in the order of the stream, higher = more in-distribution, as the
            detector gives them (not p-values: the monitor computes its own). Or the
            whole answer of a guard, whose classes are then counted.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            The log wealth after each of them: high means that the stream has changed.
        """
        judged = scores if isinstance(scores, Judgement) else None
        scores = scores if judged is None else judged.score
        scores = check_scores(scores, "scores", empty=True)
        if judged is not None:
            self._count_classes(judged, len(scores))
        below = self._below(scores)
        path = np.empty(len(scores))
        for number, row in enumerate(below):
            self._game.step(row)
            path[number] = self.log_wealth_
            self.max_log_wealth_ = max(self.max_log_wealth_, self.log_wealth_)
            if not self.alarm_ and self.log_wealth_ >= -np.log(self.alpha):
                self.alarm_at_ = self.n_seen_
        return path

    def _count_classes(self, judged, n_samples):
        predicted = check_per_sample(judged.predicted, n_samples, "scores.predicted")
        trust = check_per_sample(judged.trust, n_samples, "scores.trust")
        classes, numbers = np.unique(predicted, return_inverse=True)
        seen, rejected = np.bincount(numbers), np.bincount(numbers, weights=~trust)
        counts = zip(seen.tolist(), rejected.astype(int).tolist(), strict=True)
        for label, (n_seen, n_rejected) in zip(classes.tolist(), counts, strict=True):
            before = self.class_counts_.get(label, (0, 0))
            self.class_counts_[label] = (before[0] + n_seen, before[1] + n_rejected)

    def _below(self, scores):
        """Return which scores lie below which levels, shape (n_samples, n_levels)."""
        tie_breaks = self._rng.random(len(scores))[:, None]
        scores = scores[:, None]
        ties = (scores == self._levels) & (tie_breaks < self._tie_breaks)
        return (scores < self._levels) | ties

    def to_json(self):
        """Return the state as JSON text.

        Returns
        -------
        str
            What `from_json` continues from, equal to the last bit.
        """
        game = self._game
        state = {
            "format": _FORMAT,
            "alpha": float(self.alpha),
            "n_calibration": game.n_calibration,
            "ranks": game.ranks.tolist(),
            # JSON has no infinity.
            "levels": [str(level) for level in self._levels.tolist()],
            "tie_breaks": self._tie_breaks.tolist(),
            "n_seen": game.n_seen,
            "counts": game.counts.tolist(),
            "cash": float(game.cash),
            "bets": game.bets.tolist(),
            "log_wealth": self.log_wealth_,
            "max_log_wealth": self.max_log_wealth_,
            "alarm_at": self.alarm_at_,
            "random": self._rng.bit_generator.state,
            # Not an object: its keys would become words.
            "classes": [[k, *counts] for k, counts in self.class_counts_.items()],
        }
        return json.dumps(state)

    @classmethod
    def from_json(cls, text):
        """Return the monitor that `to_json` wrote.

        Parameters
        ----------
        text : str
            The JSON text.

        Returns
        -------
        PValueMonitor
            It goes on where the other one was.

        Raises
        ------
        ValueError
            If the text is not that of a monitor.
        """
        try:
            state = json.loads(text)
            if state["format"] != _FORMAT:
                raise ValueError(f"format {state['format']}, not {_FORMAT}")
            return cls._from_state(state)
        except (TypeError, KeyError, ValueError, IndexError) as error:
            raise ValueError(
                "text must be what PValueMonitor.to_json returned; got "
                f"{brief(text)} ({type(error).__name__}: {brief(str(error))})."
            ) from error

    @classmethod
    def _from_state(cls, state):
        self = cls.__new__(cls)
        self.alpha = state["alpha"]
        self._rng = np.random.default_rng()
        self._rng.bit_generator.state = state["random"]
        self._levels = np.array([float(level) for level in state["levels"]])
        self._tie_breaks = np.array(state["tie_breaks"])
        game = self._game = UrnMartingale(state["ranks"], state["n_calibration"])
        game.n_seen, game.counts = state["n_seen"], np.array(state["counts"])
        game.cash, game.bets = np.array(state["cash"]), np.array(state["bets"])
        game.log_wealth = np.array(state["log_wealth"])
        self.max_log_wealth_ = state["max_log_wealth"]
        self.alarm_at_ = state["alarm_at"]
        counts = state["classes"]
        self.class_counts_ = {label: (seen, no) for label, seen, no in counts}
        return self

    def save(self, path):
        """Write the state to a file, for `resume`.

        Parameters
        ----------
        path : str or path-like
            The file, of JSON. What is there is replaced once the new one is complete.
            If the process is killed, there is the one or the other.
        """
        # Services wait for it with each answer: a power cut may lose the file.
        with replacing(path, durable=False) as part:
            part.write_text(self.to_json())

    @classmethod
    def resume(cls, path, calibration_scores, *, alpha=0.01, random_state=0):
        """Return the monitor that `save` wrote, or a new one if there is no file.

        Parameters
        ----------
        path : str or path-like
            The file. Name it after the guard, as another calibration begins with
            another monitor.
        calibration_scores : array-like of shape (n_calibration,) or fitted detector
            As in the constructor; those of the monitor in the file.
        alpha : float, default=0.01
            As in the constructor, and as in the file.
        random_state : int or None, default=0
            As in the constructor, for a new one.

        Returns
        -------
        PValueMonitor
            It goes on where the other one was.

        Raises
        ------
        ValueError
            If the file holds something else, or a monitor that began with other
            calibration scores or another alpha.
        """
        new = cls(calibration_scores, alpha=alpha, random_state=random_state)
        path = as_path(path)
        if not path.exists():
            return new
        try:
            old = cls.from_json(path.read_text())
        except ValueError as error:
            raise ValueError(
                f"path must hold what PValueMonitor.save wrote; {str(path)!r} does "
                f"not: {error}"
            ) from error
        if old._reference() != new._reference():
            raise ValueError(
                "path must hold the monitor of these calibration scores and "
                f"alpha={alpha}; that in {str(path)!r} has {old.n_calibration_} "
                f"scores, these or others, and alpha={old.alpha}. Another calibration "
                "or alpha begins with another monitor: give another path."
            )
        return old

    def _reference(self):
        """Return what the stream is compared with."""
        return self.alpha, self.n_calibration_, self._levels.tolist()


def _calibration_scores(reference):
    """Return the scores, which may be those of a fitted detector."""
    while isinstance(reference, Pipeline):
        reference = reference[-1]
    if hasattr(reference, "fit") and not hasattr(reference, "calibration_scores_"):
        raise TypeError(
            "calibration_scores must be scores, or a fitted detector that has "
            f"calibration_scores_; {brief(reference)} has none. Fit it, or put it into "
            "a ConformalDetector."
        )
    scores = getattr(reference, "calibration_scores_", reference)
    return check_scores(scores, "calibration_scores")
