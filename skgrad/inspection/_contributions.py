"""Which layer, class pair or feature raised the alarm: Shapley values of the score."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn.utils import Bunch, check_random_state

from .._compat import Interval, validate_params
from .._unwrap import last_step, transform_to_last_step
from ..detectors import CombinedDetector
from ..feature_extraction._feature_array import in_container_of
from ._column_groups import group_columns
from ._display import Spread
from ._shapley import make_plans
from ._split_detector import SplitDetector, split_detector

# Values in the mixed rows that are scored at once: 32 MB in float64.
_MOST_VALUES = 2**22


@validate_params(
    {
        "groups": [str, "array-like"],
        "n_permutations": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def score_contributions(
    estimator, X, X_test, *, groups="layer", n_permutations=50, random_state=None
):
    r"""Compute which groups of features lowered a detector's score, and by how much.

    Some features of an input are exchanged for those of an in-distribution input, and
    the detector scores the mixture: what brings the score back up had lowered it. With
    G groups of columns, a score s, an input x and in-distribution inputs r, let
    :math:`v_r(A)` be the score of the mixture that has the columns of the groups in A
    from x and all others from r. The contribution of group g is its Shapley value, the
    mean over all orders in which the groups of x may join,

    .. math:: \phi_g = -\frac{1}{\mathrm{IQR}} \, \operatorname{mean}_r \sum_{A \not\ni
              g} \frac{|A|! \, (G - |A| - 1)!}{G!}
              \left( v_r(A \cup \{g\}) - v_r(A) \right),

    in interquartile ranges (IQR) of the scores of ``X_test``. Positive ones raised the
    alarm, negative ones lowered it. They add up exactly to how far the score lies
    below that of the inputs r: :math:`\sum_g \phi_g = (\operatorname{mean}_r s(r) -
    s(x)) / \mathrm{IQR}`.

    Parameters
    ----------
    estimator : estimator
        A fitted outlier detector or binary classifier over a matrix of features, or a
        pipeline with one at its end, whose features are those behind the last step that
        holds a network.
    X : array-like of shape (n_samples, *input_shape)
        Inputs to explain, as the estimator takes them.
    X_test : array-like of shape (n_in_distribution, *input_shape)
        In-distribution inputs, preferably ones that the estimator was not fitted on.
    groups : {"layer", "feature", "part"} or array-like of str, default="layer"
        What is explained as one:

        - "layer": the columns of one layer, by their names, in a FeatureUnion ``<step>:
          <layer>``. Each pair of classes and each statistic of
          :class:`~skgrad.CosineSimilarityMatrixTransformer` is a group;
        - "feature": each column;
        - "part": the parts of a :class:`~skgrad.CombinedDetector`, which has to come
          last; exact without sampling, as it adds their logarithms of p-values;
        - a name for each column.
    n_permutations : int, default=50
        Number of in-distribution inputs r per input. With more than 5 groups each has
        a random order, which is also reversed; with up to 5 all orders are taken.
    random_state : int, RandomState instance or None, default=None
        Draws the inputs r and the orders.

    Returns
    -------
    Bunch
        ``contributions``, an ndarray of shape (n_samples, n_groups): the higher, the
        more it raised the alarm; ``groups``, the names of the groups; ``scores`` of X,
        higher = more in-distribution; ``reference_scores``, the mean scores of the
        inputs r of each; and ``spread``, the IQR of the scores of ``X_test``.

    Notes
    -----
    Inputs r are those of ``X_test`` with the same predicted class as x, where the
    logits are among the features and there are any; otherwise all. All inputs are
    compared by the same draws, so the result for one does not depend on the others.

    Cost: the features are computed once. Then the detector alone scores ``2 * n_groups
    * n_permutations`` mixed rows per input, or ``2**n_groups * n_permutations`` with up
    to 5 groups.

    Limits: mixtures of two inputs are unlike anything that the network computes, and a
    detector of correlations may find them more anomalous than either. A contribution
    describes what the *detector* reacted to, not what in the input caused it. Two
    layers that carry the same information share it.

    References
    ----------
    Shapley (1953), "A Value for n-Person Games". Strumbelj, Kononenko (2014),
    "Explaining Prediction Models and Individual Predictions with Feature
    Contributions", Algorithm 1 (sampling).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.covariance import EllipticEnvelope
    >>> from skgrad.inspection import score_contributions
    >>> X_test = np.random.default_rng(0).normal(size=(400, 3))
    >>> detector = EllipticEnvelope(random_state=0).fit(X_test)
    >>> found = score_contributions(detector, [[0, 9, 1]], X_test, random_state=0)
    >>> found.groups[int(found.contributions.argmax())]
    'column 1'
    """
    game = ShapleyGame.from_detector(estimator, X_test, n_permutations, random_state)
    return game.explain(game.detector.features(X), groups)


@dataclass
class ShapleyGame:
    """A detector, its in-distribution inputs, and how they are drawn.

    The players are groups of columns; the worth of a coalition is the score of a row
    that has its columns from the input and all others from an in-distribution one.
    """

    detector: SplitDetector
    n_permutations: int
    ranking: np.ndarray  # the in-distribution inputs in the order they are drawn
    seed: int  # of the orders
    scores: np.ndarray

    @classmethod
    def from_detector(cls, estimator, X_test, n_permutations, random_state):
        """Compute what the games of all inputs share."""
        detector = split_detector(estimator, X_test)
        random_state = check_random_state(random_state)
        ranking = random_state.permutation(len(detector.values))
        seed = random_state.randint(np.iinfo(np.int32).max)
        scores = detector.scores(detector.values)
        return cls(detector, n_permutations, ranking, seed, scores)

    def explain(self, values, groups):
        """Return the contributions to the scores of these features."""
        rows = self.references(values)
        spread = Spread(self.scores).size
        if isinstance(groups, str) and groups == "part":
            labels, falls = self._falls_by_part(values, rows)
        else:
            labels, falls = self._falls_by_column(values, rows, groups)
        return Bunch(
            contributions=falls / spread,
            groups=labels,
            scores=self.detector.scores(values),
            reference_scores=self.scores[rows].mean(axis=1),
            spread=float(spread),
        )

    def references(self, values):
        """Return the in-distribution inputs that each input is compared with."""
        known = self.detector.predicted_classes(self.detector.values)[self.ranking]
        rows = []
        for predicted in self.detector.predicted_classes(values):
            same_class = self.ranking[known == predicted]
            same_class = same_class if len(same_class) else self.ranking
            # Repeated if they are fewer than the permutations.
            rows.append(np.resize(same_class, self.n_permutations))
        return np.array(rows).reshape(len(values), self.n_permutations)

    def _falls_by_column(self, values, rows, groups):
        """Return how far each group of columns lowers the scores."""
        n_columns = values.shape[1]
        labels, owners = group_columns(self.detector.names, n_columns, groups)
        random_state = np.random.RandomState(self.seed)
        plans = make_plans(len(labels), self.n_permutations, random_state)
        # The columns that each coalition takes from the input.
        masks = [members[:, owners] for members, _ in plans]
        falls = np.zeros((len(values), len(labels)))
        pairs = [(i, k) for i in range(len(values)) for k in range(len(plans))]
        at_once = max(_MOST_VALUES // masks[0].size, 1)
        for start in range(0, len(pairs), at_once):
            block = pairs[start : start + at_once]
            mixed = [
                np.where(masks[k], values[i], self.detector.values[rows[i, k]])
                for i, k in block
            ]
            worths = self.detector.scores(np.concatenate(mixed))
            worths = worths.reshape(len(block), -1)
            for (i, k), worth in zip(block, worths, strict=True):
                # Minus, as a contribution is positive where it lowers the score.
                falls[i] -= plans[k][1] @ worth / len(plans)
        return labels, falls

    def _falls_by_part(self, values, rows):
        """Return how far each part of a combined detector lowers the scores."""
        combined = last_step(self.detector.tail)
        if not isinstance(combined, CombinedDetector):
            raise ValueError(
                "groups='part' needs a CombinedDetector as last step, such as that of "
                f"make_recommended_detector; got {type(combined).__name__}. Use "
                "groups='layer'."
            )
        known = self._terms(combined, self.detector.values)
        falls = known[rows].mean(axis=1) - self._terms(combined, values)
        return list(combined.detectors_), falls

    def _terms(self, combined, values):
        X = in_container_of(self.detector.template, values)
        X = transform_to_last_step(self.detector.tail, X)
        return combined._terms(combined._check_test_data(X))
