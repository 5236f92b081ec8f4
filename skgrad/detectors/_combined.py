"""Several detectors as one, by the sum of their log p-values."""

from numbers import Real

import numpy as np
from sklearn.base import clone

from .._compat import BaseComposition, Interval
from .._messages import brief, listed
from .._seeding import seed_estimator
from ..torch_engine.activations import LOGITS
from ._base import BaseNoveltyDetector
from ._base_class_conditional import check_weights, numbers_each
from ._blocks import find_blocks
from ._decision import PER_CLASS, split_rows, threshold_options
from ._parts import fit_part, score_part
from ._scores import as_outlier_detector

# The tail is extended from this share of the reference scores, the lowest.
_TAIL = 0.2
# How far below the tail a score counts, in its scale: sums of several are finite.
DEEPEST = 1e200


class CombinedDetector(BaseComposition, BaseNoveltyDetector):
    r"""Several detectors as one: Fisher's combination of their p-values.

    Scores of different units become comparable as p-values: shares of in-distribution
    samples, held out from the detectors, that score as low. With p-values
    :math:`p_k(x)` and weights :math:`w_k` of the detectors, the score is

    .. math:: \sum_k w_k \log \min(p_k(x), c_k),

    with :math:`c_k = 1` unless ``max_p_values`` says otherwise.

    Parameters
    ----------
    detectors : list of (str, estimator)
        Names and unfitted outlier detectors of skgrad, scikit-learn or PyOD. Their
        parameters for the decision stay at their defaults: set them here.
    two_sided : array-like of str, default=None
        Names of the detectors whose high scores are suspicious as well: attacks often
        make a network more confident than in-distribution inputs do.
    weights : array-like of float of shape (n_detectors,), default=None
        The weights :math:`w`, scaled to sum 1. None weights all equally.
    max_p_values : array-like of float of shape (n_detectors,), default=None
        The largest p-values that count, :math:`c` in (0, 1]: a higher one counts as
        this. With 0.2 a detector accuses only the fifth of the in-distribution inputs
        that it finds strangest, and says nothing of the others, so that it adds no
        noise to what other detectors know of them. None is 1 for all.
    reference_fraction : float, default=0.2
        Share of the training samples that the p-values refer to, out of the fit.
    blocks : array-like of int, default=None
        Widths of the column blocks, logits last, -1 for the rest; None uses the names.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold.
    threshold : {"overall", "per_class"}, default="overall"
        Whether ``target_fpr`` holds over all inputs or within each predicted class.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples and the seeds of the parts that have none.

    Attributes
    ----------
    detectors_ : dict of str to estimator
        The fitted detectors; they have scores but no thresholds.
    reference_scores_ : dict of str to ndarray of shape (n_reference,)
        Sorted scores of the samples that the p-values refer to.
    calibration_scores_, offset_, class_offsets_ : ndarray, float, dict or None
        Scores of held-out samples, and their thresholds overall and per class.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of features, and their names if X was a data frame.

    See Also
    --------
    skgrad.detectors.make_recommended_detector : A combination with its features.

    Notes
    -----
    With m reference scores and u the k-th smallest of them, k = 0.2 m rounded up, a
    score :math:`s < u` has the log p-value :math:`\log \frac{k}{m + 1} -
    \frac{u - s}{b}`, so that anomalies far outside rank lower than those just outside.
    The scale b is the mean excess of the k - 1 scores below u, or the slope between the
    median and u if that falls more slowly. Higher scores interpolate between the ranks.
    Two-sided: twice the smaller of both tails, 1 at most.

    Detectors of one network are not independent, so the sum does not have Fisher's
    distribution. The threshold needs none: it is placed by other held-out samples.

    ``max_p_values`` is a soft form of the truncated product of Zaykin et al., which
    leaves out p-values above a bound.

    References
    ----------
    Fisher (1932), "Statistical Methods for Research Workers", Sec. 21.1.

    Zaykin, Zhivotovsky, Westfall, Weir (2002), "Truncated product method for combining
    P-values", Genetic Epidemiology 22, Eq. 1.

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
        "max_p_values": ["array-like", None],
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
        max_p_values=None,
        reference_fraction=0.2,
        blocks=None,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.detectors = detectors
        self.two_sided = two_sided
        self.weights = weights
        self.max_p_values = max_p_values
        self.reference_fraction = reference_fraction
        self.blocks = blocks
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.threshold = threshold
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
        """Return the log p-values of each detector: the lowest raised the alarm.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features of the inputs.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_detectors)
            Logarithms of the p-values, 0 or less: the lower, the more anomalous. They
            are those before ``max_p_values``. The columns have the names and the order
            of ``detectors_``.
        """
        return self._log_p_values(self._check_test_data(X))

    def _fit_scores(self, X, names, random_state):
        self._check_detectors()
        both_tails = set(self._two_sided())
        self._names, self._logits = self._locate(X.shape[1], names)
        # Detectors score the samples that they were fitted on too high for a reference.
        # A single sample has to serve for both.
        fit, reference = np.arange(len(X)), np.arange(len(X))
        if len(X) > 1:
            fit, reference = split_rows(fit, self.reference_fraction, random_state)
        self.detectors_, self.reference_scores_, self._p_values = {}, {}, {}
        for name, detector in self.detectors:
            detector = as_outlier_detector(detector, f"detectors[{name!r}]")
            detector = seed_estimator(clone(detector), random_state)
            self.detectors_[name] = fit_part(detector, X[fit], self._names)
            scores = np.sort(score_part(detector, X[reference], self._names))
            self.reference_scores_[name] = scores
            two_sided = name in both_tails
            self._p_values[name] = LogPValues(scores, two_sided=two_sided)

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
        self._weights = check_weights(self.weights, len(names), "detector")
        self._log_ceilings = np.log(_check_ceilings(self.max_p_values, len(names)))

    def _two_sided(self):
        return [] if self.two_sided is None else list(self.two_sided)

    def _locate(self, n_columns, names):
        """Return names by which the detectors find the logits, and their columns."""
        # Detectors of all columns, such as LODA, need no logits.
        if self.blocks is None and names is None and self.threshold != PER_CLASS:
            return None, None
        blocks, logits = find_blocks(n_columns, names, self.blocks)
        # Given widths take precedence over names of X. They become names, because the
        # detectors are cloned without knowing the widths.
        if self.blocks is not None:
            names = [
                f"{LOGITS if i == logits else f'block{i}'}_{j}"
                for i, block in enumerate(blocks)
                for j in range(block.stop - block.start)
            ]
        return names, blocks[logits]

    def _log_p_values(self, X):
        return np.column_stack(
            [
                self._p_values[name].of(score_part(detector, X, self._names))
                for name, detector in self.detectors_.items()
            ]
        )

    def _terms(self, X):
        """Return what each detector adds to the score."""
        return np.minimum(self._log_p_values(X), self._log_ceilings) * self._weights

    def _score_samples(self, X):
        # A matrix product may round differently for other numbers of rows.
        return self._terms(X).sum(axis=1)

    def _predicted_class(self, X):
        return X[:, self._logits].argmax(axis=1)


def _check_ceilings(max_p_values, n_detectors):
    """Return the largest p-value that counts, of each detector."""
    given = numbers_each(max_p_values, n_detectors)
    if given is None or not np.all((given > 0) & (given <= 1)):
        raise ValueError(
            "max_p_values must be None or numbers in (0, 1], one per detector, "
            f"{n_detectors} here; got {brief(max_p_values)}."
        )
    return given


class LogPValues:
    """Log p-values of scores among sorted reference scores."""

    def __init__(self, reference, *, two_sided=False):
        self.lower = _LowerTail(reference)
        self.upper = _LowerTail(-reference[::-1]) if two_sided else None

    def of(self, scores):
        """Return the log p-value of each score."""
        lower = self.lower.log_p_values(scores)
        if self.upper is None:
            return lower
        upper = self.upper.log_p_values(-scores)
        return np.minimum(np.log(2) + np.minimum(lower, upper), 0.0)


class _LowerTail:
    """What the p-values of low scores need to know of the reference, computed once."""

    def __init__(self, reference):
        n = len(reference)
        # Two scores at least, for a mean excess over the second.
        rank = min(max(int(np.ceil(_TAIL * n)), 2), n)
        self.reference, self.start = reference, reference[rank - 1]
        self.log_start = np.log(rank / (n + 1))
        # The i-th of n scores has the p-value i / (n + 1), between 0 and 1.
        self.log_ranks = np.log(np.arange(1, n + 1) / (n + 1))
        self.scale = _tail_scale(reference, rank)

    def log_p_values(self, scores):
        inside = np.interp(scores, self.reference, self.log_ranks)
        with np.errstate(over="ignore"):
            depth = (self.start - scores) / self.scale
        outside = self.log_start - np.clip(depth, 0, DEEPEST)
        return np.where(scores < self.start, outside, inside)


def _tail_scale(reference, rank):
    """Return the distance over which a p-value falls to 1 / e."""
    n, start = len(reference), reference[rank - 1]
    beyond = (start - reference[: rank - 1]).sum() / max(rank - 1, 1)
    # At least that of the bulk: the few scores of the tail may be close by chance.
    ratio = max(0.5 * (n + 1) / rank, 1.01)
    bulk = (np.median(reference) - start) / np.log(ratio)
    return max(beyond, bulk, 1e-12 * (1 + abs(start)))
