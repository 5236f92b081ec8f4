"""What the three transformers share: validation, batching, names, cloning."""

import copy
import warnings
from abc import ABCMeta, abstractmethod
from functools import partial
from numbers import Integral

import torch
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
    validate_data,
)
from torch import nn
from torch.utils.data import Dataset

from ..torch_engine.batching import as_batchable, batches, map_batches, prepare_batch
from ..torch_engine.model_state import (
    as_logits,
    frozen,
    model_device,
    model_dtype,
    on_device,
    unwrap_model,
)
from ._feature_array import FeatureArray
from ._portable import PortableModel


class BaseModelTransformer(TransformerMixin, BaseEstimator, metaclass=ABCMeta):
    """Base of the transformers around a torch model.

    A subclass says with `_name_features` what its columns are called, and with
    `_features` what becomes of a batch. The model is held still around both.
    """

    _parameter_constraints: dict = {
        "model": "no_validation",  # the engine's message says more
        "input_shape": ["array-like", None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device, None],
        "verbose": ["verbose"],
    }
    # Whether `_features` needs gradients with respect to parameters.
    _parameter_gradients = False

    @abstractmethod
    def _name_features(self, module, batch):
        """Return the column names, having checked the parameters on two samples."""

    @abstractmethod
    def _features(self, module, batch):
        """Return the features of a batch, a tensor (n_samples, n_features_out)."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the model and the inputs, and name the features.

        Nothing is learnt: the model sees two samples, which tell the shapes.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor or Dataset
            The inputs, finite and scaled as in the training of the model.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        module = on_device(unwrap_model(self.model), self.device)
        X = self._check_inputs(X, reset=True)
        batch = next(batches(X, batch_size=2), None)
        if batch is None:
            raise ValueError("X must hold at least one sample; got an empty Dataset.")
        batch = prepare_batch(batch, **self._placement(module, self.input_shape))
        with frozen(module):
            self.n_classes_ = _probe(module, batch).shape[1]
            self._feature_names = self._name_features(module, batch)
        self.input_shape_ = tuple(batch.shape[1:])
        return self

    def transform(self, X):
        """Compute the features.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor or Dataset
            The inputs, finite and scaled as in the training of the model.

        Returns
        -------
        FeatureArray of shape (n_samples, n_features_out)
            The features, a numpy array that carries its column names.
        """
        check_is_fitted(self)
        module = on_device(unwrap_model(self.model), self.device)
        X = self._check_inputs(X, reset=False)
        with frozen(module, parameter_gradients=self._parameter_gradients):
            features = map_batches(
                partial(self._features, module),
                X,
                batch_size=self.batch_size,
                progress=type(self).__name__ if self.verbose else None,
                **self._placement(module, self.input_shape_),
            )
        if features.shape[1] != len(self._feature_names):
            raise ValueError(
                f"model gives {features.shape[1]} features, but the one seen by fit "
                f"gave {len(self._feature_names)}. Call fit after changing the model."
            )
        return FeatureArray(features.numpy(), self._feature_names)

    def get_feature_names_out(self, input_features=None):
        """Get the names of the feature columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen by `fit`; the names come from the
            model.

        Returns
        -------
        ndarray of str objects of shape (n_features_out,)
            One name per column, in order.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features)
        return self._feature_names.copy()

    @property
    def _n_features_out(self):
        return len(self._feature_names)

    def _placement(self, module, input_shape):
        """Say where and as what the batches go to the model."""
        return {
            "device": model_device(module),
            "dtype": model_dtype(module),
            "input_shape": input_shape,
        }

    def _check_inputs(self, X, *, reset):
        """Check what can be checked without reading all of a memmap or Dataset."""
        X = as_batchable(X)
        if isinstance(X, Dataset):
            return X
        known_shape = None if reset else self.input_shape_
        if X.ndim == 2:
            return _two_dimensional(self, X, reset)
        if known_shape is not None and tuple(X.shape[1:]) != known_shape:
            raise ValueError(
                f"X must hold samples of shape {known_shape}, as those seen by fit; "
                f"got X of shape {tuple(X.shape)}."
            )
        if not isinstance(X, torch.Tensor):
            # No dtype is asked for: a uint8 memmap stays one, batches are cast.
            X = check_array(X, allow_nd=True, input_name="X")
        if reset:
            self.n_features_in_ = X.shape[1]
        return X

    # The network is shared, not owned: clones refer to it, pickles carry it.

    def __sklearn_clone__(self):
        # scikit-learn would copy the network, or make a skorch net an untrained one.
        twin = copy.copy(self)
        twin.model = FrozenEstimator(self.model)
        fresh = BaseEstimator.__sklearn_clone__(twin)
        fresh.model = self.model
        return fresh

    def __getstate__(self):
        state = dict(super().__getstate__())
        # Anything else is no model; `fit` is the place to say so.
        module = getattr(self.model, "module_", self.model)
        if isinstance(module, nn.Module):
            state["model"] = PortableModel(self.model)
        return state

    def __setstate__(self, state):
        # A shallow copy hands the state over as it is, without pickling it.
        if isinstance(state["model"], PortableModel):
            state = {**state, "model": state["model"].model}
        super().__setstate__(state)


def _two_dimensional(estimator, X, reset):
    """Validate rows with scikit-learn, which knows data frames and feature names."""
    if isinstance(X, torch.Tensor):
        if reset:
            estimator.n_features_in_ = X.shape[1]
        elif X.shape[1] != estimator.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(estimator).__name__} is "
                f"expecting {estimator.n_features_in_} features as input."
            )
        return X
    return validate_data(estimator, X, reset=reset)


def _probe(module, batch):
    """Run the model on a small batch and return its logits."""
    try:
        output = module(batch)
    except Exception as error:
        raise ValueError(
            f"model cannot take X: it failed on {len(batch)} samples of shape "
            f"{tuple(batch.shape[1:])}. X must have the shape that the model was "
            "trained on; 2-D rows are given theirs with input_shape. The model says: "
            f"{type(error).__name__}: {error}"
        ) from error
    logits = as_logits(output, len(batch))
    sums = logits.sum(dim=1)
    if (logits >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-3):
        warnings.warn(
            "model returns rows that are non-negative and sum to 1, which look like "
            "probabilities. skgrad needs logits: remove the softmax from its forward.",
            UserWarning,
            stacklevel=3,
        )
    return logits
