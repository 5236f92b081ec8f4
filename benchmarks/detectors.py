"""Detectors at scale: time and memory beside those of scikit-learn and PyOD.

    python benchmarks/detectors.py              # the tables but for the largest
    python benchmarks/detectors.py --only LODA  # the rows of one detector
    python benchmarks/detectors.py --largest    # 50,000 samples of 1,000 classes
    python benchmarks/detectors.py --quick      # few samples, to see that it runs

CPU seconds of one thread, ours and theirs taken in turn on the same data: medians of
the rounds, and of the ratios also the lowest and the highest. Memory is what numpy held
at most beyond the data during `fit`; what libsvm holds, in both, does not count.
"""

import argparse
import statistics
import time
import tracemalloc

import numpy as np
from pyod.models.loda import LODA as OfPyOD  # noqa: N811
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.covariance import LedoitWolf
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import SGDOneClassSVM
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from threadpoolctl import threadpool_limits

from skgrad import (
    LODA,
    ClassConditionalDetector,
    ClassConditionalGaussian,
    MLPAnomalyClassifier,
    PerClassSVDD,
)

# Next to no samples are held out, so that both fit on as many.
ALL = {"calibration_fraction": 1e-9, "target_fpr": 0.5, "random_state": 0}


# %%
# Data: features of classes that overlap, then logits


def draw(n_samples, n_features, n_classes, seed=0, *, apart=2.0):
    """Return features with logits, and the classes."""
    generator = np.random.default_rng(seed)
    classes = generator.integers(n_classes, size=n_samples)
    means = np.random.default_rng(1).normal(size=(n_classes, n_features))
    X = np.empty((n_samples, n_features + n_classes))
    generator.standard_normal(out=X)
    X[:, :n_features] += apart * means[classes]
    X[np.arange(n_samples), n_features + classes] += 9
    return X, classes


# %%
# What stands beside ours


class PerClass(OutlierMixin, BaseEstimator):
    """An estimator of scikit-learn per class and block of columns, as one writes it."""

    def __init__(self, estimator, n_features, with_logits=True):
        self.estimator, self.n_features = estimator, n_features
        self.with_logits = with_logits

    def _blocks(self, X):
        blocks = X[:, : self.n_features], X[:, self.n_features :]
        return blocks if self.with_logits else blocks[:1]

    def fit(self, X, y=None):
        """Fit one for each predicted class."""
        classes = X[:, self.n_features :].argmax(axis=1)
        self.parts_ = {
            label: [
                clone(self.estimator).fit(block[classes == label])
                for block in self._blocks(X)
            ]
            for label in np.unique(classes)
        }
        return self

    def score_samples(self, X):
        """Return the sum of the scores of both blocks."""
        classes, scores = X[:, self.n_features :].argmax(axis=1), np.zeros(len(X))
        for label in np.unique(classes):
            rows = classes == label
            for block, part in zip(
                self._blocks(X[rows]), self.parts_[label], strict=True
            ):
                scores[rows] += self._score(part, block)
        return scores

    def _score(self, part, rows):
        if hasattr(part, "mahalanobis"):
            return -part.mahalanobis(rows)
        return part.score_samples(rows)


def svm(nu=0.1):
    """Return scikit-learn's description of one class."""
    return make_pipeline(StandardScaler(), OneClassSVM(nu=nu))


def approximate_svm(nu=0.1):
    """Return its approximation, whose time grows with the number of rows alone."""
    kernel = Nystroem(gamma=None, n_components=100, random_state=0)
    return make_pipeline(
        StandardScaler(), kernel, SGDOneClassSVM(nu=nu, random_state=0)
    )


def pairs(quick):
    """Yield name, sizes (n, d, classes), ours and theirs."""
    small = [(300, 10, 3)]
    for n, d in [(300, 10)] if quick else [(10**3, 10), (10**5, 10), (10**4, 1000)]:
        yield (
            "LODA",
            (n, d, 2),
            LODA(n_bins=10, **ALL),
            OfPyOD(n_bins=10, n_random_cuts=100),
        )
    sizes = [(2000, 20, 10), (20_000, 20, 10), (10_000, 100, 100)]
    for n, d, c in small if quick else sizes:
        ours = PerClassSVDD(blocks=[-1, c], **ALL)
        yield "PerClassSVDD", (n, d, c), ours, PerClass(svm(), d)
    sizes = [(1000, 100, 10), (10_000, 300, 100), (4000, 1000, 100)]
    for n, d, c in small if quick else sizes:
        ours = ClassConditionalGaussian(
            blocks=[-1, c], include_logits=False, min_class_size=2, **ALL
        )
        yield "Gaussian", (n, d, c), ours, PerClass(LedoitWolf(), d, False)


def learners(quick):
    """Yield name, sizes (n, d), ours and theirs of those that learn from anomalies."""
    theirs = MLPClassifier(
        early_stopping=True,
        validation_fraction=0.5,
        learning_rate_init=0.01,
        batch_size=128,
        n_iter_no_change=20,
        max_iter=300,
        tol=0,
        random_state=0,
    )
    for n, d in [(100, 5)] if quick else [(1000, 12), (10_000, 102)]:
        yield "MLP", (n, d, 2), MLPAnomalyClassifier(random_state=0), theirs


