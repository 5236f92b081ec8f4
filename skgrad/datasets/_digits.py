"""The embedded in-distribution data."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.utils import Bunch

# One split for everyone, so that numbers compare: half trains a network, a quarter
# fits detectors on inputs that the network did not see, a quarter is for tests.
_SPLIT_SEED = 0


def load_digits_images():
    """Load scikit-learn's handwritten digits as images, in three fixed parts.

    Returns
    -------
    Bunch
        With the float32 images ``X_train`` (898), ``X_fit`` (449) and ``X_test`` (450)
        of shape (n_samples, 1, 8, 8), values in [0, 1], and the int64 labels
        ``y_train``, ``y_fit``, ``y_test``, 0 to 9. A network is trained on the first
        part, detectors are fitted on the second, both are tested on the third. The
        parts hold the digits in equal shares and never change.

    Notes
    -----
    1,797 digits written by 43 people, from the UCI repository (Alpaydin, Kaynak 1998);
    it ships with scikit-learn.

    Examples
    --------
    >>> from skgrad.datasets import load_digits_images
    >>> load_digits_images().X_test.shape
    (450, 1, 8, 8)
    """
    digits = load_digits()
    X = (digits.images[:, None] / 16).astype(np.float32)
    y = digits.target.astype(np.int64)
    X_train, X_rest, y_train, y_rest = train_test_split(
        X, y, train_size=898, stratify=y, random_state=_SPLIT_SEED
    )
    X_fit, X_test, y_fit, y_test = train_test_split(
        X_rest, y_rest, train_size=449, stratify=y_rest, random_state=_SPLIT_SEED
    )
    return Bunch(
        X_train=X_train,
        y_train=y_train,
        X_fit=X_fit,
        y_fit=y_fit,
        X_test=X_test,
        y_test=y_test,
    )
