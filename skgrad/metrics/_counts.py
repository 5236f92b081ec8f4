"""The detection metrics, computed from how many inputs share each score."""

import numpy as np


class ScoreCounts:
    """Numbers of in-distribution inputs and of anomalies at each distinct score.

    ``known`` and ``anomalous`` have the shape (n_draws, n_values), the lowest score
    first: one row in the public metrics, one per draw in the bootstrap.
    """

    # Sums stay whole numbers up to the last division, so that equal results are exactly
    # equal. All rows have the same sum.

    def __init__(self, known, anomalous):
        self.known, self.anomalous = known, anomalous
        self.n_known, self.n_anomalous = int(known[0].sum()), int(anomalous[0].sum())
        # Accepted by a threshold at each value: scores equal to it pass.
        self.known_from = self.n_known - known.cumsum(axis=1) + known
        self.anomalous_below = anomalous.cumsum(axis=1) - anomalous

    @classmethod
    def from_scores(cls, y_true, y_score):
        """Count one draw from labels +1 and -1 and their scores."""
        values, places = np.unique(y_score, return_inverse=True)
        return cls(
            *(
                np.bincount(places[y_true == label], minlength=len(values))[None]
                for label in (1, -1)
            )
        )

    # Each method returns an array of shape (n_draws,).

    def auroc(self):
        # A tie counts as half a win.
        twice_wins = self.known * (2 * self.anomalous_below + self.anomalous)
        return twice_wins.sum(axis=1) / (2 * self.n_known * self.n_anomalous)

    def tnr_at_tpr(self, tpr=0.95):
        return self._rejected_at(tpr) / self.n_anomalous

    def fpr_at_tpr(self, tpr=0.95):
        return (self.n_anomalous - self._rejected_at(tpr)) / self.n_anomalous

    def _rejected_at(self, tpr):
        """Count the anomalies below the highest threshold that ``tpr`` pass."""
        # The small number undoes rounding: 0.55 * 100 is 55.00000000000001.
        needed = max(int(np.ceil(tpr * self.n_known - 1e-9)), 1)
        # Their number rises with the threshold: the largest is at the highest.
        passes = self.known_from >= needed
        return np.where(passes, self.anomalous_below, 0).max(axis=1)

    def aupr_in(self):
        anomalous_from = self.n_anomalous - self.anomalous_below
        return _average_precision(self.known, self.known_from, anomalous_from)

    def aupr_out(self):
        # Anomalies are the positives here, found by scores at or below a threshold.
        positives = self.anomalous_below + self.anomalous
        negatives = self.n_known - self.known_from + self.known
        return _average_precision(self.anomalous, positives, negatives)

    def detection_accuracy(self):
        right = self.known_from * self.n_anomalous + self.anomalous_below * self.n_known
        best = right.max(axis=1) / (2 * self.n_known * self.n_anomalous)
        # Accepting nothing is a threshold as well, and is right half the time.
        return np.maximum(best, 0.5)


def _average_precision(counts, positives, negatives):
    """Sum over thresholds the precision times the recall gained there."""
    precision = positives / np.maximum(positives + negatives, 1)
    return (counts * precision).sum(axis=1) / counts[0].sum()
