"""Paper C: the most discriminative layer, chosen with or without anomalies."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._compat import Interval
from .._docstrings import in_words_of_its_own
from .._messages import brief, warn
from .._several import Several, integers_in
from ..detectors._decision import anomaly_labels
from ..detectors._svdd import SVDD
from ..feature_extraction import LayerActivations, LayerActivationTransformer
from ..feature_extraction._model_estimator import checked_input_shape
from ..metrics import auroc, detection_accuracy
from ..torch_engine.activations import LOGITS
from ..torch_engine.batching import prepare_batch
from ..torch_engine.hidden_layers import HIDDEN, hidden_parts
from ..torch_engine.layer_outputs import AUTO
from ..torch_engine.layers import candidate_layers
from ..torch_engine.model_state import model_dtype, unwrap_model
from ..torch_engine.samples import count_samples, take_samples
from ._anomalies import generate_anomalies


@in_words_of_its_own(
    {
        "y : Ignored": "y : array-like of shape (n_samples,), default=None",
        "Not used, present for API consistency by convention.": (
            "+1 for in-distribution samples and -1 for anomalies, as in `fit`."
        ),
    }
)
class MostDiscriminativeLayer(LayerActivationTransformer):
    r"""Outputs of the layer that separates anomalies best, and the logits.

    The most discriminative layer (MDL) of paper C is the one whose one-class detector,
    without classes, has the lowest detection error

    .. math:: \min_\tau \; \tfrac12 P_\mathrm{ID}(g^\ell(x) < \tau)
              + \tfrac12 P_\mathrm{anomaly}(g^\ell(x) \ge \tau),

    with :math:`g^\ell` the support vector data description of the outputs of layer
    :math:`\ell`. It is fitted on one half of the in-distribution samples, and the
    other half is compared with anomalies.

    The anomalies are the rows of X with y = -1, if y holds +1 and -1, as in the paper.
    Otherwise they are generated from the in-distribution samples and noise.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    layers : str or array-like of str, default=None
        The candidates, names in ``model.named_modules()``, early ones first, without
        logits. None takes every module without children that has parameters, is called
        once and returns a row per sample; of transformers the blocks.
    nu : float, default=0.001
        Bound on the share of samples outside the description, in (0, 1]; ELO's default.
    max_samples : int, default=2000
        Largest number of in-distribution samples, and of given anomalies, to use.
    pooling : {"mean", "max", "first", "last", "none"}, default="mean"
        What becomes of the positions of each channel: mean (the paper's), largest
        value, that at the first or last position of sequences, or all; padding as in
        `LayerActivationTransformer`.
    channel_axis : "auto", int or dict of str to int, default="auto"
        The axis of the channels in the outputs of layers, as in
        `LayerActivationTransformer`.
    input_shape : array-like of int, default=None
        Shape of one sample, if X comes as 2-D rows.
    batch_size : int, default=128
        Samples per pass.
    num_workers : int, default=0
        Processes that read the samples of a Dataset; 0 reads them in this one.
    n_jobs : int, default=None
        Processes that compute the features of parts of X, by joblib. None is 1 unless
        in a ``joblib.parallel_config``, -1 is one for each processor.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device. Another one takes a copy.
    memory : str or joblib.Memory, default=None
        Cache of the features on disk, as in scikit-learn's Pipeline.
    verbose : bool, default=False
        Whether to show a progress bar.
    random_state : int, RandomState instance or None, default=None
        Draws the samples, their halves and the anomalies.

    Attributes
    ----------
    layer_ : str
        The most discriminative layer.
    candidates_ : list of str
        The candidates.
    layers_ : list of WatchedLayer
        The layers that `transform` returns, with the logits, as in
        `LayerActivationTransformer`.
    errors_, aurocs_ : dict of str to float
        Detection error, in [0, 0.5], and AUROC of each candidate, means over the kinds
        of generated anomalies.
    anomalies_used_ : {"given", "generated"}
        Where the anomalies came from.
    n_classes_, input_shape_ : int and tuple of int
        Number of logits, and shape of one sample as the model sees it.
    integer_inputs_ : bool or dict of bool
        Whether whole numbers in X reach the model as integers, not as floats. Of
        several inputs a dict may say so of each, by its name.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Length of the second axis of X, and its names if X was a data frame.

    See Also
    --------
    skgrad.PerClassSVDD : The paper's detector over these features.

    Notes
    -----
    Cost of `fit`: one forward pass for all candidates over ``max_samples`` samples and
    one over the anomalies, 5 * ``max_samples`` / 2 if they are generated; the time of a
    description grows with the square of its samples. `transform` costs one pass.

    Generated are: uniform noise; inputs with Gaussian noise of 1/4 and of 1/2 of the
    data's standard deviation; inputs whose positions come from different inputs; blends
    of two inputs. If a certain kind of anomaly is expected, give examples of it. Equal
    errors are decided by the AUROC, then by the order of the layers.

    References
    ----------
    Zhao et al., "A Uniform Framework for Anomaly Detection in Deep Neural Networks",
    Sec. 3, step 1.

    Abdelzad et al. (2019), "Detecting Out-of-Distribution Inputs in Deep Neural
    Networks Using an Early-Layer Output", the procedure (ELO).

    Examples
    --------
    >>> import torch
    >>> from sklearn.pipeline import make_pipeline
    >>> from skgrad import MostDiscriminativeLayer, PerClassSVDD
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 6),
    ...     torch.nn.Tanh(), torch.nn.Linear(6, 2),
    ... )
    >>> X = torch.randn(200, 2) @ torch.randn(2, 8)
    >>> choice = MostDiscriminativeLayer(model, random_state=0)
    >>> detector = make_pipeline(choice, PerClassSVDD(random_state=0)).fit(X)
    >>> detector[0].candidates_, detector[0].layer_
    (['0', '2'], '0')
    >>> detector.predict(X[:1] * 50).tolist()
    [-1]
    """

    _parameter_constraints: dict = {
        **LayerActivationTransformer._parameter_constraints,
        "layers": [str, "array-like", None],
        "nu": [Interval(Real, 0, 1, closed="right")],
        # At least one to fit on and one to compare.
        "max_samples": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        model,
        layers=None,
        *,
        nu=0.001,
        max_samples=2000,
        pooling="mean",
        channel_axis=AUTO,
        input_shape=None,
        batch_size=128,
        num_workers=0,
        n_jobs=None,
        device=None,
        memory=None,
        verbose=False,
        random_state=None,
    ):
        super().__init__(
            model,
            layers,
            pooling=pooling,
            channel_axis=channel_axis,
            input_shape=input_shape,
            batch_size=batch_size,
            num_workers=num_workers,
            n_jobs=n_jobs,
            device=device,
            memory=memory,
            verbose=verbose,
        )
        self.nu = nu
        self.max_samples = max_samples
        self.random_state = random_state

    def fit(self, X, y=None):
        """Choose the layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, finite and scaled as in the training of the model.
        y : array-like of shape (n_samples,), default=None
            +1 for in-distribution samples and -1 for anomalies. Without these labels
            all samples are in-distribution; 0 and 1 give a warning that they are not
            taken for them.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        return super().fit(X, y)

    def _fit(self, X, y, *, transform=False):
        random_state = check_random_state(self.random_state)
        self._choose(self._check_inputs(X, reset=True), y, random_state)
        return super()._fit(X, y, transform=transform)

    def _choose(self, X, y, random_state):
        """Set ``layer_`` and the attributes that explain it."""
        normal, anomalous = self._draw(X, y, random_state)
        inputs = self._inputs(X, normal)
        # The rows are in random order, so the halves are random as well.
        half = (len(inputs) + 1) // 2
        candidates = self._candidates().fit(inputs)
        # Generated from the half that they are compared with: made of samples of the
        # fit, slightly changed ones would score higher than in-distribution samples.
        if len(anomalous):
            anomalies = iter([self._inputs(X, anomalous)])
        elif isinstance(inputs, Several) or candidates.integer_inputs_:
            raise ValueError(
                "y must label anomalies -1 among inputs that are whole numbers or "
                "several; of one array of floats alone they can be generated. Or name "
                "the layer yourself: LayerActivationTransformer, and ELO with a single "
                "one in layers, need no anomalies."
            )
        else:
            anomalies = generate_anomalies(self._as_floats(inputs[half:]), random_state)
        scores = _score_layers(candidates, inputs, half, anomalies, self.nu)
        self.candidates_ = list(scores)
        self.errors_ = {layer: error for layer, (error, _) in scores.items()}
        self.aurocs_ = {layer: area for layer, (_, area) in scores.items()}
        self.anomalies_used_ = "given" if len(anomalous) else "generated"
        self.layer_ = best_layer(scores)
        # 0.5 is the error of accepting everything.
        if self.errors_[self.layer_] >= 0.5:
            warn(
                f"No layer separates the {self.anomalies_used_} anomalies from the "
                f"other samples, so layer_={self.layer_!r} is arbitrary. Check that X "
                "varies, and give more samples.",
                UserWarning,
            )

    def _draw(self, X, y, random_state):
        """Draw the rows of in-distribution samples and of anomalies for the choice."""
        labels = anomaly_labels(y, count_samples(X))
        normal, anomalous = (
            random_state.permutation(np.flatnonzero(labels == label))[
                : self.max_samples
            ]
            for label in (1, -1)
        )
        if len(normal) < 2:
            raise ValueError(
                "X must hold at least 2 in-distribution samples, one to fit on and one "
                f"to compare; got n_samples={len(normal)}."
            )
        return normal, anomalous

    def _inputs(self, X, rows):
        """Return rows of X in their shape, whole numbers as they are."""
        raw = take_samples(X, rows, num_workers=self.num_workers)
        return prepare_batch(
            raw,
            input_shape=checked_input_shape(self.input_shape),
            device=torch.device("cpu"),
            dtype=self._floating_dtype(),
            integers=integers_in(raw),
        )

    def _as_floats(self, inputs):
        """Return inputs as an array of the floats that the model takes."""
        return inputs.to(self._floating_dtype()).numpy()

    def _floating_dtype(self):
        # numpy has no bfloat16.
        return torch.promote_types(model_dtype(unwrap_model(self.model)), torch.float32)

    def _candidates(self):
        """Return the transformer that gives the outputs of all candidates."""
        return LayerCandidates(
            self.model,
            self.layers,
            pooling=self.pooling,
            channel_axis=self.channel_axis,
            batch_size=self.batch_size,
            device=self.device,
            memory=self.memory,
            verbose=self.verbose,
        )

    def _make_families(self):
        # Detectors per class expect the logits last.
        return {"": self._family([self.layer_, LOGITS])}


