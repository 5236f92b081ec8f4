"""Outputs of the layers of a network (paper C)."""

from ._base import BaseModelTransformer
from ._layer_activations import LayerActivations


class LayerActivationTransformer(BaseModelTransformer):
    r"""Outputs of chosen layers, the maps of convolutions pooled per channel.

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
        parameters). None takes four convolutions or linear layers, spread evenly over
        the depth of the network, and the logits.
    pooling : {"mean", "max", "none"}, default="mean"
        What becomes of the axes after the second: their mean (as in the paper), their
        largest value, or a column for each position.
    input_shape : array-like of int, default=None
        Shape of one sample, when X comes as 2-D rows.
    batch_size : int, default=128
        Samples per pass.
    num_workers : int, default=0
        Processes that read the samples of a Dataset; 0 reads them in this one.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    memory : str or joblib.Memory, default=None
        Cache of the features on disk, as in scikit-learn's Pipeline.
    verbose : bool or int, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    layers_ : list of str
        The layers, in the order of the columns.
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
    NetworkFeatures : Several families of columns from one pass.
    skgrad.PerClassSVDD : The paper's detector over these features.
    skgrad.detectors.make_uniform_detector : The paper's whole pipeline.

    Notes
    -----
    Cost: one forward pass per batch, up to the deepest of the layers. Outputs are
    pooled on the device. ``batch_size`` changes them by rounding only.

    Columns are named ``<layer>_<index>``, zero-padded. The second axis is taken for
    that of the channels: for a layer that puts channels last, such as those of a
    transformer, use ``pooling="none"`` or name a layer after its pooling.

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
        input_shape=None,
        batch_size=128,
        num_workers=0,
        device=None,
        memory=None,
        verbose=False,
    ):
        self.model = model
        self.layers = layers
        self.pooling = pooling
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.device = device
        self.memory = memory
        self.verbose = verbose

    def _make_families(self):
        return {"": LayerActivations(self.layers, pooling=self.pooling)}

    def _adopt(self, families):
        self.layers_ = families[""].layers_
