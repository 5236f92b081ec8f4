"""What the three transformers share: fit, features, names, memory."""

import os
from abc import abstractmethod
from functools import partial

import joblib
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import Dataset

from .._all_or_nothing import all_or_nothing
from .._compat import check_feature_names_in, fit_context
from ..torch_engine.batching import map_batches
from ..torch_engine.model_state import frozen, on_device, placement, unwrap_model
from ._feature_array import FeatureArray
from ._model_estimator import BaseModelEstimator, probe
from ._portable import content_hash
from ._recent import Recent
from ._row_cache import RowStore, checked_folder, map_batches_once

# Inputs of searches, at most half a gigabyte of them.
_RECENT = Recent(2**29)


class BaseModelTransformer(TransformerMixin, BaseModelEstimator):
    """Base of the transformers around a torch model.

    A subclass says with `_name_features` what its columns are called, and with
    `_features` what becomes of a batch. The model is held still around both.
    """

    _parameter_constraints: dict = {
        **BaseModelEstimator._parameter_constraints,
        "memory": [str, os.PathLike, joblib.Memory, None],
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

    @fit_context(prefer_skip_nested_validation=True)
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
        with all_or_nothing(self):
            X = self._check_inputs(X, reset=True)
            with frozen(module, parameter_gradients=self._parameter_gradients):
                raw, batch = self._first_samples(module, X)
                learnt = self._learn(module, batch)
            if isinstance(X, Dataset):
                self._remember_width(raw)
            self.__dict__.update(learnt)
        return self

    def _learn(self, module, batch):
        """Return what fit learns from the model, once for the same first samples."""
        key, seen = None, None
        if checked_folder(self.memory) is not None and self._learns_from_model_alone:
            key = joblib.hash((type(self).__module__, self._content(module)))
            seen = batch.cpu().double().numpy()
            if known := _RECENT.get(key, seen):
                return known
        n_classes = probe(module, batch)
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
            _RECENT.keep(key, seen, learnt)
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
            check_feature_names_in(self, input_features)
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
