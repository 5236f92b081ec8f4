"""Several detectors as one, by adding the logarithms of their p-values."""

from numbers import Real

import numpy as np
from sklearn.base import clone

from .._compat import BaseComposition, Interval
from .._messages import brief, listed
from ..feature_extraction import FeatureArray
from ..torch_engine.activations import LOGITS
from ._base import BaseNoveltyDetector, fit_to_score
from ._blocks import find_blocks
from ._class_conditional import checked_weights
from ._decision import PER_CLASS, seed, split_rows, threshold_options
from ._scores import as_outlier_detector, in_distribution_scores

# The share of the lowest reference scores by which the tail is extended.
_TAIL = 0.2


class CombinedDetector(BaseComposition, BaseNoveltyDetector):
    r"""Several detectors as one: Fisher's combination of their p-values.

    What one detector misses another sees. Their scores have different units, so each
    is turned into a p-value: the share of in-distribution samples, held out from the
    detectors, that score as low. With p-values :math:`p_k(x)` of the detectors and
    weights :math:`w_k`, the score is

    .. math:: \sum_k w_k \log p_k(x).

    Beyond the lowest fifth of the held-out scores the p-values go on falling
    exponentially, so that what is far out ranks behind what is only just outside.

    Parameters
    ----------
    detectors : list of (str, estimator)
        Names and unfitted outlier detectors of skgrad, scikit-learn or PyOD. All see
        the whole X; those of skgrad find their columns by name.
    two_sided : array-like of str, default=None
        Names of the detectors whose score is suspicious when it is too high as well:
        attacks often make a network more certain than good inputs do.
    weights : array-like of float of shape (n_detectors,), default=None
        The weights :math:`w`, scaled to sum 1. None weighs all alike.
    reference_fraction : float, default=0.2
        Share of the samples, of those not held out for the threshold, that the
        p-values refer to; the detectors are fitted on the rest.
    blocks : array-like of int, default=None
        Widths of the column blocks, logits last, one of them possibly -1 for the
        rest. None takes them from the column names, which the output of the
        transformers has, also within a :class:`sklearn.pipeline.FeatureUnion`.
    threshold : {"overall", "per_class"}, default="overall"
        Whether ``target_fpr`` holds over all inputs together, or within each
        predicted class. A class with too few held-out samples for that, or none, gets
        the threshold of all classes together, with a warning.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples, and seeds for every ``random_state`` of the
        detectors that is None.

    Attributes
    ----------
    detectors_ : dict of str to estimator
        The fitted detectors; they have scores but no thresholds.
    reference_scores_ : dict of str to ndarray of shape (n_reference,)
        Sorted scores of the samples that the p-values refer to.
    calibration_scores_ : ndarray of shape (n_held_out,)
        Scores of the samples held out for the threshold.
    offset_ : float
        The threshold of all classes together: lower scores are rejected.
    class_offsets_ : dict of int to float, or None
        The thresholds per class, with ``threshold="per_class"``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    skgrad.detectors.make_recommended_detector : The combination that does best.

    Notes
    -----
    With n reference scores, the i-th smallest has p = i / (n + 1) from the lowest fifth
    upward, and log p is linear in between. Let u be the score at a fifth. Below it
    :math:`\log p(s) = \log p(u) - (u - s) / b`, where b is the mean distance from u of
    the scores below it, or that between the median and u if the exponential through
    both falls more slowly. Two-sided: twice the smaller of both tails, 1 at most.

    Detectors of one network are not independent, so the sum does not have Fisher's
    distribution. The promise of ``target_fpr`` does not need it: the threshold comes
    from further held-out samples.

    References
    ----------
    Fisher (1932), "Statistical Methods for Research Workers", Sec. 21.1.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad import CombinedDetector, Energy, LODA
    >>> X = np.random.default_rng(0).normal(size=(500, 6))
    >>> detector = CombinedDetector(
    ...     [("energy", Energy()), ("cuts", LODA())], blocks=[-1, 2], random_state=0
    ... ).fit(X)
    >>> detector.predict(np.array([[0, 0, 0, 0, 1, 0], [9, 9, 9, 9, 9, -9]])).tolist()
    [1, -1]
    """

    _parameter_constraints: dict = {
        **BaseNoveltyDetector._parameter_constraints,
        "detectors": [list],
        "two_sided": ["array-like", None],
        "weights": ["array-like", None],
        "reference_fraction": [Interval(Real, 0, 1, closed="neither")],
        "blocks": ["array-like", None],
        "threshold": threshold_options(),
    }

    def __init__(
        self,
        detectors,
        *,
        two_sided=None,
        weights=None,
        reference_fraction=0.2,
        blocks=None,
        threshold="overall",
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
    ):
        self.detectors = detectors
        self.two_sided = two_sided
        self.weights = weights
        self.reference_fraction = reference_fraction
        self.blocks = blocks
        self.threshold = threshold
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def get_params(self, deep=True):
        """Get the parameters, those of the detectors as ``<name>__<parameter>``.

        Parameters
        ----------
        deep : bool, default=True
            Whether to go into the detectors.

        Returns
        -------
        dict
            Parameters and their values.
        """
        return self._get_params("detectors", deep=deep)

    def set_params(self, **params):
        """Set parameters, those of the detectors as ``<name>__<parameter>``.

        Parameters
        ----------
        **params : dict
            Parameters and their values; a detector's name replaces it.

        Returns
        -------
        self : object
            The detector.
        """
        return self._set_params("detectors", **params)

    def log_p_values(self, X):
        """Tell which detector finds an input how unusual.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features of the inputs.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_detectors)
            Logarithms of the p-values, 0 or less, in the order of ``detectors``: the
            lower, the more anomalous.
        """
        return self._log_p_values(self._validated(X))

    def _fit_scores(self, X, names, random_state):
        self._check_detectors()
        self._both = set(self._two_sided())
        self._names, self._logits = self._locate(X.shape[1], names)
        X = self._named(X)
        fit, reference = np.arange(len(X)), np.arange(len(X))
        if len(X) > 1:
            fit, reference = split_rows(fit, self.reference_fraction, random_state)
        self.detectors_, self.reference_scores_ = {}, {}
        for name, detector in self.detectors:
            fitted = seed(clone(as_outlier_detector(detector)), random_state)
            self.detectors_[name] = fit_to_score(fitted, X[fit])
            scores = in_distribution_scores(fitted, X[reference])
            self.reference_scores_[name] = np.sort(scores)

    def _check_detectors(self):
        pairs = [p for p in self.detectors if isinstance(p, (tuple, list))]
        names = [pair[0] for pair in pairs if len(pair) == 2]
        if not names or len(names) != len(self.detectors):
            raise ValueError(
                "detectors must be a list of one or more pairs (name, detector); got "
                f"{brief(self.detectors)}."
            )
        self._validate_names(names)
        unknown = [name for name in self._two_sided() if name not in names]
        if unknown:
            raise ValueError(
                f"two_sided must hold names among {listed(names)}; got {unknown}."
            )
        self._weights = checked_weights(self.weights, len(names), "detector")

    def _two_sided(self):
        return [] if self.two_sided is None else list(self.two_sided)

    def _locate(self, n_columns, names):
        """Return column names by which all find the logits, and where they are."""
        if self.blocks is None and names is None and self.threshold != PER_CLASS:
            return None, None
        blocks, logits = find_blocks(n_columns, names, self.blocks)
        if self.blocks is not None:  # it comes before names
            names = [
                f"{LOGITS if i == logits else f'block{i}'}_{j}"
                for i, block in enumerate(blocks)
                for j in range(block.stop - block.start)
            ]
        return names, blocks[logits]

    def _named(self, X):
        return X if self._names is None else FeatureArray(X, self._names)

    def _log_p_values(self, X):
        X = self._named(X)
        return np.column_stack(
            [
                log_p_values(
                    in_distribution_scores(detector, X),
                    self.reference_scores_[name],
                    two_sided=name in self._both,
                )
                for name, detector in self.detectors_.items()
            ]
        )

    def _score_samples(self, X):
        # Not a matrix product, which rounds differently for other numbers of rows.
        return (self._log_p_values(X) * self._weights).sum(axis=1)

    def _predicted_class(self, X):
        return X[:, self._logits].argmax(axis=1)


