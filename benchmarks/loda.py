"""LODA beside PyOD's: how well anomalies of embedded data are found.

    python benchmarks/loda.py           # the table of RESULTS.md
    python benchmarks/loda.py --quick   # one seed, to see that it runs

Both get the same training data, all of it in-distribution, the same number of cuts and
bins, and the same test data; the AUROC is the mean over seeds of the split and of the
cuts. ``detectors.py`` compares their times.
"""

import argparse

import numpy as np
from pyod.models.loda import LODA as OfPyOD  # noqa: N811
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from skgrad import LODA

N_CUTS = 100


def ours(n_bins, seed):
    """Return our detector; it needs next to no held-out samples here."""
    return LODA(
        N_CUTS, n_bins, calibration_fraction=1e-9, target_fpr=0.5, random_state=seed
    )


def theirs(n_bins, seed):
    """Return PyOD's detector, with its sign."""
    detector = OfPyOD(n_random_cuts=N_CUTS, n_bins=n_bins)
    np.random.seed(seed)  # noqa: NPY002 - earlier versions know nothing else
    return detector


def anomaly_sets(seed):
    """Yield name, training rows, fresh in-distribution rows and anomalies."""
    generator = np.random.default_rng(seed)
    digits = load_digits(return_X_y=True)
    for name, (X, y), inlier in (
        ("breast cancer: benign", load_breast_cancer(return_X_y=True), 1),
        ("wine: the second cultivar", load_wine(return_X_y=True), 1),
        ("digits: the zeros", digits, 0),
        ("digits: the sevens", digits, 7),
    ):
        own = generator.permutation(np.flatnonzero(y == inlier))
        half = len(own) // 2
        yield name, X[own[:half]], X[own[half:]], X[y != inlier]
    X = generator.normal(size=(6000, 5))
    yield "Gaussian, three times as wide", X[:4000], X[4000:], 3 * X[4000:]
    X = np.where(generator.uniform(size=(6000, 5)) < 0.5, X - 4, X + 4)
    yield (
        "clumps, and between them",
        X[:4000],
        X[4000:],
        generator.normal(size=(2000, 5)),
    )


def compare_areas(n_seeds):
    """Print the AUROC of both on all data, for three choices of bins."""
    choices = (10, 100, "auto")
    head = [f"{who}, {bins}" for bins in choices for who in ("ours", "PyOD")]
    print(f"AUROC in percent, mean (standard deviation) over {n_seeds} seeds\n")
    print("| data |", " | ".join(head), "|")
    print("|---" * (1 + len(head)) + "|")
    areas = {}
    for seed in range(n_seeds):
        for name, train, fresh, anomalies in anomaly_sets(seed):
            scaler = StandardScaler().fit(train)
            train, test = (
                scaler.transform(part)
                for part in (train, np.vstack([fresh, anomalies]))
            )
            y = np.repeat([1, 0], [len(fresh), len(anomalies)])
            row = areas.setdefault(name, [])
            row.append([])
            for bins in choices:
                mine = ours(bins, seed).fit(train).score_samples(test)
                other = -theirs(bins, seed).fit(train).decision_function(test)
                row[-1] += [100 * roc_auc_score(y, scores) for scores in (mine, other)]
    for name, rows in areas.items():
        mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0)
        cells = (f"{m:.1f} ({s:.1f})" for m, s in zip(mean, spread, strict=True))
        print(f"| {name} |", " | ".join(cells), "|")


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed")
    quick = parser.parse_args(arguments).quick
    compare_areas(1 if quick else 5)


if __name__ == "__main__":
    main()