class LayerCandidates(LayerActivationTransformer):
    """The outputs of all candidates from one forward pass."""

    def _make_families(self):
        return {"": self._family(self.layers, _Candidates)}


class _Candidates(LayerActivations):
    def _find_layers(self, probe):
        if self.layers is None:
            layers = candidate_layers(probe)
        else:
            layers = super()._find_layers(probe)
        hidden = HIDDEN if hidden_parts(probe.module) else ""
        _check_candidates(self.layers, layers, hidden)
        return layers


def _check_candidates(layers, found, hidden):
    if LOGITS in found:
        raise ValueError(
            f"layers must name candidates other than 'logits'; got {brief(layers)}. "
            "Leave it out: transform adds it."
        )
    if layers is None and not found:
        raise ValueError(
            "model must have a layer to choose; apart from the logits it has no module "
            "with parameters that is called once and returns a tensor."
            + (hidden or " Name candidates with layers=.")
        )


def _score_layers(candidates, inputs, half, anomalies, nu):
    """Return detection error and AUROC of each layer, means over kinds of anomalies."""
    features = np.asarray(candidates.transform(inputs))
    names = [layer.name for layer in candidates.layers_]
    ends = np.cumsum([layer.n_columns for layer in candidates.layers_])
    columns = dict(zip(names, map(slice, [0, *ends], ends), strict=False))
    svdds = {
        name: SVDD(nu).fit(features[:half, column]) for name, column in columns.items()
    }
    normal = {
        name: svdds[name].score(features[half:, column])
        for name, column in columns.items()
    }
    found: dict[str, list] = {name: [] for name in columns}
    for kind in anomalies:
        features = np.asarray(candidates.transform(kind))
        for name, column in columns.items():
            anomalous = svdds[name].score(features[:, column])
            y = np.repeat([1, -1], [len(normal[name]), len(anomalous)])
            scores = np.concatenate([normal[name], anomalous])
            error = 1 - detection_accuracy(y, scores)
            found[name].append((error, auroc(y, scores)))
    return {
        name: tuple(np.mean(pairs, axis=0).tolist()) for name, pairs in found.items()
    }


def best_layer(scores):
    """Return the layer of lowest error, then of highest AUROC, then the first."""

    def rank(layer):
        error, area = scores[layer]
        # Rounded, because means of equal errors may differ in their last digit. The
        # AUROC is turned, as min takes the lowest; of equals it takes the first.
        return round(error, 9), -round(area, 9)

    return min(scores, key=rank)
