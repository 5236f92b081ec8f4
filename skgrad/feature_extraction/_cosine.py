"""The geometry of the saliency maps of all classes (paper B)."""

from ._base import BaseModelTransformer
from ._saliency_cosines import SaliencyCosines


class CosineSimilarityMatrixTransformer(BaseModelTransformer):
    r"""Cosine similarities between the saliency maps of all classes.

    Around an input that the network classifies well, all other classes lie in one
    direction: their saliency maps agree, and oppose that of the predicted class. For
    an untrustworthy input they point apart. With the saliency map of class i

    .. math:: s_i = \operatorname{sgn} \nabla_x \mathrm{CE}(F(x), i),

    the features are the cosines :math:`c_{ij} = s_i \cdot s_j / (|s_i| |s_j|)`, or ten
    statistics of them.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    output : {"statistics", "upper", "matrix"}, default="statistics"
        What to return:

        - "statistics": mean, maximum, minimum, standard deviation and energy (sum of
          squares) over the pairs i < j without the predicted class (``others_*``),
          then over those with it (``predicted_*``): 10 columns, for 3 or more classes;
        - "upper": the cosines of the pairs i < j, row by row;
        - "matrix": the whole matrix, flattened row by row.
    sign : bool, default=True
        Compare signs of the gradients (as in the paper) or the gradients themselves.
    top_n : int, default=None
        Compare only the classes with the largest logits of each input, in that order
        (Table 3 of the paper: 5 of 100 suffice). None compares all, in their order.
    channel_reduction : {"max"}, default=None
        Compare the maxima of the maps over the channels, the first axis of a sample,
        as the authors' published code does, or whole maps (None, as in the paper).
    logit_scale : float, default=None
        Multiply the logits by ``logit_scale / max|z|`` first and differentiate through
        it, as the authors' published code can do with 10, or not (as in the paper).
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
    n_features_in_ : int
        Length of the second axis of X.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    NetworkFeatures : Several families of columns from one pass.
    ConfoundingGradientTransformer : Gradients at the parameters instead of the input.
    skgrad.detectors.make_geometric_gradient_detector : The paper's whole pipeline.

    Notes
    -----
    Cost: one forward pass per batch and, for each class compared, one backward pass to
    the input, which is about another forward pass (one less for all of up to 32 classes
    without ``logit_scale``). No gradient of a parameter is computed. On a GPU the
    backward passes of several classes run as one. Groups smaller than ``batch_size``
    are taken where maps and matrices would need more than 0.5 GB in float32.

    The paper computes each gradient from the loss; where the softmax saturates, that
    of the predicted class vanishes in float32. Here each is computed up to a positive
    factor from the logits, which changes neither signs nor cosines and is exact for
    any logits. The cosine with a map that is zero everywhere is 0. The paper does not
    define energy and standard deviation: sum of squares and the population form are
    used.

    Whole numbers have no gradient: of a network that looks them up, the maps are those
    of the output of the first embedding. Of several inputs they are those of the floats
    among them, side by side.

    ``batch_size`` changes features by rounding only; but where a gradient is 0 up to
    rounding its sign may turn, and each sign that does moves a cosine by up to
    2 / n_inputs.

    References
    ----------
    Schwinn et al. (2021), "Identifying Untrustworthy Predictions in Neural Networks by
    Geometric Gradient Analysis", Eq. 1 (saliency map), Eq. 2 (cosines), Sec. 4.2.3
    (statistics).

    Examples
    --------
    >>> import torch
    >>> from skgrad import CosineSimilarityMatrixTransformer
    >>> model = torch.nn.Linear(2, 3)
    >>> transformer = CosineSimilarityMatrixTransformer(model, output="upper")
    >>> transformer.fit_transform([[0.0, 1.0], [2.0, 3.0]]).shape
    (2, 3)
    >>> transformer.get_feature_names_out().tolist()
    ['cosine_0_1', 'cosine_0_2', 'cosine_1_2']
    """

    _parameter_constraints: dict = {
        **BaseModelTransformer._parameter_constraints,
        **SaliencyCosines._parameter_constraints,
    }

    def __init__(
        self,
        model,
        *,
        output="statistics",
        sign=True,
        top_n=None,
        channel_reduction=None,
        logit_scale=None,
        input_shape=None,
        batch_size=128,
        num_workers=0,
        n_jobs=None,
        device=None,
        memory=None,
        verbose=False,
    ):
        self.model = model
        self.output = output
        self.sign = sign
        self.top_n = top_n
        self.channel_reduction = channel_reduction
        self.logit_scale = logit_scale
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.n_jobs = n_jobs
        self.device = device
        self.memory = memory
        self.verbose = verbose

    def _make_families(self):
        family = SaliencyCosines(
            output=self.output,
            sign=self.sign,
            top_n=self.top_n,
            channel_reduction=self.channel_reduction,
            logit_scale=self.logit_scale,
        )
        return {"": family}
