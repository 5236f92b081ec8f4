"""Labels and scores as they come, told apart without stumbling over them."""

import numpy as np


def one_per_sample(values, name):
    """Return values as an array, unless they are ragged."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} must hold one value per sample; got a ragged "
            f"{type(values).__name__}."
        ) from error


def distinct(labels):
    """Return the different labels of an array as a list, also those of mixed types."""
    try:
        return np.unique(labels).tolist()
    except TypeError:  # text among numbers has no order
        return sorted(map(str, set(map(str, labels.ravel().tolist()))))
