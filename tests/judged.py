"""Small results for the tests of reports."""

from dataclasses import dataclass, replace

import numpy as np

from skgrad.evaluation import Result


@dataclass(frozen=True)
class Repeated(Result):
    """A result of one seed and fold; without anomalies its metrics are NaN."""

    seed: int = 0
    fold: int = 0
    fit_seconds: float = np.nan
    score_seconds: float = np.nan
    peak_memory: float = np.nan

    @property
    def metrics(self):
        if self.offset is None:
            return replace(self, offset=0.5).metrics
        if len(self.scores_anomaly):
            return super().metrics
        names = ("auroc", "tnr_at_95tpr", "aupr_in", "aupr_out")
        names += ("detection_accuracy", "rejected_anomalies")
        return dict.fromkeys(names, np.nan)


def make(detector="d", anomaly="a", area=1.0, n=10, **more):
    """Make a result with exactly this area; every score of an anomaly is 0 or 2."""
    anomalies = np.zeros(n)
    anomalies[: round((1 - area) * n)] = 2
    offset = more.pop("offset", 0.5)
    return Repeated(detector, anomaly, np.ones(20), anomalies, offset, **more)


def no_anomalies(detector="d", anomaly="a", **more):
    """Make the result of an attack that never succeeded."""
    offset = more.pop("offset", 0.5)
    return Repeated(detector, anomaly, np.ones(20), np.empty(0), offset, **more)


def many():
    """Make two seeds of three detectors and kinds; names with markup; gaps."""
    rng = np.random.default_rng(0)
    results = []
    for seed in (0, 1):
        for detector, shift in (("<b>&|*", 1.0), ("good", 3.0), ("poor", -0.5)):
            for kind in ("noise", "<script>alert(1)</script>", "far & away"):
                if (detector, kind) == ("poor", "noise"):
                    continue
                known = rng.normal(size=40)
                strange = rng.normal(size=30) - shift
                results.append(
                    Repeated(detector, kind, known, strange, -1.6, seed=seed)
                )
    results.append(no_anomalies("good", "never succeeded"))
    return results