def log_p_values(scores, reference, *, two_sided=False):
    """Return log p-values of scores among sorted reference scores."""
    lower = _lower_tail(scores, reference)
    if not two_sided:
        return lower
    upper = _lower_tail(-scores, -reference[::-1])
    return np.minimum(np.log(2) + np.minimum(lower, upper), 0.0)


def _lower_tail(scores, reference):
    n = len(reference)
    rank = min(max(int(np.ceil(_TAIL * n)), 2), n)
    start, log_start = reference[rank - 1], np.log(rank / (n + 1))
    inside = np.interp(scores, reference, np.log(np.arange(1, n + 1) / (n + 1)))
    with np.errstate(over="ignore"):
        depth = (start - scores) / _tail_scale(reference, rank)
    # Finite, whatever comes.
    return np.where(scores < start, log_start - np.clip(depth, 0, 1e200), inside)


def _tail_scale(reference, rank):
    """Return how far down a p-value falls to 1 / e of itself."""
    n, start = len(reference), reference[rank - 1]
    beyond = (start - reference[: rank - 1]).sum() / max(rank - 1, 1)
    # No steeper than the bulk: few scores may happen to lie together.
    ratio = max(0.5 * (n + 1) / rank, 1.01)
    bulk = (np.median(reference) - start) / np.log(ratio)
    return max(beyond, bulk, 1e-12 * (1 + abs(start)))
