"""Inputs of networks in a form that scikit-learn can split."""

from ..torch_engine.samples import read_inputs


def indexable_inputs(X):
    """Make inputs of a network that scikit-learn can split by samples.

    :class:`sklearn.model_selection.GridSearchCV`, ``cross_validate`` and
    ``train_test_split`` take the samples of X by their numbers. They take a dictionary
    of several inputs, such as token ids and their mask, for a list of its keys, and
    items of a Dataset for the pairs that it yields. Make such an X indexable first.

    Parameters
    ----------
    X : dict, tuple, Dataset, DataLoader, Tensor or array-like
        The inputs; those in a Dataset or DataLoader are read into memory, without their
        labels.

    Returns
    -------
    ndarray of shape (n_samples, *input_shape), or several of them
        The inputs. Several have a length, the number of samples; ``X[rows]`` are the
        samples of some rows, and ``X["name"]`` is the array of one name. All of skgrad
        takes them as the dictionary or tuple that they were made of.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import train_test_split
    >>> from skgrad.model_selection import indexable_inputs
    >>> tokens = {"ids": np.arange(12).reshape(4, 3), "mask": np.ones((4, 3))}
    >>> X_fit, X_test = train_test_split(indexable_inputs(tokens), random_state=0)
    >>> len(X_fit), len(X_test), X_test["ids"].tolist()
    (3, 1, [[6, 7, 8]])
    """
    return read_inputs(X, "X")
