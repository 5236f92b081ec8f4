"""Labels and scores as they come, told apart without stumbling over them."""

import numpy as np
import torch
from torch.utils.data import Dataset


def one_per_sample(values, name):
    """Return values as an array, unless they are ragged, or none that numpy reads."""
    if isinstance(values, Dataset):  # numpy would iterate over it, perhaps for ever
        raise TypeError(
            f"{name} must be an array of one value per sample; got the Dataset "
            f"{type(values).__name__}. Stack its values first."
        )
    if np.ma.is_masked(values):  # numpy would hand on what lies under the mask
        raise ValueError(
            f"{name} must have no masked values; got {np.ma.count_masked(values)} of "
            "them. Leave such samples out."
        )
    if isinstance(values, torch.Tensor):
        return _from_tensor(values, name)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} must hold one value per sample; got a ragged "
            f"{type(values).__name__}."
        ) from error


def _from_tensor(values, name):
    if values.layout != torch.strided or values.is_meta:
        raise ValueError(
            f"{name} must be a dense tensor with values; got layout {values.layout} on "
            f"{values.device}."
        )
    # numpy has no bfloat16, and takes no tensor that autograd watches.
    bfloat16 = values.dtype == torch.bfloat16
    return (values.float() if bfloat16 else values).numpy(force=True)


def distinct(labels):
    """Return the different labels of an array as a list, also those of mixed types."""
    try:
        return np.unique(labels).tolist()
    except TypeError:  # text among numbers has no order
        return sorted(map(str, set(map(str, labels.ravel().tolist()))))
