"""The one way in for feature matrices."""

from torch import Tensor
from torch.utils.data import Dataset

from ..torch_engine.inputs import as_batchable
from ..torch_engine.model_state import at_least_float32


def as_matrix(X):
    """Return X as scikit-learn takes it, or say why it is no matrix of features.

    Parameters
    ----------
    X : array-like, data frame or Tensor
        What came.

    Returns
    -------
    ndarray or data frame of shape (n_samples, n_features)
        Real numbers, not checked for NaN and infinity.

    Raises
    ------
    TypeError
        If ``X`` is a torch Dataset, sparse, or nothing that holds samples.
    ValueError
        If it has another shape, or holds no real numbers.
    """
    if isinstance(X, Dataset):
        raise TypeError(
            f"{_LEGAL}; got the Dataset {type(X).__name__}. For inputs of a model, put "
            "a transformer such as LayerActivationTransformer before the detector."
        )
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape) == 1:
        raise ValueError(
            f"{_LEGAL}; got shape {tuple(shape)}. Reshape your data: one sample x is "
            "x[None], one feature x[:, None]."
        )
    X = as_batchable(X)
    if len(X.shape) != 2:
        raise ValueError(
            f"{_LEGAL}; got shape {tuple(X.shape)}. For inputs of a model, put a "
            "transformer such as LayerActivationTransformer before the detector."
        )
    if isinstance(X, Tensor):
        # numpy has no bfloat16, and takes no tensor that autograd watches.
        return at_least_float32(X.detach()).cpu().numpy()
    return X


_LEGAL = "X must be a matrix of features, of shape (n_samples, n_features)"
