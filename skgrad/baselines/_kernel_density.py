"""Kernel density in the last hidden layer, and uncertainty under dropout."""

from numbers import Integral, Real

import numpy as np
import torch

from .._compat import Interval
from .._several import call
from ..torch_engine.dropout import dropout_layers, shared_dropout
from ..torch_engine.model_state import as_logits
from ._combination import BaseCombination
from ._layers import distances, on_device_of, one_layer

# Samples that the bandwidth is chosen on: the time grows with their square.
_FOR_BANDWIDTH = 1000


class KernelDensityUncertainty(BaseCombination):
    r"""Kernel density and Bayesian uncertainty (KD+BU).

    An adversarial input lies far from the samples of its predicted class, or near a
    boundary, where dropping units at random changes the prediction. With the output f
    of the last hidden layer, its width d, the in-distribution samples :math:`X_t`
    predicted as the same class t as x, and the bandwidth h, the density is

    .. math:: K(x) = \frac{1}{|X_t|} \sum_{x_i \in X_t}
        \frac{\exp(-\lVert f(x) - f(x_i) \rVert^2 / 2 h^2)}{(2 \pi h^2)^{d/2}}.

    With the softmax :math:`p_t` of T = ``n_passes`` forward passes under dropout, the
    uncertainty is

    .. math:: U(x) = \frac{1}{T} \sum_t p_t^\top p_t
        - \Bigl(\frac{1}{T} \sum_t p_t\Bigr)^{\!\top}
          \Bigl(\frac{1}{T} \sum_t p_t\Bigr).

    :math:`\log K` and :math:`-U` are combined. With ``n_passes=0`` and the default
    ``combination``, the score is :math:`\log K`.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    layers : str or array-like of one str, default="penultimate"
        The last hidden layer: a name in ``model.named_modules()``, "logits", or
        "penultimate" for the input of the layer that returns the logits.
    bandwidth : float, default=None
        The bandwidth h, in units of the layer's output. None takes the one of largest
        leave-one-out likelihood on at most 1,000 in-distribution samples.
    n_passes : int, default=50
        Forward passes under dropout, two or more; 0 for the density alone.
    combination : {"fisher", "logistic"}, default="fisher"
        How both become one score. "fisher" adds the logarithms of their p-values
        among in-distribution samples; "logistic", the paper's, learns their weights by
        logistic regression from known anomalies, the rows of X with y = -1.
    reference_fraction : float, default=0.2
        Share of the samples not held out that the combination refers to, if there is
        one; the density is that of the rest.
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
        Draws the held-out samples, those for combination and bandwidth, and dropout.

    Attributes
    ----------
    layers_ : list of WatchedLayer
        The layer, as in `LayerActivationTransformer`.
    bandwidth_ : float
        The bandwidth.
    modelled_classes_ : ndarray of int
        The classes that have densities of their own.
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

    Notes
    -----
    Cost: ``n_passes`` + 1 forward passes.

    Deviations from the paper. A dropout pass drops the same units for all samples, so
    that a score does not depend on the batch-mates; only dropout modules of torch are
    active. In-distribution samples are grouped by predicted class, not by the true one;
    for a class that was predicted for none of them, the density is that of all.
    "fisher" is not the paper's, which learns to distinguish adversarial inputs from
    in-distribution and noisy ones.

    References
    ----------
    Feinman, Curtin, Shintre, Gardner (2017), "Detecting Adversarial Samples from
    Artifacts", density estimates, Bayesian uncertainty and their combination.

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import KernelDensityUncertainty
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(4, 3))
    >>> X = torch.randn(100, 4)
    >>> detector = KernelDensityUncertainty(model, n_passes=10, random_state=0).fit(X)
    >>> detector.predict(X[:1] * 50).tolist()
    [-1]
    """

    _parameter_constraints: dict = {
        **BaseCombination._parameter_constraints,
        "bandwidth": [Interval(Real, 0, None, closed="neither"), None],
        "n_passes": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        model,
        *,
        layers="penultimate",
        bandwidth=None,
        n_passes=50,
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
        self.bandwidth = bandwidth
        self.n_passes = n_passes
        self.combination = combination
        self.reference_fraction = reference_fraction
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _count_columns(self, probe):
        if self.n_passes == 1:
            raise ValueError("n_passes must be 0 or at least 2: one has no variance.")
        if self.n_passes and not dropout_layers(probe.module):
            raise ValueError(
                "model must have dropout modules, such as torch.nn.Dropout, for the "
                "uncertainty; it has none with a probability above 0. Set n_passes=0 "
                "for the density alone."
            )
        self._find_layers(probe, one_layer(self.layers))
        return 2 if self.n_passes else 1

    def _learn_columns(self, module, X, random_state):
        (features,), predicted = self._gather(module, X)
        largest = np.iinfo(np.int32).max
        self._seeds = random_state.randint(largest, size=self.n_passes).tolist()
        self.bandwidth_ = self.bandwidth
        if self.bandwidth is None:
            rows = random_state.permutation(len(features))[:_FOR_BANDWIDTH]
            self.bandwidth_ = likeliest_bandwidth(features[rows], predicted[rows])
        self.modelled_classes_ = np.unique(predicted)
        self._members = {
            label: features[predicted == label]
            for label in self.modelled_classes_.tolist()
        }

    def _features(self, module, batch):
        (features,), logits = self._with_logits(module, batch.clone())
        columns = [self._log_density(features, logits.argmax(dim=1))]
        if self.n_passes:
            columns.append(-self._uncertainty(module, batch))
        return torch.stack(columns, dim=1)

    def _log_density(self, features, predicted):
        result = features.new_empty(len(features))
        for label in predicted.unique().tolist():
            rows = predicted == label
            members = self._members.get(label)
            if members is None:  # predicted for no sample of fit: the density of all
                members = np.concatenate(list(self._members.values()))
            members = on_device_of(features, members)
            result[rows] = log_kernel_density(features[rows], members, self.bandwidth_)
        return result

    def _uncertainty(self, module, batch):
        passes = []
        # The same masks in each call, so that a score does not depend on the others.
        for seed in self._seeds:
            with shared_dropout(module, seed, len(batch)):
                logits = as_logits(call(module, batch.clone()), len(batch))
            passes.append(logits.double().softmax(dim=1))
        # The formula is the sum of the variances over the passes.
        return torch.stack(passes).var(dim=0, correction=0).sum(dim=1)


def log_kernel_density(features, members, bandwidth):
    """Return log densities (n_samples,) of Gaussian kernels at the members."""
    # Divided before squaring: the square of the bandwidth could overflow or vanish.
    squares = (distances(features, members) / bandwidth).square() / 2
    size = features.shape[1] * (0.5 * np.log(2 * np.pi) + np.log(bandwidth))
    return (-squares).logsumexp(dim=1) - np.log(len(members)) - size


def likeliest_bandwidth(features, predicted):
    """Choose a bandwidth by the likelihood of each sample given others of its class.

    Features are (n_samples, n_features), predicted classes (n_samples,). Returns the
    likeliest of 49 bandwidths, 2^-4 to 2^8 times the median distance to the nearest
    neighbour divided by the square root of n_features; 1 if no sample has another of
    its class at a distance above 0.
    """
    table, labels = torch.from_numpy(features), torch.from_numpy(predicted)
    # Without a sample's own kernel, as else the smallest bandwidth would always win.
    apart = distances(table, table).fill_diagonal_(torch.inf)
    apart[labels[:, None] != labels] = torch.inf
    nearest = apart.amin(dim=1)
    positive = nearest[nearest.isfinite() & (nearest > 0)]
    if not len(positive):
        return 1.0
    width = features.shape[1]
    centre = positive.median().item() / np.sqrt(width)
    squares = apart[nearest.isfinite()].square()

    def likelihood(bandwidth):
        kernels = (-squares / (2 * bandwidth**2)).logsumexp(dim=1)
        return kernels.mean().item() - width * np.log(bandwidth)

    return max((centre * 2.0 ** np.linspace(-4, 8, 49)).tolist(), key=likelihood)