# %%
# Measuring


def seconds(work, *args):
    """Return the CPU seconds of one call."""
    start = time.process_time()
    work(*args)
    return time.process_time() - start


def peak(estimator, *data):
    """Return the most megabytes that numpy held during `fit`, and the fitted one."""
    tracemalloc.start()
    estimator = clone(estimator).fit(*data)
    most = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return most, estimator


def scorer_of(estimator):
    """Return what an estimator scores with."""
    names = ("score_samples", "predict_proba", "decision_function")
    return next(getattr(estimator, n) for n in names if hasattr(estimator, n))


def compare(name, sizes, ours, theirs, data, n_rounds):
    """Print one row: time of fit and score, ratios, and memory."""
    times = {"fit": ([], []), "score": ([], [])}
    for _ in range(n_rounds):
        for place, estimator in enumerate((ours, theirs)):
            fitted = clone(estimator)
            times["fit"][place].append(seconds(fitted.fit, *data))
            times["score"][place].append(seconds(scorer_of(fitted), data[0]))
    cells = [name, " x ".join(f"{size:,}" for size in sizes[:2]), sizes[2]]
    cells += [f"{statistics.median(mine):.3f}" for mine, _ in times.values()]
    cells += [ratios(*pair) for pair in times.values()]
    # Last: the first fit of all imports what it needs, too.
    megabytes = [peak(estimator, *data)[0] for estimator in (ours, theirs)]
    cells.append(f"{megabytes[0]:.0f} / {megabytes[1]:.0f}")
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def ratios(ours, theirs):
    """Return median, lowest and highest of their times over ours."""
    every = [b / max(a, 1e-9) for a, b in zip(ours, theirs, strict=True)]
    return f"{statistics.median(every):.1f} ({min(every):.1f} to {max(every):.1f})"


def compare_all(quick, only=None):
    """Print the table of all detectors, or of the one with this name."""
    n_rounds = 1 if quick else 3
    print("| detector | samples x features | classes | fit, s | score, s ", end="")
    print("| their fit / fit | their score / score | MB at most, ours / theirs |")
    print("|---" * 8 + "|")
    for name, sizes, ours, theirs in pairs(quick):
        if name == (only or name):
            X, _ = draw(*sizes)
            # LODA takes all columns as features. A view would slow PyOD's down.
            data = np.ascontiguousarray(X[:, : sizes[1]]) if name == "LODA" else X
            compare(name, sizes, ours, theirs, (data,), n_rounds)
    for name, sizes, ours, theirs in learners(quick):
        if name == (only or name):
            X, y = draw(*sizes, apart=0.1)
            data = np.ascontiguousarray(X[:, : sizes[1]]), y
            compare(name, sizes, ours, theirs, data, n_rounds)


def compare_approximation(quick):
    """Print what an approximation of the support vector machines costs in AUROC."""
    n, d, c = (400, 10, 3) if quick else (40_000, 20, 10)
    X, _ = draw(n, d, c)
    test, _ = draw(2000, d, c, seed=2)
    wrong, _ = draw(2000, d, c, seed=3)
    # Features of one class under the logits of the next one.
    wrong[:, d:] = np.roll(wrong[:, d:], 1, axis=1)
    y = np.repeat([1, 0], 2000)
    print(
        "\n| support vector machines | fit, s | score, s | AUROC |\n|---|--:|--:|--:|"
    )
    shared = {"blocks": [-1, c], **ALL}
    for name, detector in (
        ("exact", PerClassSVDD(**shared)),
        ("Nystroem", ClassConditionalDetector(approximate_svm(), **shared)),
    ):
        fit = seconds(detector.fit, X)
        mixed = np.vstack([test, wrong])
        score = seconds(detector.score_samples, mixed)
        area = 100 * roc_auc_score(y, detector.score_samples(mixed))
        print(f"| {name} | {fit:.2f} | {score:.2f} | {area:.1f} |", flush=True)


def fit_largest(n=50_000, d=3041, c=1000):
    """Print time and memory of Gaussians for as many classes as ImageNet has."""
    X, _ = draw(n, d, c)
    detector = ClassConditionalGaussian(
        covariance=0.5, blocks=[-1, c], include_logits=False, random_state=0
    )
    start = time.process_time()
    megabytes, detector = peak(detector, X)
    fit = time.process_time() - start
    score = seconds(detector.score_samples, X[:2000])
    print(
        f"{n:,} x ({d:,} + {c:,} logits), {X.nbytes / 1e9:.2f} GB: fit {fit:.0f} s, "
        f"2,000 scores {score:.1f} s, at most {megabytes / 1000:.2f} GB beyond X, "
        f"{len(detector.modelled_classes_)} classes with a model of their own"
    )


def main(arguments=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few samples")
    parser.add_argument("--only", help="the rows of one detector, such as LODA")
    parser.add_argument("--largest", action="store_true", help="1,000 classes alone")
    args = parser.parse_args(arguments)
    with threadpool_limits(1):
        if args.largest:
            return fit_largest(*((200, 30, 10) if args.quick else ()))
        compare_all(args.quick, args.only)
        if args.only is None:
            compare_approximation(args.quick)


if __name__ == "__main__":
    main()
