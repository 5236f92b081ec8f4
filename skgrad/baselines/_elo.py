"""ELO: one-class support vectors in one early layer."""

from numbers import Real

import numpy as np

from .._compat import Interval, StrOptions
from .._docstrings import in_words_of_its_own
from ..detectors._decision import LEFT_OUT
from ..detectors._svdd import SVDD
from ..model_selection import MostDiscriminativeLayer
from ..torch_engine.activations import as_names
from ..torch_engine.samples import count_samples, join_samples
from ._layers import BaseLayersDetector


@in_words_of_its_own(
    {LEFT_OUT: "which choose the layer, where there are several to choose from."}
)
class ELO(BaseLayersDetector):
    r"""One-class support vectors in an early-layer output.

    Early layers keep what shows that an input belongs to none of the classes. A
    one-class support vector machine is fitted on the outputs of the most discriminative
    layer f, all classes together. With its support vectors :math:`x_i` and their
    coefficients :math:`\alpha_i`, the score is

    .. math:: \sum_i \alpha_i \exp(-\gamma \lVert f(x) - f(x_i) \rVert^2).

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    layers : str or array-like of str, default=None
        The layer, or several to choose from: names in ``model.named_modules()``,
        "logits", or "penultimate" for the input of the layer that returns the logits.
        None takes the candidates of `MostDiscriminativeLayer`.
    nu : float, default=0.001
        Upper bound on the share of samples outside the description, in (0, 1].
    gamma : {"scale", "auto"} or float, default="scale"
        Coefficient of the RBF kernel, as in :class:`sklearn.svm.OneClassSVM`.
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
        Draws the held-out samples and those that the layer is chosen on.

    Attributes
    ----------
    layers_ : list of WatchedLayer
        The layer, as in `LayerActivationTransformer`.
    calibration_scores_ : ndarray of shape (n_held_out,)
        Scores of the held-out samples.
    offset_ : float
        The threshold: lower scores are rejected.
    n_classes_ : int
        Number of logits of the model.
    input_shape_ : tuple of int
        Shape of one sample as the model takes it; of several inputs, a dict.
    integer_inputs_ : bool or dict of bool
        Whether whole numbers in X reach the model as integers, not as floats. Of
        several inputs a dict may say so of each, by its name.
    n_features_in_ : int
        Length of the second axis of X.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    skgrad.MostDiscriminativeLayer : The choice of the layer, with its parameters.
    skgrad.PerClassSVDD : The same idea per predicted class, in two layers.

    Notes
    -----
    Cost: one forward pass up to the layer. The time of `fit` grows with the square of
    the number of samples.

    The paper chooses the layer on out-of-distribution samples: here the rows of X with
    y = -1, which are used for nothing else, or else anomalies that are generated as by
    `MostDiscriminativeLayer`. Outputs are averaged per channel and standardised. The
    threshold is that of ``target_fpr``, not that of the support vector machine.

    References
    ----------
    Abdelzad et al. (2019), "Detecting Out-of-Distribution Inputs in Deep Neural
    Networks Using an Early-Layer Output".

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import ELO
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 3))
    >>> X = torch.randn(100, 4)
    >>> detector = ELO(model, random_state=0).fit(X)
    >>> detector.layers_[0].name, detector.predict(X[:1] * 50).tolist()
    ('0', [-1])
    """

    _parameter_constraints: dict = {
        **BaseLayersDetector._parameter_constraints,
        "layers": [str, "array-like", None],
        "nu": [Interval(Real, 0, 1, closed="right")],
        "gamma": [
            StrOptions({"scale", "auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
    }

    def __init__(
        self,
        model,
        *,
        layers=None,
        nu=0.001,
        gamma="scale",
        input_shape=None,
        batch_size=128,
        device=None,
        verbose=False,
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
    ):
        self.model = model
        self.layers = layers
        self.nu = nu
        self.gamma = gamma
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _learn(self, probe, X, anomalies, random_state):
        module = probe.module
        layers = None if self.layers is None else as_names(self.layers)
        # Without a choice of layers no anomalies are needed.
        if layers is None or len(layers) > 1:
            layers = [self._choose(module, X, anomalies, random_state)]
        self._find_layers(probe, layers)
        (features,), _ = self._gather(module, X)
        # One description for all classes, as in the paper; its own threshold is unused.
        self._svm = SVDD(self.nu, self.gamma).fit(features)

    def _choose(self, module, X, anomalies, random_state):
        """Return the most discriminative layer."""
        choice = MostDiscriminativeLayer(
            module,
            self.layers,
            nu=self.nu,
            input_shape=self.input_shape,
            batch_size=self.batch_size,
            verbose=self.verbose,
            random_state=random_state,
        )
        # The choice takes its anomalies as rows of X with y = -1, as fit does.
        y = np.ones(count_samples(X))
        if anomalies is not None:
            y = np.append(y, -np.ones(count_samples(anomalies)))
            X = join_samples(X, anomalies)
        return choice.fit(X, y).layer_

    def _features(self, module, batch):
        return self._activations(module, batch, self._outputs)[0]

    def _score(self, features):
        return self._svm.score(features)
