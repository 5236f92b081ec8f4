"""Small results of evaluations for the tests of reports."""

import numpy as np

from skgrad.evaluation import Result


def make(detector="d", anomaly="a", area=1.0, n=10, offset=0.5, **more):
    """Make a result with exactly this area; every score of an anomaly is 0 or 2."""
    anomalies = np.zeros(n)
    anomalies[: round((1 - area) * n)] = 2
    rejected = {}
    if offset is None:
        rejected = {
            "rejected_id": np.zeros(20, bool),
            "rejected_anomaly": anomalies < 1,
        }
    return Result(detector, anomaly, np.ones(20), anomalies, offset, **rejected, **more)


def no_anomalies(detector="d", anomaly="a", offset=0.5, **more):
    """Make the result of an attack that never succeeded."""
    return Result(detector, anomaly, np.ones(20), np.empty(0), offset, **more)


def many():
    """Make two seeds of three detectors and kinds; names with markup, and gaps."""
    rng = np.random.default_rng(0)
    results = []
    for seed in (0, 1):
        for detector, shift in (("<b>&|*", 1.0), ("good", 3.0), ("poor", -0.5)):
            for kind in ("noise", "<script>alert(1)</script>", "far & away"):
                if (detector, kind) == ("poor", "noise"):
                    continue
                known = rng.normal(size=40)
                found = rng.normal(size=30) - shift
                results.append(Result(detector, kind, known, found, -1.6, seed=seed))
    results.append(no_anomalies("good", "never succeeded"))
    return results


def two_groups():
    """Make two detectors and seeds; attacks are two of the three kinds."""
    areas = {
        ("a", "photos", "near data"): (0.9, 0.7),
        ("a", "FGSM", "attacks"): (0.5, 0.5),
        ("a", "PGD", "attacks"): (1.0, 1.0),
        ("b", "photos", "near data"): (0.6, 0.6),
        ("b", "FGSM", "attacks"): (0.9, 0.7),
        ("b", "PGD", "attacks"): (0.9, 0.9),
    }
    return [
        make(detector, kind, area, seed=seed, group=group)
        for (detector, kind, group), of_seeds in areas.items()
        for seed, area in enumerate(of_seeds)
    ]
