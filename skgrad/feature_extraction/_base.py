"""What the transformers share: fit, features, names, memory."""

import pickle
from abc import abstractmethod
from functools import partial, reduce
from numbers import Integral
from operator import or_

import joblib
import numpy as np
import torch
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted, check_memory

from .. import __version__
from .._compat import HasMethods, Interval, check_feature_names_in, fit_context
from .._finite import finite_rows, rows_named
from .._rollback import restored_on_error
from .._several import sample_shape
from .._validation import DATASETS
from ..torch_engine.batching import batches, prepare_batch
from ..torch_engine.model_state import frozen, placement, unwrap_model
from ..torch_engine.network_pass import NetworkPass, Wanted
from ..torch_engine.probe import Probe, warn_of_batch_scales
from ..torch_engine.samples import N_COMPARED, read_inputs, warn_if_unsteady
from ..torch_engine.stability import N_SPREAD
from ._family import merged_options
from ._feature_array import FeatureArray
from ._model_estimator import BaseModelEstimator, checked_input_shape
from ._parallel import count_workers, features_by_parts
from ._portable import PortableModel, is_portable

# Parameters that change no feature, or by rounding only.
_WITHOUT_INFLUENCE = frozenset(
    {
        *("model", "input_shape", "batch_size", "num_workers", "n_jobs", "device"),
        *("memory", "verbose"),
    }
)


