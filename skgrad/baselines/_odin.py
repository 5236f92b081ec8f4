"""ODIN: softmax at a high temperature, after a step that raises it."""

from numbers import Real

import torch

from .._compat import Interval
from .._several import call, floats_of, with_floats
from ..torch_engine.cotangents import class_cotangent
from ..torch_engine.input_gradients import input_gradient
from ..torch_engine.model_state import as_logits
from ._base import BaseModelDetector


class ODIN(BaseModelDetector):
    r"""Out-of-distribution detector for neural networks.

    A small step that raises the softmax of the predicted class raises it more for
    in-distribution inputs, and a high temperature keeps the softmax from saturating.
    With the softmax p of the logits at temperature T and the predicted class k,

    .. math:: \tilde x = x + \epsilon \operatorname{sgn} \nabla_x \log p_k(x; T).

    The score is the log-odds of the largest probability after the step, which ranks
    inputs as the probability does,

    .. math:: \log \frac{p_i}{1 - p_i}, \quad p_i = \max_j p_j(\tilde x; T).

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    temperature : float, default=1000.0
        The temperature T.
    eps : float, default=0.0014
        Size of the step, in units of X; 0 for none. The default is the paper's for
        CIFAR-10.
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
    skgrad.MaxSoftmaxProbability : The same without a step, at temperature 1.

    Notes
    -----
    Cost: two forward passes and one backward pass; one forward pass with ``eps=0``. The
    paper chooses temperature and eps with anomalies. As in the paper, the step is not
    clipped to valid values.

    References
    ----------
    Liang, Li, Srikant (2018), "Enhancing the Reliability of Out-of-distribution Image
    Detection in Neural Networks", Eq. 1 (temperature), Eq. 2 (step).

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import ODIN
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.randn(100, 4)
    >>> ODIN(model, random_state=0).fit(X).score_samples(X).shape
    (100,)
    """

    _parameter_constraints: dict = {
        **BaseModelDetector._parameter_constraints,
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "eps": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        model,
        *,
        temperature=1000.0,
        eps=0.0014,
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
        self.eps = eps
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _changes_inputs(self):
        return self.eps > 0

    def _features(self, module, batch):
        if self.eps:
            # This is the gradient of the cross-entropy, -log p_k: a step against it
            # raises p_k (Eq. 2).
            gradient, _ = input_gradient(module, batch, self._cotangent)
            moved = floats_of(batch) - self.eps * gradient.sign()
            batch = with_floats(batch, moved)
        logits = as_logits(call(module, batch), len(batch)).double() / self.temperature
        # The log-odds keep their digits where the probability rounds to 1.
        best, where = logits.max(dim=1, keepdim=True)
        others = logits.scatter(1, where, -torch.inf)
        return best.squeeze(1) - others.logsumexp(dim=1)

    def _cotangent(self, logits):
        return class_cotangent(logits / self.temperature, logits.argmax(dim=1))
