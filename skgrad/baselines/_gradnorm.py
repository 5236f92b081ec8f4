"""GradNorm: how strongly a uniform target would change the last layer."""

from numbers import Real

from torch import nn

from .._compat import Interval
from ..torch_engine.activations import PENULTIMATE
from ._layers import BaseLayersDetector, one_layer


class GradNorm(BaseLayersDetector):
    r"""Norm of the gradient that would make the prediction uniform.

    A network is confident about in-distribution inputs and has large features for
    them. Let h be the input of the last linear layer, :math:`z = W h + b` the logits, C
    their number, and p the softmax of :math:`z / T` at the temperature T. The
    divergence from the uniform distribution u has the gradient

    .. math::
        \frac{\partial}{\partial W_{ji}} \mathrm{KL}(u \,\|\, p)
        = \frac{1}{T} \Bigl(p_j - \frac{1}{C}\Bigr) h_i,

    and the score is its L1 norm over all of W, which is a product:

    .. math::
        S(x) = \frac{1}{T} \lVert h \rVert_1 \sum_j \Bigl| p_j - \frac{1}{C} \Bigr|,

    higher = more in-distribution. No backward pass is needed.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    temperature : float, default=1.0
        The temperature T. The paper recommends 1.
    layers : str or array-like of one str, default="penultimate"
        The layer whose output is h: "penultimate", the input of the
        ``torch.nn.Linear`` that returns the logits, or a name in
        ``model.named_modules()``, for which the score is no longer a gradient's norm.
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
        Draws the held-out samples.

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

    Notes
    -----
    Cost: one forward pass. The loss is averaged over the classes as in the paper; the
    authors' code sums it.

    References
    ----------
    Huang, Geng, Li (2021), "On the Importance of Gradients for Detecting
    Distributional Shifts in the Wild", Sec. 3 (score), Sec. 5 (factorisation).

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import GradNorm
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.randn(100, 4)
    >>> GradNorm(model, random_state=0).fit(X).score_samples(X).shape
    (100,)
    """

    _parameter_constraints: dict = {
        **BaseLayersDetector._parameter_constraints,
        "temperature": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        model,
        *,
        temperature=1.0,
        layers="penultimate",
        input_shape=None,
        batch_size=128,
        device=None,
        verbose=False,
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
    ):
        self.model = model
        self.temperature = temperature
        self.layers = layers
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _learn(self, probe, X, anomalies, random_state):
        names = one_layer(self.layers)
        self._find_layers(probe, names)
        if names != [PENULTIMATE]:
            return
        # Of any other last layer the formula is not the norm of a gradient.
        (output,) = self._outputs
        head = None if output.head is None else probe.module.get_submodule(output.head)
        if not isinstance(head, nn.Linear):
            raise ValueError(
                "layers='penultimate' needs a model whose logits a torch.nn.Linear "
                "returns. Name the layer whose output is h for the same formula."
            )

    def _features(self, module, batch):
        (h,), logits = self._with_logits(module, batch)
        # The gradient is an outer product, so its L1 norm is a product (Sec. 5).
        excess = (logits / self.temperature).softmax(dim=1) - 1 / logits.shape[1]
        return h.abs().sum(dim=1) * excess.abs().sum(dim=1) / self.temperature
