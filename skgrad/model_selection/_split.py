"""Folds for novelty detection: train on in-distribution rows, test on both kinds."""

from numbers import Integral

import numpy as np
from sklearn.model_selection import (
    BaseCrossValidator,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from sklearn.utils import check_random_state

from .._labels import check_per_sample, check_signs, to_array
from ..detectors._decision import count_rows

_KINDS = {1: "in-distribution rows (+1)", -1: "anomalies (-1)"}


class NoveltyKFold(BaseCrossValidator):
    """K folds that train on in-distribution rows alone and test on both kinds.

    Each fold in turn gives the test rows, its share of both kinds; the in-distribution
    rows of the other folds are the training rows. Their anomalies are not used.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, 2 or more, and no more than there are rows of either kind.
    shuffle : bool, default=False
        Whether to shuffle the rows before the split.
    random_state : int, RandomState instance or None, default=None
        Shuffles the rows; only with ``shuffle=True``.

    See Also
    --------
    skgrad.metrics.DetectionScorer : Scores the folds.

    Notes
    -----
    Set ``shuffle=True`` if several kinds of anomalies come one after another.

    :class:`sklearn.model_selection.GridSearchCV` with ``refit=True`` fits the best
    candidate on all rows. The detectors of skgrad leave out those that y labels -1;
    most others learn from them: use ``refit=False``.

    Training scores are NaN with a warning, because training rows hold one kind only.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_val_score
    >>> from skgrad import LODA
    >>> from skgrad.metrics import auroc_scorer
    >>> from skgrad.model_selection import NoveltyKFold
    >>> X = np.random.default_rng(0).normal(size=(400, 2))
    >>> X[300:] += 9
    >>> y = np.repeat([1, -1], [300, 100])
    >>> detector, folds = LODA(n_bins=10, random_state=0), NoveltyKFold(3)
    >>> cross_val_score(detector, X, y, cv=folds, scoring=auroc_scorer).tolist()
    [1.0, 1.0, 1.0]
    """

    # Lets metadata routing pass groups, as scikit-learn's GroupsConsumerMixin does.
    __metadata_request__split = {"groups": True}

    def __init__(self, n_splits=5, *, shuffle=False, random_state=None):
        # Splitters are not cloned, so scikit-learn's check their parameters here.
        if not isinstance(n_splits, Integral) or n_splits < 2:
            raise ValueError(f"n_splits must be an integer >= 2; got {n_splits!r}.")
        if not isinstance(shuffle, (bool, np.bool_)):
            raise TypeError(f"shuffle must be True or False; got {shuffle!r}.")
        if random_state is not None and not shuffle:
            raise ValueError(
                f"random_state must be None without shuffle=True; got {random_state!r}."
            )
        check_random_state(random_state)
        self.n_splits = int(n_splits)
        self.shuffle = shuffle
        self.random_state = random_state

    def get_n_splits(self, X=None, y=None, groups=None):
        """Get the number of folds.

        Parameters
        ----------
        X, y, groups : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        int
            The number of folds.
        """
        return self.n_splits

    def split(self, X, y=None, groups=None):
        """Make the indices of training and test rows, fold by fold.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            The inputs; only their number counts.
        y : array-like of shape (n_samples,)
            +1 for in-distribution rows, -1 for anomalies.
        groups : array-like of shape (n_samples,), default=None
            Rows of one group are never on both sides, such as an attacked image and
            the image it was made from.

        Returns
        -------
        iterator of (ndarray of int, ndarray of int)
            Training rows, all of them in-distribution, and test rows of both kinds.
        """
        if y is None:
            raise ValueError(
                "y must be +1 for in-distribution rows, -1 for anomalies; got None."
            )
        y = to_array(y, "y")
        y = check_signs(y, y.size, "y", both=True)
        if X is not None and (n_samples := count_rows(X)) != len(y):
            raise ValueError(
                "y must have one label per sample of X; found input variables with "
                f"inconsistent numbers of samples: [{n_samples}, {len(y)}]."
            )
        self._check_counts(y)
        # A list, so that all folds are checked before the first is used.
        folds = list(self._folds(y, groups))
        if groups is not None:
            self._check_folds(y, folds)
        return ((train[y[train] == 1], test) for train, test in folds)

    def _folds(self, y, groups):
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        folds = kind(
            self.n_splits, shuffle=bool(self.shuffle), random_state=self.random_state
        )
        if groups is None:
            return folds.split(y, y)
        groups = check_per_sample(groups, len(y), "groups")
        try:
            n_groups = len(np.unique(groups))
        except TypeError as error:
            raise TypeError(
                "groups must be all numbers or all text; got "
                f"{sorted({type(g).__name__ for g in groups.tolist()})}."
            ) from error
        if n_groups < self.n_splits:
            raise ValueError(
                f"n_splits must be at most the number of groups, {n_groups}; got "
                f"{self.n_splits}. Use fewer folds or finer groups."
            )
        return folds.split(y, y, groups)

    def _check_counts(self, y):
        # scikit-learn only warns, and its folds would lack a kind.
        for label, kind in _KINDS.items():
            count = int(np.sum(y == label))
            if count < self.n_splits:
                raise ValueError(
                    f"n_splits must be at most the number of {kind} in y; got "
                    f"n_splits={self.n_splits} and {count} of them."
                )

    def _check_folds(self, y, folds):
        """Raise if a fold holds one kind only, for which there is no metric."""
        for number, (_, test) in enumerate(folds, start=1):
            for label, kind in _KINDS.items():
                if label not in y[test]:
                    raise ValueError(
                        f"groups must let each fold hold both kinds; fold {number} of "
                        f"n_splits={self.n_splits} has no {kind}. Use fewer folds or "
                        "finer groups, or shuffle=True with another random_state."
                    )
