"""Which parts of a detector are handed its inputs, and whether they read Datasets."""

from sklearn.preprocessing import FunctionTransformer
from torch.utils.data import Dataset

from .._unwrap import first_steps


def check_reads(detector, X):
    """Refuse a torch Dataset for a detector that takes arrays alone.

    numpy would iterate over it, and a Dataset that knows its length need not raise the
    IndexError that ends an iteration: it would never come back.
    """
    if not isinstance(X, Dataset):
        return
    for first in first_steps(detector):
        if _takes_arrays_alone(first):
            shown = first if isinstance(first, str) else type(first).__name__
            raise TypeError(
                f"X must be an array for a detector that begins with {shown}; got the "
                f"Dataset {type(X).__name__}. Stack it first, or begin a pipeline with "
                "a transformer that reads Datasets, such as "
                "LayerActivationTransformer."
            )


def _takes_arrays_alone(first):
    if isinstance(first, str):
        return True
    of_sklearn = type(first).__module__.startswith("sklearn.")
    # A function may take anything.
    return of_sklearn and not isinstance(first, FunctionTransformer)
