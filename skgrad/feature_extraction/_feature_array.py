"""A numpy array that knows the names of its columns."""

import numpy as np


class FeatureArray(np.ndarray):
    """A feature matrix with column names, otherwise an ordinary numpy array.

    The transformers return it, so that a detector behind them finds the logits
    without being told where they are. Names belong to one matrix: what is computed
    from it (slices, sums, scaled copies) carries none, because the columns may no
    longer be the same. Joining matrices side by side, as `numpy.hstack` and
    :class:`sklearn.pipeline.FeatureUnion` do, joins their names.

    Parameters
    ----------
    values : array-like of shape (n_samples, n_features)
        The feature matrix. Not copied.
    feature_names : array-like of str of shape (n_features,)
        One name per column.

    Attributes
    ----------
    feature_names : ndarray of str or None
        The column names; None if they are not known.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.feature_extraction import FeatureArray
    >>> X = FeatureArray(np.zeros((2, 2)), ["logits_0", "logits_1"])
    >>> np.hstack([X, X]).feature_names.tolist()
    ['logits_0', 'logits_1', 'logits_0', 'logits_1']
    >>> X[:, :1].feature_names is None
    True
    """

    # Found by every view and result that is not named in __new__.
    feature_names: np.ndarray | None = None

    def __new__(cls, values, feature_names):
        """Name the columns of ``values``."""
        array = np.asarray(values).view(cls)
        names = np.asarray(feature_names, dtype=object)
        if array.ndim != 2 or names.shape != array.shape[1:]:
            raise ValueError(
                "feature_names must hold one name per column; got "
                f"{names.shape} names for values of shape {array.shape}."
            )
        array.feature_names = names
        return array

    def __reduce__(self):
        if self.feature_names is None:
            return np.asarray(self).__reduce__()
        return FeatureArray, (np.asarray(self), self.feature_names)

    def __array_function__(self, func, types, args, kwargs):
        result = super().__array_function__(func, types, args, kwargs)
        # numpy.hstack and numpy.concat come here too.
        if func is np.concatenate and _axis(args, kwargs) == 1:
            names = [getattr(part, "feature_names", None) for part in args[0]]
            if all(name is not None for name in names):
                return FeatureArray(result, np.concatenate(names))
        return result


def _axis(args, kwargs):
    return args[1] if len(args) > 1 else kwargs.get("axis", 0)
