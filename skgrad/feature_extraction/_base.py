"""What the three transformers share: validation, batching, names, cloning."""

import copy
import math
import os
import warnings
from abc import ABCMeta, abstractmethod
from functools import partial
from numbers import Integral

import joblib
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
    forward,
    frozen,
    on_device,
    placement,
    unwrap_model,
)
from ._feature_array import FeatureArray
from ._portable import PortableModel, content_hash, is_portable
from ._recent import Recent
from ._row_cache import RowStore, checked_folder, map_batches_once

# Inputs of searches, at most half a gigabyte of them.
_RECENT = Recent(2**29)


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
        "memory": [str, os.PathLike, joblib.Memory, None],
        "verbose": ["verbose"],
    }
    # Whether `_features` needs gradients with respect to parameters.
    _parameter_gradients = False
    # Attributes that `_name_features` sets, and whether they depend on more than the
    # model, the parameters and the first samples.
    _learnt: tuple = ()
    _learns_from_model_alone = True
    # Parameters on which features do not depend, or by rounding only. The shape of a
    # sample belongs to the sample.
    _not_in_store_key = frozenset(
        {"model", "input_shape", "batch_size", "device", "memory", "verbose"}
    )

    @abstractmethod
    def _name_features(self, module, batch, n_classes):
        """Return the column names, having checked the parameters on two samples."""

    @abstractmethod
    def _features(self, module, batch, n_classes):
        """Return the features of a batch, a tensor (n_samples, n_features_out)."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the model and the inputs, and name the features.

        Nothing is learnt: the model sees the first two samples, which tell the
        shapes. The values of the others are checked by `transform`.

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
        input_shape = _checked_input_shape(self.input_shape)
        X = self._check_inputs(X, reset=True)
        with frozen(module, parameter_gradients=self._parameter_gradients):
            raw = next(batches(X, batch_size=2), None)
            if raw is None:
                raise ValueError(
                    "X must hold at least one sample; got an empty Dataset."
                )
            batch = prepare_batch(raw, input_shape=input_shape, **placement(module))
            learnt = self._learn(module, batch)
        if isinstance(X, Dataset):
            self._remember_width(raw)
        self.__dict__.update(learnt)
        return self

    def _learn(self, module, batch):
        """Return what fit learns from the model, once for the same first samples."""
        key, probe = None, None
        if checked_folder(self.memory) is not None and self._learns_from_model_alone:
            key = joblib.hash((type(self).__module__, self._content(module)))
            probe = batch.cpu().double().numpy()
            if known := _RECENT.get(key, probe):
                return known
        n_classes = _probe(module, batch)
        names = self._name_features(module, batch.clone(), n_classes)
        # A dry run: what transform would refuse is refused here.
        self._features(module, batch.clone(), n_classes)
        learnt = {name: getattr(self, name) for name in self._learnt}
        learnt |= {
            "n_classes_": n_classes,
            "input_shape_": tuple(batch.shape[1:]),
            "_feature_names": names,
        }
        if key is not None:
            _RECENT.keep(key, probe, learnt)
        return learnt

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
        check_is_fitted(self, "n_classes_")
        module = on_device(unwrap_model(self.model), self.device)
        X = self._check_inputs(X, reset=False)
        with frozen(module, parameter_gradients=self._parameter_gradients):
            store = self._store(module)
            features = _RECENT.get(store.folder, X) if store else None
            if features is None:
                features = self._compute(module, X, store)
                if store:
                    _RECENT.keep(store.folder, X, features)
        # What is kept is not given away.
        return FeatureArray(features.copy() if store else features, self._feature_names)

    def _compute(self, module, X, store):
        run = partial(map_batches_once, store=store) if store else map_batches
        return run(
            partial(self._checked_features, module),
            X,
            batch_size=self.batch_size,
            progress=type(self).__name__ if self.verbose else None,
            input_shape=self.input_shape_,
            **placement(module),
        ).numpy()

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
        check_is_fitted(self, "n_classes_")
        if input_features is not None:
            _check_feature_names_in(self, input_features)
        return self._feature_names.copy()

    def _checked_features(self, module, batch):
        features = self._features(module, batch, self.n_classes_)
        if features.shape[1] != len(self._feature_names):
            raise ValueError(
                f"model gives {features.shape[1]} features, but the one seen by fit "
                f"gave {len(self._feature_names)}. Call fit after changing the model."
            )
        return features

    def _store(self, module):
        """Return the store of features, None without memory. The module is frozen."""
        folder = checked_folder(self.memory)
        if folder is None:
            return None
        # With the names, because an earlier fit may have seen another model.
        seen = (self.n_classes_, self._feature_names.tolist())
        content = (type(self).__module__, seen, self._content(module))
        return RowStore(folder, type(self).__name__, content)

    def _content(self, module):
        """Return what features depend on besides the sample. The module is frozen."""
        options = {
            name: value.tolist() if hasattr(value, "tolist") else value
            for name, value in self.get_params().items()
            if name not in self._not_in_store_key
        }
        return type(self).__name__, options, content_hash(module)

    @property
    def _n_features_out(self):
        return len(self._feature_names)

    def get_params(self, deep=True):
        """Get the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Without effect: a skorch net as ``model`` keeps its parameters to itself,
            so that setting one cannot change the user's net.

        Returns
        -------
        dict
            Parameter names mapped to their values.
        """
        return super().get_params(deep=False)

    def _check_inputs(self, X, *, reset):
        """Check what can be checked without reading all of a memmap or Dataset.

        Values are checked batch by batch, dtypes are cast there.
        """
        X = as_batchable(X)
        if isinstance(X, Dataset):
            return X
        shape = tuple(X.shape[1:])
        if not reset:
            self._check_shape(shape)
        if not isinstance(X, torch.Tensor):
            if len(shape) == 1 and (reset or shape[0] == self.n_features_in_):
                # scikit-learn knows data frames and feature names.
                return validate_data(self, X, reset=reset, ensure_all_finite=False)
            X = check_array(X, allow_nd=True, ensure_all_finite=False, input_name="X")
        if reset:
            self._remember_width(X)
        return X

    def _check_shape(self, shape):
        """Compare the shape of a sample with those seen by fit."""
        rows = (math.prod(self.input_shape_),)
        takes_rows = self.input_shape is not None or len(self.input_shape_) == 1
        if shape == self.input_shape_ or (takes_rows and shape == rows):
            return
        if len(shape) == len(self.input_shape_) == 1:
            raise ValueError(
                f"X has {shape[0]} features, but {type(self).__name__} is expecting "
                f"{rows[0]} features as input."
            )
        legal = (
            f"X must hold samples of shape {self.input_shape_}, as those seen by fit"
        )
        if takes_rows:
            legal += f", or rows of {rows[0]} values"
        hint = "" if takes_rows else " To give rows, set input_shape=."
        if shape == self.input_shape_[1:]:
            hint = " A single sample x is x[None]."
        raise ValueError(f"{legal}; got samples of shape {shape}.{hint}")

    def _remember_width(self, X):
        """Set what validate_data sets, for inputs that have no column names."""
        self.n_features_in_ = X.shape[1]
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

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
        if isinstance(module, nn.Module) and is_portable(module):
            state["model"] = PortableModel.of(self.model)
        return state

    def __setstate__(self, state):
        # A shallow copy hands the state over as it is, without pickling it.
        if isinstance(state["model"], PortableModel):
            state = {**state, "model": state["model"].model}
        super().__setstate__(state)


def _checked_input_shape(input_shape):
    if input_shape is None:
        return None
    shape = tuple(input_shape)
    if not shape or not all(isinstance(n, Integral) and int(n) >= 1 for n in shape):
        raise ValueError(
            "input_shape must be None or positive integers, the shape of one sample "
            f"such as (1, 28, 28); got {input_shape!r}."
        )
    return shape


_MIXES = (
    "model must treat each sample by itself, but it does not: its logits for the first "
    "sample of X depend on the second. Look for BatchNorm without running statistics, "
    "squeeze(), or a softmax over the wrong axis."
)


def _close(one, other):
    """Tell whether logits are equal but for rounding, also that of half precision."""
    size = other.abs().max().item()
    return torch.allclose(one, other, rtol=0.02, atol=0.02 * size)


def _probe(module, batch):
    """Check the model on two samples and return its number of classes."""
    logits = forward(module, batch)
    if not _close(forward(module, batch), logits):
        raise ValueError(
            "model must give the same logits each time, but two passes over the same "
            "X differ. Look for dropout that is on in evaluation mode, or added noise."
        )
    try:
        alone = forward(module, batch[:1])
    except ValueError as error:
        raise ValueError(f"{_MIXES} It fails on one sample: {error}") from error
    if not _close(alone, logits[:1]):
        raise ValueError(_MIXES)
    normalised = [logits.exp().sum(dim=1)]
    if (logits >= 0).all():
        normalised.append(logits.sum(dim=1))
    if any(torch.allclose(s, torch.ones_like(s), atol=1e-3) for s in normalised):
        warnings.warn(
            "model returns rows that look like probabilities or their logarithms. "
            "skgrad needs logits: remove the softmax or log-softmax from its forward.",
            UserWarning,
            stacklevel=4,
        )
    return logits.shape[1]
