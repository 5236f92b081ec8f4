"""Folds for novelty detection: train on in-distribution rows, test on both kinds."""

from numbers import Integral

import numpy as np
from sklearn.model_selection import (
    BaseCrossValidator,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from sklearn.utils import check_random_state, indexable

from .._compat import num_samples
from .._validation import distinct, to_array

_KINDS = {1: "in-distribution rows (+1)", -1: "anomalies (-1)"}


class NoveltyKFold(BaseCrossValidator):
    """K folds that train on in-distribution rows alone and test on both kinds.

    A novelty detector must not be fitted on the anomalies that it is judged with, yet
    every fold needs some. Each fold in turn gives the test rows, its share of both
    kinds; the in-distribution rows of the other folds are the training rows. The
    anomalies of the other folds stay out.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, 2 or more, and no more than there are rows of either kind.
    shuffle : bool, default=False
        Whether to shuffle the rows before they are cut into folds. Without it the
        folds follow the order of the rows.
    random_state : int, RandomState instance or None, default=None
        Shuffles the rows; only with ``shuffle=True``.

    See Also
    --------
    skgrad.metrics.DetectionScorer : Scores the folds.
    sklearn.model_selection.StratifiedKFold : Makes the folds.
    sklearn.model_selection.StratifiedGroupKFold : Makes them where there are groups.

    Notes
    -----
    Several kinds of anomalies count as one: shuffle where they come one after another
    and few of each would otherwise fill a fold.

    :class:`sklearn.model_selection.GridSearchCV` with ``refit=True`` fits the winner
    on all rows that it was given, anomalies too. The detectors of skgrad leave out
    rows labelled -1 when they are given y. Most others, such as
    :class:`sklearn.ensemble.IsolationForest`, learn from all rows: use
    ``refit=False`` and fit the winner on in-distribution rows.

    Training scores, of ``return_train_score=True`` and of
    :func:`sklearn.model_selection.learning_curve`, are NaN with a warning: the training
    rows hold one kind only.

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

    # Groups are used if they are given, as in scikit-learn's GroupsConsumerMixin.
    __metadata_request__split = {"groups": True}

    def __init__(self, n_splits=5, *, shuffle=False, random_state=None):
        # Refused here and not by split, as scikit-learn's splitters do.
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
        y = _checked_labels(y)
        if X is not None and not hasattr(X, "shape") and not hasattr(X, "__len__"):
            raise TypeError(f"X must have a length; got {type(X).__name__}.")
        (X,) = indexable(X)
        groups = _checked_groups(groups, len(y))
        if X is not None and num_samples(X) != len(y):
            raise ValueError(
                "y must have one label per sample of X; found input variables with "
                f"inconsistent numbers of samples: [{num_samples(X)}, {len(y)}]."
            )
        self._check_counts(y)
        folds = list(self._folds(y, groups))
        if groups is not None:
            self._check_folds(y, folds)
        return ((train[y[train] == 1], test) for train, test in folds)

    def _folds(self, y, groups):
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        folds = kind(
            self.n_splits,
            shuffle=bool(self.shuffle),
            random_state=self.random_state,
        )
        if groups is None:
            return folds.split(y, y)
        n_groups = len(np.unique(groups))
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
        """Refuse folds with one kind only, which no metric could judge."""
        for number, (_, test) in enumerate(folds, start=1):
            for label, kind in _KINDS.items():
                if label not in y[test]:
                    raise ValueError(
                        f"groups must let each fold hold both kinds; fold {number} of "
                        f"n_splits={self.n_splits} has no {kind}, because too few "
                        "groups hold them. Use fewer folds or finer groups, or try "
                        "shuffle=True with another random_state."
                    )


def _checked_groups(groups, n_samples):
    """Return groups as an array, one per row."""
    if groups is None:
        return None
    groups = to_array(groups, "groups")
    if groups.shape != (n_samples,):
        raise ValueError(
            f"groups must hold one group per sample, {n_samples} here; got shape "
            f"{groups.shape}."
        )
    try:
        np.unique(groups)
    except TypeError as error:
        raise TypeError(
            "groups must be all numbers or all text, to be told apart; got "
            f"{sorted({type(g).__name__ for g in groups.tolist()})}."
        ) from error
    return groups


def _checked_labels(y):
    """Return y as an array of +1 and -1, both there."""
    if y is None:
        raise ValueError(
            "y must be given: +1 for in-distribution rows, -1 for anomalies; got None."
        )
    y = to_array(y, "y")
    if y.ndim != 1:
        raise ValueError(f"y must be of shape (n_samples,); got shape {y.shape}.")
    labels = distinct(y)
    if labels != [-1, 1]:
        raise ValueError(
            "y must hold +1 for in-distribution rows and -1 for anomalies, both at "
            f"least once; got labels {labels[:5]}.{_way_out(labels)}"
        )
    return y.astype(int)


def _way_out(labels):
    if labels == [0, 1]:
        return (
            " Where 0 means in-distribution, give np.where(y == 0, 1, -1); where 1 "
            "does, np.where(y == 1, 1, -1)."
        )
    if labels in ([1], [-1]):
        return f" Add {_KINDS[-labels[0]]}: without them nothing can be judged."
    return " From class labels, give +1 for the classes that the model was trained on."
