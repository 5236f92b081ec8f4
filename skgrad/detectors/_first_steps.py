"""Which parts of a detector are handed its inputs, and whether they read Datasets."""

from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from torch.utils.data import Dataset


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


def first_steps(estimator):
    """Return the estimators that are handed X as it is; a word where there is none."""
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps]
        steps = [step for step in steps if step not in (None, "passthrough")]
        return first_steps(steps[0]) if steps else []
    if isinstance(estimator, FeatureUnion):
        parts = [part for _, part in estimator.transformer_list if part != "drop"]
        return [first for part in parts for first in first_steps(part)]
    if isinstance(estimator, FrozenEstimator | BaseSearchCV):
        return first_steps(estimator.estimator)
    return [estimator]
