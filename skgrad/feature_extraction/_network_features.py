"""Several families of columns from one pass through a network."""

from sklearn.base import clone

from .._compat import BaseComposition, validate_parameters
from .._messages import brief
from ._base import BaseModelTransformer
from ._family import BaseFamily


class NetworkFeatures(BaseComposition, BaseModelTransformer):
    """Features of several families, all from the same pass through the network.

    Whatever a detector looks at, a batch goes through the network once: one forward
    pass, and at most one backward pass for gradient norms. A
    :class:`sklearn.pipeline.FeatureUnion` of the transformers has the same columns at
    the price of a pass for each of them.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    families : list of (str, family)
        Names and unfitted families: `GradientNorms`, `LayerActivations`,
        `SaliencyCosines` and `Stability`, one or more, each any number of times.
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
    families_ : dict of str to family
        The fitted families.
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
    skgrad.detectors.make_recommended_detector : A detector over two families.

    Notes
    -----
    Cost: one forward pass per batch, up to the deepest layer if there are no gradients;
    the backward passes of the families, see `ConfoundingGradientTransformer` and
    `CosineSimilarityMatrixTransformer`; and a forward pass per change of `Stability`,
    whose columns depend on its seed and on the first samples that `fit` sees. Features
    equal those of separate transformers, those of images and recurrent layers up to
    rounding: torch has other kernels for them where gradients are wanted. Columns are
    named ``<name>__<column>``, the columns as by those transformers and
    `LayerActivationTransformer`.

    In a search, ``<name>__<parameter>`` is a parameter of a family and ``<name>`` the
    family itself.

    Examples
    --------
    >>> import torch
    >>> from skgrad.feature_extraction import (
    ...     GradientNorms, LayerActivations, NetworkFeatures
    ... )
    >>> features = NetworkFeatures(
    ...     torch.nn.Linear(2, 3),
    ...     [("gradients", GradientNorms()), ("layers", LayerActivations("logits"))],
    ... )
    >>> features.fit_transform([[0.0, 1.0], [2.0, 3.0]]).shape
    (2, 5)
    >>> features.get_feature_names_out()[:3].tolist()
    ['gradients__weight', 'gradients__bias', 'layers__logits_0']
    """

    _parameter_constraints: dict = {
        **BaseModelTransformer._parameter_constraints,
        "families": [list],
    }

    def __init__(
        self,
        model,
        families,
        *,
        input_shape=None,
        batch_size=128,
        num_workers=0,
        n_jobs=None,
        device=None,
        memory=None,
        verbose=False,
    ):
        self.model = model
        self.families = families
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.n_jobs = n_jobs
        self.device = device
        self.memory = memory
        self.verbose = verbose

    def get_params(self, deep=True):
        """Get the parameters, those of the families as ``<name>__<parameter>``.

        Parameters
        ----------
        deep : bool, default=True
            Whether to go into the families.

        Returns
        -------
        dict
            Parameters and their values.
        """
        return self._get_params("families", deep=deep)

    def set_params(self, **params):
        """Set parameters, those of the families as ``<name>__<parameter>``.

        Parameters
        ----------
        **params : dict
            Parameters and their values; a family's name replaces it.

        Returns
        -------
        self : object
            The transformer.
        """
        return self._set_params("families", **params)

    def _make_families(self):
        pairs = [p for p in self.families if isinstance(p, (tuple, list))]
        valid = [
            pair
            for pair in pairs
            if len(pair) == 2
            and isinstance(pair[0], str)
            and isinstance(pair[1], BaseFamily)
        ]
        if not valid or len(valid) != len(self.families):
            raise ValueError(
                "families must be a list of one or more pairs (name, family), such as "
                f"('gradients', GradientNorms()); got {brief(self.families)}."
            )
        self._validate_names([name for name, _ in valid])
        for _, family in valid:
            validate_parameters(family)
        return {f"{name}__": clone(family) for name, family in valid}

    def _adopt(self, families):
        self.families_ = {
            prefix.removesuffix("__"): family for prefix, family in families.items()
        }
