"""Local intrinsic dimensionality of layer outputs."""

from numbers import Integral

import numpy as np
import torch

from .._compat import Interval, StrOptions
from ..detectors._decision import take
from ..torch_engine.model_state import model_dtype
from ..torch_engine.pooling import POOLINGS
from ..torch_engine.samples import count_samples
from ._combination import BaseCombination
from ._layers import distances, on_device_of

# Larger estimates say only that all neighbours are equally far.
_LARGEST = 1e4


class LID(BaseCombination):
    r"""Local intrinsic dimensionality of layer outputs.

    In-distribution inputs lie on a surface of few dimensions, anomalous ones off it,
    where the distances to its points grow as in many dimensions. With the distances
    :math:`r_1 \le \ldots \le r_k` of a layer's output to its nearest neighbours among
    in-distribution samples, the maximum likelihood estimate of the dimensionality is

    .. math::
        \widehat{\mathrm{LID}}(x) =
        -\Bigl(\frac{1}{k} \sum_{i=1}^k \log \frac{r_i}{r_k}\Bigr)^{-1}.

    Each layer contributes -LID. For one layer, with the default ``combination``, it is
    the score.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    layers : str or array-like of str, default="all"
        Names in ``model.named_modules()``, "logits", or "penultimate" for the input of
        the layer that returns the logits. "all" takes "penultimate" and every other
        layer with a matrix or kernel of weights that is called once.
    n_neighbors : int, default=20
        The number of neighbours k; all reference samples, if they are fewer.
    n_reference : int, default=1000
        Most in-distribution samples to find neighbours among.
    pooling : {"mean", "max", "first", "last", "none"}, default="mean"
        How the positions of each channel are reduced: to their mean or largest value,
        to that at the first or last position of a sequence, or not at all, as in the
        paper; ``n_reference`` outputs are stored.
    combination : {"fisher", "logistic"}, default="fisher"
        How the layers become one score. "fisher" adds the logarithms of their p-values
        among in-distribution samples; "logistic", the paper's, learns their weights by
        logistic regression from known anomalies, the rows of X with y = -1.
    reference_fraction : float, default=0.2
        Share of the samples not held out that the combination refers to, if there is
        one; neighbours come from the rest.
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
        Draws the held-out samples, those for the combination and the reference.

    Attributes
    ----------
    layers_ : list of WatchedLayer
        The layers, as in `LayerActivationTransformer`.
    n_reference_ : int
        Number of samples that neighbours are found among.
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
    Cost: one forward pass and ``n_reference`` distances per layer, which take much
    longer for whole maps (``pooling="none"``).

    Deviations from the paper. It finds neighbours within random minibatches of 100;
    here they come from samples stored by `fit`, so that an estimate does not depend on
    the batch-mates. Outputs are averaged per channel by default. "all" leaves out
    activations and poolings. "fisher" is not the paper's, which learns to distinguish
    adversarial inputs from in-distribution and noisy ones.

    A reference output at distance 0, up to rounding, is the sample itself or a copy of
    it and not a neighbour. If all are such copies, the dimensionality is 0; if all are
    equally far, it is infinite, and 10,000 is returned.

    References
    ----------
    Ma et al. (2018), "Characterizing Adversarial Subspaces Using Local Intrinsic
    Dimensionality", the maximum likelihood estimate and Algorithm 1 (detector).

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import LID
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.randn(100, 4)
    >>> LID(model, random_state=0).fit(X).predict(X[:1] * 50).tolist()
    [-1]
    """

    _parameter_constraints: dict = {
        **BaseCombination._parameter_constraints,
        # One neighbour has no other distance to compare with.
        "n_neighbors": [Interval(Integral, 2, None, closed="left")],
        "n_reference": [Interval(Integral, 2, None, closed="left")],
        "pooling": [StrOptions(set(POOLINGS))],
    }

    def __init__(
        self,
        model,
        *,
        layers="all",
        n_neighbors=20,
        n_reference=1000,
        pooling="mean",
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
        self.n_neighbors = n_neighbors
        self.n_reference = n_reference
        self.pooling = pooling
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
        rows = random_state.permutation(count_samples(X))[: self.n_reference]
        self._references, _ = self._gather(module, take(X, np.sort(rows)))
        self.n_reference_ = len(rows)

    def _features(self, module, batch):
        blocks = self._activations(module, batch, self._outputs)
        # The output of the same sample differs by this much in another batch. Half
        # precision accumulates in float32 and rounds once per layer: with 30 eps, a
        # quarter of the length would count as zero.
        dtype = model_dtype(module)
        rounding = (30 if dtype.itemsize >= 4 else 3) * torch.finfo(dtype).eps
        references = [on_device_of(batch, array) for array in self._references]
        columns = [
            local_dimensionality(*pair, self.n_neighbors, rounding=rounding)
            for pair in zip(blocks, references, strict=True)
        ]
        # Turned: a high dimensionality is anomalous.
        return -torch.stack(columns, dim=1)


def local_dimensionality(features, reference, n_neighbors, *, rounding):
    """Estimate the dimensionality at features (n_samples, n_features).

    Neighbours, at most ``n_neighbors``, come from the reference (n_reference,
    n_features). Distances up to the share ``rounding`` of a sample's length count as
    zero; points at distance zero are not neighbours. Returns a Tensor (n_samples,) of
    estimates in [0, 10,000].
    """
    apart = distances(features, reference)
    zero = rounding * features.norm(dim=1, keepdim=True)
    apart = apart.masked_fill(apart <= zero, torch.inf)
    k = min(n_neighbors, len(reference))
    nearest = apart.topk(k, dim=1, largest=False).values
    found = nearest.isfinite()
    n_found = found.sum(dim=1)
    farthest = nearest.masked_fill(~found, 0).amax(dim=1, keepdim=True)
    # A missing neighbour contributes log 1 = 0.
    ratios = torch.where(found, nearest / farthest, 1.0)
    steepness = -ratios.log().sum(dim=1) / n_found.clamp(min=1)
    return torch.where(n_found > 0, 1 / steepness.clamp(min=1 / _LARGEST), 0.0)
