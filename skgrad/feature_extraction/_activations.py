"""Outputs of the layers of a network (paper C)."""

from ..torch_engine.layer_outputs import AUTO
from ._base import BaseModelTransformer
from ._layer_activations import LayerActivations


class LayerActivationTransformer(BaseModelTransformer):
    r"""Outputs of chosen layers, pooled per channel.

    Anomalies that the last layer does not show are often plain in an early one, and
    vice versa; paper C takes the most discriminative layer and the logits.
    Of a layer with output :math:`f^\ell(x)` of shape ``(n_channels, *positions)`` the
    features are the means over the positions, one per channel.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    layers : str or array-like of str, default=None
        Names in ``model.named_modules()``, "logits" (the output of the model, which
        detectors that use the predicted class need) or "penultimate" (the input of the
        layer that returns the logits, else the output of the last layer with
        parameters). None takes four convolutions or linear layers, or blocks of a
        transformer, spread evenly over the depth of the network, and the logits.
    pooling : {"mean", "max", "first", "last", "none"}, default="mean"
        What becomes of the positions of each channel: their mean (as in the paper) or
        largest value; of sequences the first, which is the class token of most
        transformers, or the last, which is the last state of a recurrent layer in both
        directions; or a column for each position. Positions at padding do not count,
        see Notes.
    channel_axis : "auto", int or dict of str to int, default="auto"
        The axis of the channels in the outputs of layers, or of certain layers by name.
        "auto" takes it from what made the output, see the notes.
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
    layers_ : list of WatchedLayer
        The layers, in the order of the columns: named tuples of ``name``, ``shape`` (of
        the output for one sample), ``channel_axis`` and ``n_columns``.
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
    skgrad.PerClassSVDD : The paper's detector over these features.
    skgrad.detectors.make_uniform_detector : The paper's whole pipeline.

    Notes
    -----
    Cost: one forward pass per batch, up to the deepest of the layers. Outputs are
    pooled on the device. ``batch_size`` changes them by rounding only.

    Columns are named ``<layer>_<index>``, zero-padded.

    Where X holds an input ``attention_mask`` (n_samples, n_tokens), by its name in a
    dictionary or its place in a tuple, and a layer returns as many positions as tokens,
    those with 0 in the mask are left out, so that features do not depend on how far a
    batch was padded. A packed sequence counts for its own times. Elsewhere the mean is
    over padding too.

    Convolutions and the normalisations of their maps put channels first, linear layers,
    layer normalisations, embeddings, attention and recurrent layers last. A module that
    is made of layers may move its channels. They are on the axis with as many entries
    as the last layer called in it, or before it, makes channels. If there are several
    such axes, `fit` changes a channel of that layer, in a copy of its parameter, and
    looks where the output changes; if there is none, the axis is that of the layer.
    ``layers_`` shows what was found. The axis of the samples is the one that grows with
    their number, so that sequences may come as (n_positions, n_samples, n_channels). Of
    several tensors that a layer returns, the first one is taken.

    Blocks are taken by default where layers put channels last, and where branches
    squeeze all positions into one: the outermost modules, apart from containers, of
    which several are of one class. Of layers that are called several times the
    innermost module around them that is called once is taken.

    References
    ----------
    Zhao et al., "A Uniform Framework for Anomaly Detection in Deep Neural Networks",
    Sec. 4.

    Examples
    --------
    >>> import torch
    >>> from skgrad import LayerActivationTransformer
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Linear(4, 3))
    >>> transformer = LayerActivationTransformer(model, ["0", "logits"])
    >>> transformer.fit_transform([[0.0, 1.0], [2.0, 3.0]]).shape
    (2, 7)
    >>> transformer.get_feature_names_out()[3:5].tolist()
    ['0_3', 'logits_0']
    """

    _parameter_constraints: dict = {
        **BaseModelTransformer._parameter_constraints,
        **LayerActivations._parameter_constraints,
    }

    def __init__(
        self,
        model,
        layers=None,
        *,
        pooling="mean",
        channel_axis=AUTO,
        input_shape=None,
        batch_size=128,
        num_workers=0,
        n_jobs=None,
        device=None,
        memory=None,
        verbose=False,
    ):
        self.model = model
        self.layers = layers
        self.pooling = pooling
        self.channel_axis = channel_axis
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.n_jobs = n_jobs
        self.device = device
        self.memory = memory
        self.verbose = verbose

    def _make_families(self):
        return {"": self._family(self.layers)}

    def _family(self, layers, kind=LayerActivations):
        return kind(layers, pooling=self.pooling, channel_axis=self.channel_axis)

    def _adopt(self, families):
        self.layers_ = families[""].layers_
