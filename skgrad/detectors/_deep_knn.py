"""Distance to the k-th nearest neighbour among normalised features."""

from numbers import Integral

import numpy as np
from sklearn.neighbors import NearestNeighbors

from .._compat import Interval
from ._last_layer import BaseLastLayerDetector, unit_rows

# For CIFAR-10, with 5,000 samples per class.
_N_NEIGHBORS = 50


class DeepKNN(BaseLastLayerDetector):
    r"""Distance of the last features to their k-th nearest neighbour in training.

    No shape of the classes is assumed. With the features f of an input at length 1,
    :math:`z = f / \lVert f \rVert_2`, and :math:`z_{(k)}` the k-th nearest of those of
    the training inputs, the score is

    .. math:: -\lVert z - z_{(k)} \rVert_2,

    higher = more in-distribution.

    Parameters
    ----------
    n_neighbors : int, default=None
        The number k; that of all reference samples, if they are fewer. None takes 50,
        or half the mean number of reference samples per class if that is less: beyond
        its class, the k-th neighbour says nothing.
    n_reference : int, default=None
        Most training samples to find neighbours among, drawn at random; None takes
        all.
    layer, blocks, target_fpr, calibration_fraction, threshold : optional
        As in :class:`RMDS`.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples and the reference samples.

    Attributes
    ----------
    n_neighbors_ : int
        The number k.
    layer_, features_, logits_ : str, slice, slice
        The layer of the features, their columns and those of the logits.
    calibration_scores_, offset_, class_offsets_, n_features_in_, feature_names_in_
        As in :class:`RMDS`.

    Notes
    -----
    Cost: the reference is kept in 8 bytes per number, 0.8 GB for 50,000 samples of
    2,048 features, also in a file; each input is compared with all of it by matrix
    products, block by block. With ``n_reference`` about a share s of the samples, the
    paper divides k by 1 / s as well.

    50 is the paper's k for CIFAR-10; it takes 200 for CIFAR-100 and 1,000 for ImageNet,
    chosen on noise.

    References
    ----------
    Sun, Ming, Zhu, Li (2022), "Out-of-Distribution Detection with Deep Nearest
    Neighbors", Sec. 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.detectors import DeepKNN
    >>> X = np.random.default_rng(0).normal(size=(300, 6))
    >>> X[:, :3] += 9
    >>> detector = DeepKNN(n_neighbors=5, blocks=[-1, 3], random_state=0).fit(X)
    >>> detector.predict([[7, 8, 7, 1, 0, 0], [9, -9, 9, 1, 0, 0]]).tolist()
    [1, -1]
    """

    _parameter_constraints: dict = {
        **BaseLastLayerDetector._parameter_constraints,
        "n_neighbors": [Interval(Integral, 1, None, closed="left"), None],
        "n_reference": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        *,
        n_neighbors=None,
        n_reference=None,
        layer=None,
        blocks=None,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.n_neighbors = n_neighbors
        self.n_reference = n_reference
        super().__init__(
            layer=layer,
            blocks=blocks,
            target_fpr=target_fpr,
            calibration_fraction=calibration_fraction,
            threshold=threshold,
            random_state=random_state,
        )

    def _learn(self, features, logits, random_state):
        if self.n_reference is not None and self.n_reference < len(features):
            rows = random_state.permutation(len(features))[: self.n_reference]
            features = features[rows]
        self._reference = unit_rows(features)
        most = self.n_neighbors
        if most is None:
            most = min(_N_NEIGHBORS, max(1, len(features) // (2 * logits.shape[1])))
        self.n_neighbors_ = min(most, len(features))
        self._index = NearestNeighbors(algorithm="brute").fit(self._reference)

    def _score(self, features, logits):
        z = unit_rows(features)
        nearest = self._index.kneighbors(z, self.n_neighbors_, return_distance=False)
        nearest = nearest[:, -1]
        # Its distances come from matrix products, which lose digits of small ones.
        return -np.sqrt(np.square(z - self._reference[nearest]).sum(axis=1))