class BaseModelTransformer(TransformerMixin, BaseModelEstimator):
    """Base of the transformers around a torch model.

    A subclass makes its families of columns with `_make_families`. All of them share
    the passes through the network, which is held still around them.
    """

    _parameter_constraints: dict = {
        **BaseModelEstimator._parameter_constraints,
        "num_workers": [Interval(Integral, 0, None, closed="left")],
        "n_jobs": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Integral, None, -1, closed="right"),
            None,
        ],
        "memory": [str, HasMethods("cache"), None],
    }
    # Whether the network takes images in this order in memory, for gradients.
    _channels_last = False

    @abstractmethod
    def _make_families(self):
        """Return unfitted families of columns, a dict by the prefix of their names."""

    def _adopt(self, families):
        """Set attributes that the fitted families have."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Check the model and the inputs, and name the features.

        The model sees a few first samples, which give the shapes; `transform` checks
        the others. Models of several inputs take a dictionary of them, or a tuple.
        Call fit again after changing the model: with ``memory``, features are stored
        under the weights that fit saw.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, finite and scaled as in the training of the model.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        with restored_on_error(self):
            self._fit(X, y)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None):
        """Fit, and compute the features of the same inputs, each read once.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, finite and scaled as in the training of the model.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        FeatureArray of shape (n_samples, n_features_out)
            The features, a numpy array that carries its column names.
        """
        with restored_on_error(self):
            return self._fit(X, y, transform=True)

    def _fit(self, X, y, *, transform=False):
        """Fit; with ``transform`` return the features too."""
        families = self._make_families()
        module = self._module(renew=True)
        X = given = self._check_inputs(X, reset=True)
        if transform and self._memory() is not None:
            X = read_inputs(X, "X", num_workers=self.num_workers)
        with self._held(module, families) as network:
            version = self._version(network)
            asked = merged_options(families.values())
            n_first = N_SPREAD if asked["first"] else N_COMPARED
            # Other processes read the first samples again.
            here = transform and count_workers(self, X) == 1
            size = self.batch_size if here else n_first
            options = {"n_first": n_first, "num_workers": self.num_workers}
            first, together, raw = self._begin(X, size, **options)
            warn_if_unsteady(given, first, num_workers=self.num_workers)
            self._learn(module, first, together, families)
            if isinstance(given, DATASETS):
                self._remember_width(first)
            self._remember_network(network, version)
            self.__dict__.pop("_hashed", None)
            if here and self._memory() is None:
                with rows_named():
                    return self._named(self._passes(module, X, raw))
        # Hashing takes time, so it is done for a cache alone.
        if self._memory() is not None:
            self._hashed = unwrap_model(self.model), self._hash_network()
        return self._named_features(X) if transform else None

    def _first(self, module, raw):
        """Return samples that show how the inputs vary, as the model takes them."""
        # On the CPU: they are more samples than may pass through the model at once.
        place = {**placement(module), "device": torch.device("cpu")}
        shape = checked_input_shape(self.input_shape)
        with rows_named():
            return prepare_batch(
                raw, input_shape=shape, integers=self.integer_inputs_, **place
            )

    def _learn(self, module, first, together, families):
        """Fit the families on the first samples."""
        batch = self._prepare(module, first, together)
        options = merged_options(families.values())
        options["first"] = self._first(module, first) if options["first"] else None
        probe = Probe(module, batch, **options)
        self.n_classes_ = probe.n_classes
        self.input_shape_ = sample_shape(batch)
        names = [
            f"{prefix}{name}"
            for prefix, family in families.items()
            for name in family._fit(probe)
        ]
        warn_of_batch_scales(module, self.batch_size)
        self._families = families
        self._channels_last = probe.channels_last
        self._feature_names = np.asarray(names, dtype=object)
        self._adopt(families)

    def transform(self, X):
        """Compute the features.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, as in `fit`. With ``memory`` a Dataset is read as a whole.

        Returns
        -------
        FeatureArray of shape (n_samples, n_features_out)
            The features, a numpy array that carries its column names.
        """
        check_is_fitted(self, "n_classes_")
        return self._named_features(self._check_inputs(X, reset=False))

    def _named_features(self, X):
        memory = self._memory()
        if memory is None:
            features = self._compute(X)
        else:
            compute = memory.cache(_compute, ignore=["transformer"])
            features = compute(
                self,
                self._content_hash(),
                read_inputs(X, "X", num_workers=self.num_workers),
            )
        return self._named(features)

    def _named(self, features):
        return FeatureArray(features, self._feature_names)

    def _compute(self, X):
        """Compute the features of X, here or in as many processes as asked for."""
        n_workers = count_workers(self, X)
        with rows_named():
            if n_workers == 1:
                return self._compute_rows(X)
            with self._held(self._module(), self._families) as network:
                self._check_network(network)
            return features_by_parts(self, X, n_workers)

    def _compute_rows(self, X):
        """Compute the features of X here; a NotFiniteError has rows of this X."""
        module = self._module()
        with self._held(module, self._families) as network:
            self._check_network(network)
            return self._passes(module, X)

    def _passes(self, module, X, raw=None):
        """Compute the features of X, or of the batches ``raw`` of it, begun already.

        The network is held.
        """
        features = partial(self._features, module)
        options = {"raw": raw, "num_workers": self.num_workers}
        return self._mapped(features, module, X, **options).numpy()

    def _as_taken(self, raw, **options):
        """Return samples as the model takes them; ``options`` of `prepare_batch`."""
        options = {**placement(self._module()), **options}
        shape, integers = self.input_shape_, self.integer_inputs_
        with rows_named():
            return prepare_batch(raw, input_shape=shape, integers=integers, **options)

    def _finite_rows(self, X):
        """Return a mask of the samples that are finite as the model takes them."""
        X = self._check_inputs(X, reset=False)
        dtype, integers = placement(self._module())["dtype"], self.integer_inputs_
        reader = batches(X, self.batch_size, num_workers=self.num_workers)
        masks = [finite_rows(raw, dtype, integers=integers) for raw in reader]
        return np.concatenate(masks)

    def _held(self, module, families):
        """Hold the network still, with the gradients that the families need."""
        norms = merged_options(families.values())["norms"]
        return frozen(module, parameter_gradients=norms)

    def _features(self, module, batch):
        """Return the features of a batch, a tensor (n_samples, n_features_out)."""
        families = self._families.values()
        limits = [family._most_samples() for family in families]
        size = min([len(batch), *(limit for limit in limits if limit is not None)])
        parts = [self._columns(self._run(module, one)) for one in batch.split(size)]
        features = parts[0] if len(parts) == 1 else torch.cat(parts)
        if features.shape[1] != len(self._feature_names):
            raise ValueError(
                f"model gives {features.shape[1]} features, but the one seen by fit "
                f"gave {len(self._feature_names)}. Call fit after changing the model."
            )
        return features

    def _run(self, module, x, *, logits=False, create_graph=False):
        """Return one pass in which all families find what they want.

        With ``logits`` it has the logits in any case.
        """
        every = (family._wants() for family in self._families.values())
        last = self._channels_last
        wanted = reduce(or_, every, Wanted(logits=logits, channels_last=last))
        return NetworkPass(module, x, wanted, create_graph=create_graph)

    def _columns(self, run):
        blocks = [family._columns(run) for family in self._families.values()]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)

    def _memory(self):
        """Return the joblib.Memory to cache with, None if nothing is to be cached."""
        memory = check_memory(self.memory)
        # Other objects with a method cache need not have a location.
        return None if getattr(memory, "location", "") is None else memory

    def _content_hash(self):
        """Hash everything but X that the features depend on."""
        options = {
            name: value.tolist() if hasattr(value, "tolist") else value
            for name, value in self.get_params().items()
            if name not in _WITHOUT_INFLUENCE
        }
        content = (
            __version__,
            type(self).__name__,
            self._network_hash(),
            self.input_shape_,
            self.integer_inputs_,
            # A subclass may choose its columns by the inputs of fit.
            self._feature_names.tolist(),
            [family._learned() for family in self._families.values()],
            options,
        )
        # Only the hash goes to the cache, which writes its arguments down as text.
        return joblib.hash(content)

    def _network_hash(self):
        """Return the hash of the network that fit took, or take it now.

        ``model`` and ``memory`` may be set after fit. Features of another network that
        were stored under the hash of the first would stay wrong on disk.
        """
        module, known = vars(self).get("_hashed", (None, None))
        return known if module is unwrap_model(self.model) else self._hash_network()

    def _hash_network(self):
        """Hash tensors, structure and attributes, such as a temperature, of a network.

        Not the fingerprint of saved files, which knows no attributes of users' modules.
        """
        module = self._module()
        try:
            if not is_portable(module):
                raise TypeError(
                    "modules made by torch.jit, torch.fx or torchao have no hash."
                )
            # Held still, because a copy in training mode has the same features.
            with self._held(module, self._families):
                return joblib.hash(PortableModel(module))
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise ValueError(
                "memory needs a model that can be pickled, so that it is known by its "
                f"content: {error} Define its classes at the top of a file and take "
                "lambdas and hooks off it, or use memory=None."
            ) from error

    def get_feature_names_out(self, input_features=None):
        """Get the names of the feature columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen by `fit`.

        Returns
        -------
        ndarray of str objects of shape (n_features_out,)
            One name per column, in order.
        """
        check_is_fitted(self, "n_classes_")
        if input_features is not None:
            check_feature_names_in(self, input_features)
        return self._feature_names.copy()

    @property
    def _n_features_out(self):
        return len(self._feature_names)


def _compute(transformer, content_hash, X):
    """Compute features; a function of this module, so that joblib can cache it."""
    return transformer._compute(X)
