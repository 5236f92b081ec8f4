"""Base of the estimators around a torch model: inputs, device, cloning, pickling."""

import copy
import math
import weakref
from abc import ABCMeta
from functools import partial
from itertools import chain
from numbers import Integral

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data
from torch import nn

from .._compat import Interval
from .._finite import rows_named
from .._messages import brief, warn
from .._several import (
    Several,
    check_entries,
    check_one_or_several,
    joined,
    only_one,
    sample_shape,
)
from .._validation import DATASETS, check_inputs, no_samples, sparse_as_dataset
from ..torch_engine.batching import batches, map_batches, prepare_batch
from ..torch_engine.integer_inputs import takes_integers
from ..torch_engine.model_state import on_device, placement, unwrap_model
from ..torch_engine.network import Network
from ..torch_engine.probe import N_SAMPLES
from ..torch_engine.samples import N_COMPARED
from ._portable import PortableModel, UnpicklableModel, stand_in
from ._saved_state import SavedStateMixin


class BaseModelEstimator(SavedStateMixin, BaseEstimator, metaclass=ABCMeta):
    """Base of the estimators that hold a torch model and take its inputs."""

    _parameter_constraints: dict = {
        "model": "no_validation",  # the message of unwrap_model says more
        "input_shape": ["array-like", None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device, None],
        "verbose": ["verbose"],
    }

    # Whether the model may have several inputs.
    _takes_several = True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _begin(self, X, batch_size, *, n_first=N_COMPARED, num_workers=0):
        """Begin to read X.

        Returns its first ``n_first`` samples, some more than a probe takes, as they
        came; how many of them go through the network together; and all batches, the
        first included.
        """
        reader = batches(X, batch_size, num_workers=num_workers)
        read = []
        for raw in reader:
            read.append(raw)
            if sum(map(len, read)) >= n_first:
                break
        if not read:
            raise ValueError(no_samples())
        # Batches of other shapes raise where they are computed.
        shape = sample_shape(read[0])
        alike = [raw for raw in read if sample_shape(raw) == shape]
        if isinstance(read[0], Several) and not self._takes_several:
            raise TypeError(only_one(read[0]))
        together = min(self.batch_size, len(read[0]))
        return joined(alike)[:n_first], together, chain(read, reader)

    def _prepare(self, module, raw, together):
        """Return samples for a probe as the model takes them; see as what it does.

        They are a few more than it needs, unless fewer go ``together``.
        """
        shape, few = checked_input_shape(self.input_shape), raw[:N_SAMPLES]
        options = {"input_shape": shape, **placement(module)}
        with rows_named():
            prepare = partial(prepare_batch, few, **options)
            self.integer_inputs_ = takes_integers(module, few, prepare)
            n_samples = max(N_SAMPLES, min(N_COMPARED, together))
            options["integers"] = self.integer_inputs_
            return prepare_batch(raw[:n_samples], **options)

    def _mapped(self, function, module, X, **options):
        """Apply a function to batches of X as the model takes them; see `map_batches`.

        Returns its results, a Tensor (n_samples, ...) on the CPU.
        """
        return map_batches(
            function,
            X,
            batch_size=self.batch_size,
            progress=type(self).__name__ if self.verbose else None,
            input_shape=self.input_shape_,
            integers=self.integer_inputs_,
            **placement(module),
            **options,
        )

    def get_params(self, deep=True):
        """Get the parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Without effect: setting a parameter of a skorch net would change it.

        Returns
        -------
        dict
            Parameter names mapped to their values.
        """
        return super().get_params(deep=False)

    def _module(self, *, renew=False):
        """Return the network where it computes: itself, or its copy on ``device``.

        The copy is made once, in fit. It is renewed by the next fit, for another model
        and for another device.
        """
        module = unwrap_model(self.model)
        source, device, placed = vars(self).get("_device_copy", (None, None, None))
        if source is module and device == self.device and not renew:
            return placed
        placed = on_device(module, self.device)
        self.__dict__.pop("_device_copy", None)
        if placed is not module:
            self._device_copy = module, self.device, placed
        return placed

    def _remember_network(self, network, version):
        """Note the state of the network, held still, for `_check_network`.

        ``version`` is that before the first pass: a network that writes to its own
        parameters, as embeddings with a ``max_norm`` do, is not checked.
        """
        self.__dict__.pop("_seen", None)
        if version == self._version(network):
            self._seen = weakref.ref(unwrap_model(self.model)), version

    def _check_network(self, network):
        """Warn once if the network was changed since fit.

        Only writes that torch counts are noticed, as those of optimisers and
        ``load_state_dict`` are.
        """
        # What was unpickled or loaded has no count of the past.
        if "_seen" not in vars(self):
            return
        seen = weakref.ref(unwrap_model(self.model)), self._version(network)
        if seen == self._seen:
            return
        self._seen = seen
        warn(
            "model has changed since fit: it was trained, loaded or replaced. The "
            "detector knows the one before, so its threshold may not hold. Call fit "
            "again.",
            UserWarning,
        )

    def _version(self, network):
        module = unwrap_model(self.model)
        # The copy on another device does not change with the model of the user.
        return (network if network.module is module else Network(module)).version()

    def _check_inputs(self, X, *, reset):
        """Check what can be checked without reading all of a memmap or Dataset.

        Values are checked batch by batch, dtypes are cast there.
        """
        X = self._check_kind(X, reset)
        if isinstance(X, DATASETS):
            return X
        if isinstance(X, Several):
            if reset:
                self._remember_width(X)
            return X
        shape = tuple(X.shape[1:])
        if not reset:
            self._check_shape(shape)
        if not (isinstance(X, torch.Tensor) or self._is_plain(X)):
            if len(shape) == 1 and (reset or shape[0] == self.n_features_in_):
                # For data frames and feature names.
                return validate_data(self, X, reset=reset, ensure_all_finite=False)
            X = check_array(X, allow_nd=True, ensure_all_finite=False, input_name="X")
        if reset:
            self._remember_width(X)
        return X

    def _check_kind(self, X, reset):
        """Check the kind of X, and its number and names of inputs."""
        X = sparse_as_dataset(X)
        if not self._takes_several:
            return check_inputs(X)
        expected = None if reset else self.input_shape_
        n_inputs = len(expected) if isinstance(expected, dict) else None
        X = check_one_or_several(X, n_inputs=n_inputs)
        if isinstance(X, Several) or (n_inputs and not isinstance(X, DATASETS)):
            check_entries(X, expected)
        return X

    def _is_plain(self, X):
        """Return True for arrays of numbers, if no column names have to be compared.

        scikit-learn would return them as they are, after checks that take longer than a
        small network.
        """
        array = type(X) in (np.ndarray, np.memmap) and X.dtype.kind in "biuf"
        return array and not hasattr(self, "feature_names_in_")

    def _check_shape(self, shape):
        """Compare the shape of a sample with those seen by fit."""
        # Sequences of tokens may have any length.
        if vars(self).get("integer_inputs_") and len(shape) == len(self.input_shape_):
            return
        rows = (math.prod(self.input_shape_),)
        takes_rows = self.input_shape is not None or len(self.input_shape_) == 1
        if shape == self.input_shape_ or (takes_rows and shape == rows):
            return
        if len(shape) == len(self.input_shape_) == 1:
            raise ValueError(
                f"X has {shape[0]} features, but {type(self).__name__} is expecting "
                f"{rows[0]} features as input."
            )
        hint = "" if takes_rows else " To give rows, set input_shape=."
        if shape == self.input_shape_[1:]:
            hint = " A single sample x is x[None]."
        elif shape == (*self.input_shape_[1:], self.input_shape_[0]):
            hint = " Put the channels first: np.moveaxis(X, -1, 1)."
        raise ValueError(
            f"X must hold samples of shape {self.input_shape_}, as those seen by fit"
            f"{f', or rows of {rows[0]} values' if takes_rows else ''}; got samples of "
            f"shape {shape}.{hint}"
        )

    def _remember_width(self, X):
        """Set what validate_data sets, for inputs that have no column names."""
        self.__dict__.pop("n_features_in_", None)
        # One of several inputs may have a single number per sample.
        if len(X.shape) > 1:
            self.n_features_in_ = X.shape[1]
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    # The network belongs to the user: clones refer to it, pickles carry it, and files
    # of `skgrad.save` hold its fingerprint.

    def __sklearn_clone__(self):
        # scikit-learn would copy the network, or make a skorch net an untrained one.
        twin = copy.copy(self)
        twin.model = FrozenEstimator(self.model)
        fresh = BaseEstimator.__sklearn_clone__(twin)
        fresh.model = self.model
        return fresh

    def __getstate__(self):
        state = super().__getstate__()
        for name in ("_device_copy", "_hashed", "_seen"):  # they hold networks
            state.pop(name, None)
        # Anything else is no model, which fit reports.
        module = getattr(state["model"], "module_", state["model"])
        if isinstance(module, nn.Module):
            state["model"] = stand_in(self.model, module)
        return state

    def __setstate__(self, state):
        # A shallow copy hands the state over as it is, without pickling it.
        if isinstance(state["model"], (PortableModel, UnpicklableModel)):
            state = {**state, "model": state["model"].model}
        super().__setstate__(state)

    def _to_saved(self, state, networks):
        # A folder, a device and a number of processes belong to one machine.
        local = dict.fromkeys({"memory", "device", "n_jobs"} & state.keys())
        return {**state, **local, "model": networks.identify(self.model)}

    def _from_saved(self, state, networks):
        return {**state, "model": networks.find(state["model"])}


def checked_input_shape(input_shape):
    """Return the parameter as a tuple of int, or None."""
    if input_shape is None:
        return None
    shape = tuple(input_shape)
    if not shape or not all(isinstance(n, Integral) and int(n) >= 1 for n in shape):
        raise ValueError(
            "input_shape must be None or positive integers, the shape of one sample "
            f"such as (1, 28, 28); got {brief(input_shape)}."
        )
    return shape
