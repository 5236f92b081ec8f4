"""GradNorm: how much a flat prediction would change the last layer."""

from numbers import Real

from .._compat import Interval
from ..torch_engine.head import find_linear_head, head_input
from ..torch_engine.scaling import widest_float
from ._base import BaseModelDetector


class GradNorm(BaseModelDetector):
    r"""Norm of the gradient that would flatten the prediction.

    A network is sure of in-distribution inputs, and they excite its last features, so
    that much would have to change before it gave all classes the same probability.
    Let h be the input of the last linear layer, :math:`z = W h + b` the logits, C
    their number, and p the softmax of :math:`z / T`, T being ``temperature``. The
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
        A classifier that returns logits ``(n_samples, n_classes)``. It is never
        changed; `sklearn.base.clone` shares it, pickles and deep copies carry it, of
        a skorch net its module.
    temperature : float, default=1.0
        The temperature T. The paper recommends 1.
    layer : str, default=None
        Name of the last layer, in ``model.named_modules()``; h is what it takes, of
        shape ``(n_samples, n_features)``. None finds the ``torch.nn.Linear`` whose
        output is the logits. Of a layer that is not linear, the score is the formula
        all the same, but no longer the norm of a gradient.
    input_shape : array-like of int, default=None
        Shape of one sample, when X comes as 2-D rows.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device; another one works on a
        private copy.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the samples held out to place the threshold. Nothing else is learnt
        from them.
    verbose : bool or int, default=False
        Whether to show a progress bar.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples.

    Attributes
    ----------
    layer_ : str
        The last layer.
    calibration_scores_ : ndarray of shape (n_held_out,)
        Scores of the held-out samples.
    offset_ : float
        The threshold: lower scores are rejected.
    n_classes_ : int
        Number of logits of the model.
    input_shape_ : tuple of int
        Shape of one sample as the model sees it.
    n_features_in_ : int
        Length of the second axis of X.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    skgrad.ConfoundingGradientTransformer : The gradients of all parameters.

    Notes
    -----
    Cost: one forward pass. The released code of the authors takes the loss C times as
    large, summed over the classes in place of their mean, which ranks inputs alike;
    here it is the paper's.

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
        **BaseModelDetector._parameter_constraints,
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "layer": [str, None],
    }

    def __init__(
        self,
        model,
        *,
        temperature=1.0,
        layer=None,
        input_shape=None,
        batch_size=128,
        device=None,
        target_fpr=0.05,
        calibration_fraction=0.2,
        verbose=False,
        random_state=None,
    ):
        self.model = model
        self.temperature = temperature
        self.layer = layer
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.device = device
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.verbose = verbose
        self.random_state = random_state

    def _learn(self, module, X, anomalies, random_state):
        self.layer_ = self.layer
        if self.layer_ is None:
            _, batch = self._first_samples(module, X)
            self.layer_ = find_linear_head(module, batch)

    def _features(self, module, batch):
        logits, h = head_input(module, batch, self.layer_)
        logits, h = logits.to(widest_float(logits.device)), h.to(widest_float(h.device))
        excess = (logits / self.temperature).softmax(dim=1) - 1 / logits.shape[1]
        return h.abs().sum(dim=1) * excess.abs().sum(dim=1) / self.temperature
