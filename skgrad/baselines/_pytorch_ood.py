"""scikit-learn wrapper for the detectors of pytorch-ood."""

import copy
import inspect
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .._conversion import to_numpy
from .._messages import brief, did_you_mean
from .._optional import import_package
from ..detectors._independence import N_ALONE, check_scores_alone
from ..torch_engine.layers import find_head
from ..torch_engine.model_state import (
    as_logits,
    as_returned,
    frozen,
    model_device,
)
from ..torch_engine.restoring import lock_of, torch_seeded
from ..torch_engine.samples import count_samples, take_samples
from ._base import BaseModelDetector


class PyTorchOODDetector(BaseModelDetector):
    """Any detector of pytorch-ood, with scikit-learn's sign and a promised rate.

    The score is the negative of pytorch-ood's, higher = more in-distribution, and the
    threshold comes from held-out samples. Detectors that need fitting are fitted on
    in-distribution inputs, with the classes that the model predicts as their labels.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    detector : str, class or callable
        The name of a detector in ``pytorch_ood.detector``, such as ``"ViM"``, that
        class, or a function that takes the torch module first and returns a detector.
        For names and classes, the parameters ``model``, ``head`` (the
        ``torch.nn.Linear`` that returns the logits), ``encoder`` (its input), ``w`` and
        ``b`` (its weights) are filled in; others, such as ``backbone``, need a function
        or ``options``.
    options : dict, default=None
        Keyword arguments for ``detector``.
    input_shape : array-like of int, default=None
        Shape of one sample, when X comes as 2-D rows.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    verbose : bool or int, default=False
        Whether to show a progress bar.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the samples held out to place the threshold.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples and seeds torch for the detector.

    Attributes
    ----------
    detector_ : pytorch_ood.api.Detector
        The detector, fitted if it needs that.
    module_ : torch.nn.Module
        The copy of the model that the detector works with.
    calibration_scores_ : ndarray of shape (n_held_out,)
        Scores of the held-out samples.
    offset_ : float
        The threshold: lower scores are rejected.
    n_classes_ : int
        Number of logits of the model.
    input_shape_ : tuple of int
        Shape of one sample as the model takes it.
    integer_inputs_ : bool or dict of bool
        Whether whole numbers in X reach the model as integers, not as floats. Of
        several inputs a dict may say so of each, by its name.
    n_features_in_ : int
        Length of the second axis of X.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    skgrad.PyODDetector : The same for PyOD's detectors of feature vectors.

    Notes
    -----
    Needs ``pip install ".[ood]"``. Detectors that need fitting get all inputs at
    once, in memory; some of them need samples of every class, or do not take float64.
    With MCD and OpenMax a score depends on the other samples of the batch, so that no
    threshold keeps its rate: `fit` scores some inputs alone and together, and raises.

    Of the 35 detectors of version 0.4, 25 can be named and used (DICE with the option
    ``p``, MCM with ``text_embeddings``, ViM with ``d``, WeightedEBO with ``weights``).
    Others need a function that cuts the network: ASH, RankFeat, ReAct, SCALE and VRA
    (``backbone`` and ``head``), Gram, MultiMahalanobis and NACUE (``layers``)::

        def react(module):
            return pytorch_ood.detector.ReAct(module.features, module.classifier)

    A pickle holds a detector that needs fitting; any other is made again.

    References
    ----------
    Kirchheim, Filax, Ortmeier (2022), "PyTorch-OOD: A Library for Out-of-Distribution
    Detection based on PyTorch", CVPR Workshops.

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import PyTorchOODDetector
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.randn(100, 4)
    >>> detector = PyTorchOODDetector(model, "KNN", options={"k": 5})
    >>> scores = detector.fit(X).score_samples(X)  # doctest: +SKIP
    """

    _parameter_constraints: dict = {
        **BaseModelDetector._parameter_constraints,
        "detector": [str, callable],
        "options": [dict, None],
    }

    def __init__(
        self,
        model,
        detector,
        *,
        options=None,
        input_shape=None,
        batch_size=128,
        device=None,
        verbose=False,
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
    ):
        self.model = model
        self.detector = detector
        self.options = options
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    # pytorch-ood takes one tensor.
    _takes_several = False

    def _asks(self):
        return {"every": True}

    def _learn(self, probe, X, anomalies, random_state):
        self._copy(probe.module)
        self._seed = random_state.randint(np.iinfo(np.int32).max)
        # The detector is made again from a pickle, with the parameters of fit.
        self._recipe = self.detector, dict(self.options or {})
        if as_returned(probe.logits).shape[1] < 2:
            raise ValueError(
                "model must return two logits or more for pytorch-ood, which takes its "
                "output as it is; got one per sample, z. Wrap the model in a "
                "torch.nn.Module that returns torch.cat([-z / 2, z / 2], dim=1)."
            )
        self._head = find_head(probe)
        self.detector_ = self._make()
        if self.detector_.requires_fit:
            self._fit_detector(X)
        self._check_alone(probe.module, X)

    def _check_alone(self, module, X):
        """Raise if the score of an input depends on the others."""

        def score(rows):
            return self._mapped(partial(self._features, module), module, rows).numpy()

        few = take_samples(X, np.arange(min(N_ALONE, count_samples(X))))
        few = to_numpy(few) if isinstance(few, torch.Tensor) else few
        check_scores_alone(score, few, self._name(), n_copies=20)

    def _fit_detector(self, X):
        loader = self._loader(X)
        try:
            with self._frozen():
                self.detector_.fit(loader)
        except (AssertionError, IndexError, KeyError) as error:
            labels = loader.dataset.tensors[1].unique().tolist()
            raise ValueError(
                f"detector {self._name()} cannot be fitted on X. Some need samples of "
                f"every class, and the model predicts {labels} of {self.n_classes_} "
                f"here ({type(error).__name__}: {error})."
            ) from error

    def _copy(self, module):
        # Tensors made in the caller's inference mode could not be differentiated.
        with lock_of(module), torch.inference_mode(False):
            self.module_ = copy.deepcopy(module)

    def _features(self, module, batch):
        with self._frozen():
            # A copy: a model may work in place.
            anomaly_score = self.detector_.predict(batch.clone())
            anomaly_score = torch.as_tensor(anomaly_score).detach().to(batch.device)
        if anomaly_score.shape != (len(batch),) or anomaly_score.isnan().any():
            raise ValueError(
                f"detector must return one number for each of {len(batch)} samples; "
                f"{self._name()} returns NaN or shape {tuple(anomaly_score.shape)}. "
                "Some need more data, or samples of every class."
            )
        # Turned: scores of pytorch-ood are high for anomalies.
        return -anomaly_score

    @contextmanager
    def _frozen(self):
        """Freeze the copy of the model and seed torch."""
        gradients = isinstance(self.detector_, _library().GradientDetector)
        device = model_device(self.module_)
        # The same seed in each call, so that a score is the same each time.
        with (
            torch_seeded(self._seed, device),
            frozen(self.module_, parameter_gradients=gradients),
        ):
            yield

    def _make(self):
        """Make the detector around the copy of the model."""
        make, options = self._recipe
        library = _library()
        if isinstance(make, str):
            make = _by_name(make, library)
        try:
            if isinstance(make, type) and issubclass(make, library.Detector):
                detector = make(**self._filled_in(make, options))
            else:
                detector = make(self.module_, **options)
        except (TypeError, AttributeError) as error:
            raise ValueError(
                f"detector {self._name()} cannot be made from the model and options "
                f"{sorted(options)}: {error}. Pass what is missing in options, or a "
                "function that takes the torch module and returns the detector."
            ) from error
        if not isinstance(detector, library.Detector):
            raise TypeError(
                "detector must return a detector of pytorch-ood; "
                f"{self._name()} returns {type(detector).__name__}."
            )
        return detector.to(model_device(self.module_))

    def _filled_in(self, cls, options):
        """Return the options and the constructor's parameters that the model gives."""
        wanted = set(inspect.signature(cls).parameters) - set(options)
        known = {"model": self.module_}
        if wanted & {"encoder", "w", "b"}:
            known |= self._of_head()
        return {**{key: known[key] for key in wanted & set(known)}, **options}

    def _of_head(self):
        """Return the parameters that come from the layer that returns the logits."""
        head = None if self._head is None else self.module_.get_submodule(self._head)
        if not isinstance(head, nn.Linear):
            raise ValueError(
                f"detector {self._name()} needs a model whose logits a torch.nn.Linear "
                "returns. Pass a function of the torch module in place of the name."
            )
        weight = head.weight.detach()
        zeros = weight.new_zeros(len(weight))
        bias = zeros if head.bias is None else head.bias.detach()
        encoder = _HeadInput(self.module_, head)
        return {"encoder": encoder, "head": head, "w": weight, "b": bias}

    def _loader(self, X):
        """Return batches of inputs and predicted classes, as pytorch-ood takes them."""
        inputs = self._mapped(lambda batch: batch, self.module_, X)
        with frozen(self.module_):
            labels = self._mapped(self._classes_of, self.module_, inputs)
        # Without a generator the loader would draw a seed from the global one.
        return DataLoader(
            TensorDataset(inputs, labels),
            batch_size=self.batch_size,
            generator=torch.Generator(),
        )

    def _classes_of(self, batch):
        return as_logits(self.module_(batch), len(batch)).argmax(dim=1)

    def _name(self):
        detector = self._recipe[0]
        return getattr(detector, "__name__", None) or brief(detector)

    def __getstate__(self):
        state = super().__getstate__()
        # Some hold functions that cannot be pickled; those without fit are made again.
        if "detector_" in state and not state["detector_"].requires_fit:
            state["detector_"] = None
        return state

    def _to_saved(self, state, networks):
        state = super()._to_saved(state, networks)
        if "module_" in state:
            state["module_"] = None  # a copy of the network
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if state.get("module_", self) is None:
            self._copy(self._module())
        if state.get("detector_", self) is None:
            self.detector_ = self._make()


class _HeadInput(nn.Module):
    """The input of the layer that returns the logits, as a module."""

    def __init__(self, module, head):
        super().__init__()
        self.module = module
        self.head = head

    def forward(self, x):
        taken = []
        with self.head.register_forward_pre_hook(lambda _, args: taken.append(args[0])):
            self.module(x.clone())
        # The last, as a model may also call this layer earlier.
        return taken[-1].clone()


def _library():
    """Import pytorch-ood; the error says how to install it."""
    import_package("pytorch_ood.detector", "PyTorchOODDetector needs", "ood")
    return import_package("pytorch_ood.api", "PyTorchOODDetector needs", "ood")


def _by_name(name, library):
    """Look up a detector of pytorch-ood."""
    import pytorch_ood.detector

    kinds = inspect.getmembers(pytorch_ood.detector, inspect.isclass)
    found = {key: kind for key, kind in kinds if issubclass(kind, library.Detector)}
    if name not in found:
        raise ValueError(
            f"detector must name a detector of pytorch-ood; got {name!r}."
            f"{did_you_mean(name, found)} Valid names are {', '.join(sorted(found))}."
        )
    return found[name]
