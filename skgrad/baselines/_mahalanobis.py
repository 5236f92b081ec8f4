"""Mahalanobis distance to the nearest class, in one layer or several."""

from numbers import Real

import numpy as np
import torch
from scipy.linalg import solve_triangular
from torch.nn import functional

from .._compat import Interval
from .._several import floats_of, with_floats
from ..detectors._last_layer import unit_rows
from ..torch_engine.input_gradients import layer_input_gradient
from ._combination import BaseCombination
from ._layers import distances, on_device_of


class Mahalanobis(BaseCombination):
    r"""Mahalanobis distance of layer outputs to the nearest class.

    With a layer's output f, averaged per channel, the means :math:`\mu_c` of the
    classes and their tied covariance :math:`\Sigma`, the confidence of the layer is

    .. math:: M(x) = \max_c -(f(x) - \mu_c)^\top \Sigma^{-1} (f(x) - \mu_c).

    A small step that raises it beforehand raises it more for in-distribution inputs:

    .. math:: \tilde x = x + \epsilon \operatorname{sgn} \nabla_x M(x).

    The paper's four forms are one layer or several (feature ensemble), with ``eps=0``
    or ``eps > 0`` (input pre-processing). For one layer, with the default
    ``combination``, the score is M itself.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    layers : str or array-like of str, default="penultimate"
        Names in ``model.named_modules()``, "logits", or "penultimate" for the input of
        the layer that returns the logits (or, without one, the output of the last layer
        with parameters). "all" takes "penultimate" and every other layer with a matrix
        or kernel of weights that is called once.
    eps : float, default=0.0
        Size of the step, in units of X; 0 for none.
    normalize : bool, default=False
        Whether the outputs are first scaled to length 1, per input and layer, which is
        "Mahalanobis++".
    combination : {"fisher", "logistic"}, default="fisher"
        How the layers become one score. "fisher" adds the logarithms of their p-values
        among in-distribution samples; "logistic", the paper's, learns their weights by
        logistic regression from known anomalies, the rows of X with y = -1.
    reference_fraction : float, default=0.2
        Share of the samples not held out that the combination refers to, if there is
        one; the Gaussians are fitted on the rest.
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
        Draws the held-out samples and those that the combination refers to.

    Attributes
    ----------
    layers_ : list of WatchedLayer
        The layers, as in `LayerActivationTransformer`.
    modelled_classes_ : ndarray of int
        The classes that have means: those predicted for some sample.
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
    skgrad.ClassConditionalGaussian : Distance to the predicted class, over features.
    skgrad.detectors.RMDS : Distance relative to that of all inputs, over features.

    Notes
    -----
    Cost: one forward pass, up to the deepest layer; with ``eps > 0`` two forward
    passes and one backward pass per layer.

    Deviations from the paper. Classes are those that the network predicts, not the
    true ones. A millionth of the mean variance is added to the covariance, so that it
    is regular also with few samples or a constant channel. "fisher" is not the paper's;
    the logistic regression is fitted on other in-distribution samples than the
    Gaussians. As in the paper, the step is not clipped; the paper chooses eps with
    anomalies.

    References
    ----------
    Lee, Lee, Lee, Shin (2018), "A Simple Unified Framework for Detecting
    Out-of-Distribution Samples and Adversarial Attacks", Eq. 1 (Gaussians), Eq. 2
    (confidence), Sec. 2.2 (step), Algorithm 1 (ensemble).

    Müller, Hein (2025), "Mahalanobis++: Improving OOD Detection via Feature
    Normalization".

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import Mahalanobis
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.randn(100, 4)
    >>> detector = Mahalanobis(model, random_state=0).fit(X)
    >>> detector.predict(X[:1] * 50).tolist()
    [-1]
    """

    _parameter_constraints: dict = {
        **BaseCombination._parameter_constraints,
        "eps": [Interval(Real, 0, None, closed="left")],
        "normalize": ["boolean"],
    }

    def __init__(
        self,
        model,
        *,
        layers="penultimate",
        eps=0.0,
        normalize=False,
        combination="fisher",
        reference_fraction=0.2,
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
        self.eps = eps
        self.normalize = normalize
        self.combination = combination
        self.reference_fraction = reference_fraction
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _learn_columns(self, module, X, random_state):
        blocks, predicted = self._gather(module, X)
        self.modelled_classes_ = np.unique(predicted)
        self._gaussians = {
            layer.name: _TiedGaussian(block, predicted, normalize=self.normalize)
            for layer, block in zip(self.layers_, blocks, strict=True)
        }

    def _changes_inputs(self):
        return self.eps > 0

    def _features(self, module, batch):
        # Each layer takes its own step, by the gradient of its own confidence.
        if self.eps:
            blocks = [self._after_step(module, batch, o) for o in self._outputs]
        else:
            blocks = self._activations(module, batch, self._outputs)
        gaussians = self._gaussians.values()
        columns = [g.confidence(b) for g, b in zip(gaussians, blocks, strict=True)]
        return torch.stack(columns, dim=1)

    def _after_step(self, module, batch, output):
        confidence = self._gaussians[output.layer].confidence
        ascent = layer_input_gradient(module, batch, output, confidence)
        # Upwards: the step raises the confidence (Sec. 2.2).
        moved = floats_of(batch) + self.eps * ascent.sign()
        return self._activations(module, with_floats(batch, moved), [output])[0]


class _TiedGaussian:
    """One Gaussian per class with a tied covariance, stored in whitened form."""

    def __init__(self, features, predicted, *, normalize):
        self.normalize = normalize
        if normalize:
            features = unit_rows(features)
        labels, classes = np.unique(predicted, return_inverse=True)
        means = np.stack(
            [features[classes == i].mean(axis=0) for i in range(len(labels))]
        )
        # One covariance for all classes, about the mean of each (Eq. 1).
        deviations = features - means[classes]
        covariance = deviations.T @ deviations / len(features)
        self.centre = means.mean(axis=0)
        self.whiten = _whitening(covariance)
        self.means = (means - self.centre) @ self.whiten

    def confidence(self, features):
        """Return the confidences (n_samples,) of outputs (n_samples, n_channels)."""
        centre, whiten, means = (
            on_device_of(features, array)
            for array in (self.centre, self.whiten, self.means)
        )
        features = features.double()
        if self.normalize:
            features = functional.normalize(features, eps=np.finfo(float).tiny)
        # Centred first: far from the origin the difference would lose digits.
        white = (features - centre) @ whiten
        # Through the nearest class alone: the maximum of Eq. 2 has its gradient.
        with torch.no_grad():
            nearest = distances(white, means).argmin(dim=1)
        return -(white - means[nearest]).square().sum(dim=1)


def _whitening(covariance):
    """Return W with W W^T the inverse of the covariance plus a small ridge."""
    size = len(covariance)
    # Where nothing varied at all, distances are Euclidean.
    ridge = 1e-6 * np.trace(covariance) / size or 1.0
    factor = np.linalg.cholesky(covariance + ridge * np.eye(size))
    return solve_triangular(factor, np.eye(size), lower=True).T.copy()
