"""A numpy array that knows the names of its columns."""

from itertools import chain

import numpy as np


class FeatureArray(np.ndarray):
    """A feature matrix with column names, otherwise an ordinary numpy array.

    The transformers return it, so that a detector after them finds the logits by name.
    Copies and selected rows keep the names, and `numpy.hstack` and
    :class:`sklearn.pipeline.FeatureUnion` join them. Everything else that is computed
    from it has none, because the columns may no longer be the same.

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
    >>> type(X[:, :1]).__name__
    'ndarray'
    """

    # The value for every view and result that __new__ does not name.
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

    def __array_wrap__(self, array, context=None, return_scalar=False):
        plain = np.asarray(array)
        return plain[()] if plain.ndim == 0 else plain

    def __getitem__(self, key):
        result = super().__getitem__(key)
        if not isinstance(result, FeatureArray):
            return result
        return self._named(result) if _selects_rows(key) else np.asarray(result)

    def copy(self, order="C"):
        """Copy the matrix together with its names.

        Parameters
        ----------
        order : {"C", "F", "A", "K"}, default="C"
            Memory layout of the copy, as in `numpy.ndarray.copy`.

        Returns
        -------
        FeatureArray of shape (n_samples, n_features)
            The copy.
        """
        return self._named(np.array(self, order=order, copy=True))

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def _named(self, values):
        """Give values the same names, if their columns can be the same."""
        plain = np.asarray(values)
        if self.feature_names is None or plain.shape[1:] != self.shape[1:]:
            return plain
        return FeatureArray(plain, self.feature_names)

    def __array_function__(self, func, types, args, kwargs):
        result = super().__array_function__(func, types, args, kwargs)
        axis = args[1] if len(args) > 1 else kwargs.get("axis", 0)
        if func is np.hstack or (func is np.concatenate and axis in (1, -1)):
            names: list = [getattr(part, "feature_names", None) for part in args[0]]
            if all(name is not None for name in names):
                return FeatureArray(result, list(chain(*names)))
        return np.asarray(result) if isinstance(result, FeatureArray) else result


def _selects_rows(key):
    """Return True if an index leaves all columns in place."""
    if not isinstance(key, tuple):
        return True
    columns = key[1] if len(key) == 2 else None
    everything = isinstance(columns, slice) and columns == slice(None)
    return columns is Ellipsis or everything


def in_container_of(template, values):
    """Return values in the kind of container that a template is, with its names.

    Detectors find the logits by column names and check the names seen in fit, so an
    array (n_samples, n_features) that was computed from their features has to come back
    in the same form. Without column names in the template it is returned as it is; an
    array of objects takes the dtypes of a data frame.
    """
    names = getattr(template, "feature_names", None)
    if names is not None:
        return FeatureArray(values, names)
    if hasattr(template, "iloc"):  # pandas, where column names may repeat
        frame = type(template)(values, columns=template.columns)
        return frame.astype(template.dtypes) if values.dtype == object else frame
    if hasattr(template, "columns"):  # polars
        return type(template)(dict(zip(template.columns, values.T, strict=True)))
    return values
