"""Gradient norms under a confounding label (paper A)."""

from ._base import BaseModelTransformer
from ._gradient_norms import GradientNorms


class ConfoundingGradientTransformer(BaseModelTransformer):
    r"""Squared gradient norms of every parameter under a confounding label.

    For an input that resembles the training data, even a label that the network never
    saw calls for little change of its parameters; for an anomaly, for much. The change
    is the gradient of

    .. math:: J = -\frac1C \sum_{i=1}^{C} y_i \log \sigma(z_i)
              + (1 - y_i) \log(1 - \sigma(z_i)),

    the binary cross-entropy between the logits :math:`z` of one input and the
    confounding label :math:`y` (``label``), with :math:`C` classes. The feature of
    the parameter tensor :math:`\theta_l` is :math:`\|\nabla_{\theta_l} J\|_2^2`.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    label : str or array-like of shape (n_classes,), default="all"
        The label y:

        - "all": ones, which no input had in training (as in the paper);
        - "none": zeros, and "uniform": 1 / n_classes everywhere;
        - "predicted": one for the predicted class alone, and "complement": for all
          others;
        - "each": one for a single class, for each class in turn, which gives as many
          columns per parameter (Oberdiek et al.);
        - an array of numbers in [0, 1].
    loss : {"bce", "bce_softmax", "cross_entropy"}, default="bce"
        The loss J: as above (as in the paper); the same with the softmax :math:`p_i` in
        place of :math:`\sigma(z_i)`; or :math:`-\sum_i y_i \log p_i`.
    log : bool, default=False
        Return natural logarithms of the squared norms, of 1e-30 where they are smaller.
    input_shape : array-like of int, default=None
        Shape of one sample, when X comes as 2-D rows.
    batch_size : int, default=128
        Samples per pass.
    num_workers : int, default=0
        Processes that read the samples of a Dataset; 0 reads them in this one.
    n_jobs : int, default=None
        Processes that compute the features of parts of X, by joblib. None is 1 unless
        in a ``joblib.parallel_config``, -1 is one for each processor.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    memory : str or joblib.Memory, default=None
        Cache of the features on disk, as in scikit-learn's Pipeline.
    verbose : bool or int, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    n_classes_ : int
        Number of logits of the model.
    input_shape_ : tuple of int
        Shape of one sample as the model sees it; of several inputs, a dict of shapes.
    integer_inputs_ : bool or dict of bool
        Whether whole numbers in X reach the model as integers, not as floats. Of
        several inputs a dict may say so of each, by its name.
    routes_ : dict of str to str
        How the norms of each parameter are computed: by the rule for a whole batch,
        such as "conv2d", or by "autograd" for one sample at a time.
    n_features_in_ : int
        Length of the second axis of X.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    NetworkFeatures : Several families of columns from one pass.
    CosineSimilarityMatrixTransformer : Gradients at the input instead of parameters.
    skgrad.detectors.make_confounding_gradient_detector : The paper's whole pipeline.

    Notes
    -----
    Cost: one forward and one backward pass per batch, and one more backward pass for
    each further class of ``label="each"``. No gradient of a weight is kept per sample
    for linear, convolution, normalisation, embedding, PReLU, attention and recurrent
    layers, except over packed sequences, with projections or in half precision, nor for
    parameters that are added to, multiplied with or expanded along a batch. Of a tensor
    that is made of parameters alone, such as a table looked up once for all samples or
    a weight with an adapter, the gradients are kept for one sample at a time. A
    parameter that enters the logits in another way, or in two ways, goes through
    autograd one sample at a time, which then is the cost: see ``routes_``. Where most
    weights do, all others do as well.
    Where values of several samples may decide on their order, checking it costs one
    more backward pass per loss. ``batch_size`` changes norms by rounding only.

    The columns have the names and the order of ``model.named_parameters()``. A
    parameter shared between layers is one column, with the norm of its whole gradient.
    Frozen parameters have columns too, complex ones have none. The paper prints Eq. 1
    without the leading minus; the norm is the same.

    References
    ----------
    Lee, Prabhushankar, AlRegib (2022), "Gradient-Based Adversarial and
    Out-of-Distribution Detection", Eq. 1 (loss) and Eq. 2 (features).

    Oberdiek, Rottmann, Gottschalk (2018), "Classification Uncertainty of Deep Neural
    Networks Based on Gradient Information".

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
        **GradientNorms._parameter_constraints,
    }

    def __init__(
        self,
        model,
        *,
        label="all",
        loss="bce",
        log=False,
        input_shape=None,
        batch_size=128,
        num_workers=0,
        n_jobs=None,
        device=None,
        memory=None,
        verbose=False,
    ):
        self.model = model
        self.label = label
        self.loss = loss
        self.log = log
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.n_jobs = n_jobs
        self.device = device
        self.memory = memory
        self.verbose = verbose

    def _make_families(self):
        return {"": GradientNorms(label=self.label, loss=self.loss, log=self.log)}

    def _adopt(self, families):
        self.routes_ = families[""].routes_
