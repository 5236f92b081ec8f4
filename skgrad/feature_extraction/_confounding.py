"""Paper A: gradient norms under a confounding label."""

from numbers import Real

import numpy as np
import torch
from sklearn.utils._param_validation import StrOptions

from ..torch_engine.parameter_gradients import (
    gradient_parameters,
    squared_gradient_norms,
)
from ._base import BaseModelTransformer

# Below every norm that float32 weights produce; stands for log 0.
_SMALLEST = 1e-30


class ConfoundingGradientTransformer(BaseModelTransformer):
    r"""Squared gradient norms of every parameter under a confounding label.

    An input that resembles the training data asks little change of the network even
    when it is told a label that it never saw; an anomaly asks much. The change asked
    for is the gradient of

    .. math:: J = -\frac1C \sum_{i=1}^{C} y_i \log \sigma(z_i)
              + (1 - y_i) \log(1 - \sigma(z_i)),

    the binary cross-entropy between the logits :math:`z` of one input and the
    confounding label :math:`y` (``label``), with :math:`C` classes. The feature of
    the parameter tensor :math:`\theta_l` is :math:`\|\nabla_{\theta_l} J\|_2^2`.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits ``(n_samples, n_classes)``. It is never
        changed; `sklearn.base.clone` shares it, pickles and deep copies carry it, of
        a skorch net its module.
    label : {"all", "none"} or array-like of shape (n_classes,), default="all"
        The confounding label y: all ones (the paper's), all zeros, or entries in
        [0, 1] of your own.
    log : bool, default=False
        Return the natural logarithm of the squared norms, which span many decades.
        Norms under 1e-30, zero included, count as 1e-30.
    input_shape : array-like of int, default=None
        Shape of one sample, when X comes as 2-D rows.
    batch_size : int, default=128
        Samples that are read and moved to the device at a time.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device; another one works on a
        private copy.
    verbose : bool or int, default=False
        Whether to show a progress bar.

    Attributes
    ----------
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
    CosineSimilarityMatrixTransformer : Gradients at the input instead of parameters.
    skgrad.detectors.make_confounding_gradient_detector : The paper's whole pipeline.

    Notes
    -----
    Cost: one forward and one backward pass per sample, one sample at a time, so that
    ``batch_size`` changes nothing.

    The columns follow ``model.named_parameters()`` and bear its names; a parameter
    shared between layers is one column, with the norm of its whole gradient. Frozen
    parameters have columns too. The paper prints Eq. 1 without the leading minus;
    the norm is the same.

    References
    ----------
    Lee, Prabhushankar, AlRegib (2022), "Gradient-Based Adversarial and
    Out-of-Distribution Detection", Eq. 1 (loss) and Eq. 2 (features).

    Examples
    --------
    >>> import torch
    >>> from skgrad import ConfoundingGradientTransformer
    >>> model = torch.nn.Linear(2, 3)
    >>> transformer = ConfoundingGradientTransformer(model)
    >>> transformer.fit_transform([[0.0, 1.0], [2.0, 3.0]]).shape
    (2, 2)
    >>> transformer.get_feature_names_out().tolist()
    ['weight', 'bias']
    """

    _parameter_constraints: dict = {
        **BaseModelTransformer._parameter_constraints,
        "label": [StrOptions({"all", "none"}), "array-like"],
        "log": ["boolean"],
    }
    _parameter_gradients = True

    def __init__(
        self,
        model,
        *,
        label="all",
        log=False,
        input_shape=None,
        batch_size=128,
        device=None,
        verbose=False,
    ):
        self.model = model
        self.label = label
        self.log = log
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose

    def _name_features(self, module, batch, n_classes):
        names = list(gradient_parameters(module))
        if not names:
            raise ValueError(
                "model must have parameters to take gradients of; "
                f"{type(module).__name__} has none."
            )
        return np.asarray(names, dtype=object)

    def _features(self, module, batch, n_classes):
        label = torch.as_tensor(
            self._label_vector(n_classes), dtype=batch.dtype, device=batch.device
        )
        norms = squared_gradient_norms(module, batch, label)
        return norms.clamp_min(_SMALLEST).log() if self.log else norms

    def _label_vector(self, n_classes):
        """Return the label as numbers, one per class."""
        if isinstance(self.label, str):
            return np.full(n_classes, 1.0 if self.label == "all" else 0.0)
        entries = list(self.label)
        if len(entries) != n_classes or not all(map(_is_share, entries)):
            raise ValueError(
                f"label must be 'all', 'none' or {n_classes} numbers in [0, 1], one "
                f"per class of the model; got {self.label!r}."
            )
        return np.array(entries, dtype=float)


def _is_share(entry):
    return isinstance(entry, Real) and 0 <= float(entry) <= 1
