"""Folds for novelty detection: train on in-distribution rows, test on both kinds."""

from numbers import Integral

import numpy as np
from sklearn.model_selection import (
    BaseCrossValidator,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from sklearn.utils import check_random_state

from .._compat import num_samples
from .._validation import check_per_sample, check_signs, to_array

_KINDS = {1: "in-distribution rows (+1)", -1: "anomalies (-1)"}


class NoveltyKFold(BaseCrossValidator):
    """K folds that train on in-distribution rows alone and test on both kinds.

    A novelty detector must not be fitted on the anomalies that it is tested with, yet
    every fold needs some. Each fold in turn gives the test rows, its share of both
    kinds; the in-distribution rows of the other folds are the training rows. The
    anomalies of the other folds are not used.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, 2 or more, and no more than there are rows of either kind.
    shuffle : bool, default=False
        Whether to shuffle the rows before the split. Without it the folds follow the
        order of the rows.
    random_state : int, RandomState instance or None, default=None
        Shuffles the rows; only with ``shuffle=True``.

    See Also
    --------
    skgrad.metrics.DetectionScorer : Scores the folds.
    sklearn.model_selection.StratifiedKFold : Used without groups.
    sklearn.model_selection.StratifiedGroupKFold : Used with groups.

    Notes
    -----
    Several kinds of anomalies count as one. Set ``shuffle=True`` if they come one after
    another, so that no fold holds few kinds only.

    :class:`sklearn.model_selection.GridSearchCV` with ``refit=True`` fits the best
    candidate on all rows, anomalies included. The detectors of skgrad leave out rows
    that y labels -1. Most others, such as :class:`sklearn.ensemble.IsolationForest`,
    learn from all rows: use ``refit=False`` and fit on in-distribution rows.

    Training scores, as in ``return_train_score=True`` or
    :func:`sklearn.model_selection.learning_curve`, are NaN with a warning, because the
    training rows hold one kind only.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_validate
    >>> from skgrad import LODA
    >>> from skgrad.metrics import auroc_scorer, tnr_at_tpr_scorer
    >>> from skgrad.model_selection import NoveltyKFold
    >>> X = np.random.default_rng(0).normal(size=(400, 2))
    >>> X[300:] += 9
    >>> y = np.repeat([1, -1], [300, 100])
    >>> result = cross_validate(
    ...     LODA(n_bins=10, random_state=0),
    ...     X,
    ...     y,
    ...     cv=NoveltyKFold(3),
    ...     scoring={"auroc": auroc_scorer, "tnr": tnr_at_tpr_scorer},
    ... )
    >>> result["test_auroc"].tolist()
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
                "random_state must be None without shuffle=True, because nothing is "
                f"drawn; got {random_state!r}. Set shuffle=True, or leave it out."
            )
        check_random_state(random_state)
        self.n_splits = int(n_splits)
        self.shuffle = shuffle
        self.random_state = random_state

    def get_n_splits(self, X=None, y=None, groups=None):
        """Get the number of folds.

        Parameters
        ----------
        X : Ignored
            Not used, present for API consistency by convention.
        y : Ignored
            Not used, present for API consistency by convention.
        groups : Ignored
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
            the image it was made from. The shares of both kinds are then kept as well
            as the groups allow.

        Returns
        -------
        iterator of (ndarray of int, ndarray of int)
            Training rows, all of them in-distribution, and test rows of both kinds.

        Raises
        ------
        ValueError
            If y is not labels +1 and -1, or there are too few rows or groups for each
            fold to hold both kinds.
        """
        if y is None:
            raise ValueError(
                "y must be given: +1 for in-distribution rows, -1 for anomalies; got "
                "None."
            )
        y = to_array(y, "y")
        y = check_signs(y, y.size, "y", both=True)
        if X is not None and num_samples(X) != len(y):
            raise ValueError(
                "y must have one label per sample of X; found input variables with "
                f"inconsistent numbers of samples: [{num_samples(X)}, {len(y)}]."
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
        for label, kind in _KINDS.items():
            count = int(np.sum(y == label))
            if count < self.n_splits:
                raise ValueError(
                    f"n_splits must be at most the number of {kind} in y, so that "
                    f"each fold has one; got n_splits={self.n_splits} and {count} "
                    "of them. Use fewer folds or give more rows."
                )

    def _check_folds(self, y, folds):
        """Raise if a fold holds one kind only, for which there is no metric."""
        for number, (_, test) in enumerate(folds, start=1):
            for label, kind in _KINDS.items():
                if label not in y[test]:
                    raise ValueError(
                        f"groups must let each fold hold both kinds; fold {number} of "
                        f"n_splits={self.n_splits} has no {kind}, because too few "
                        "groups hold them. Use fewer folds or finer groups, or try "
                        "shuffle=True with another random_state."
                    )
