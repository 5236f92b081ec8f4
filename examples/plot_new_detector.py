"""
Write a detector in twenty lines
================================

You write a detector of your own as a scikit-learn estimator, and skgrad gives it the
rest: a promised false-alarm rate, one model per class, searches, comparisons. You see
what a search over its parameter finds, and how it does beside two of skgrad's own.
"""

# %%
# The idea
# --------
# An input is usual if its features are near those of some inputs that were seen in
# training. The distance to the k-th nearest of them is the score. That is an old idea,
# and here a small example of an ``OutlierMixin``: it needs ``fit``, ``score_samples``
# (higher = more usual), ``decision_function`` and ``predict`` (+1 or -1).
#
# It takes rows of numbers and knows nothing of networks.
import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted, validate_data


class NeighborDistance(OutlierMixin, BaseEstimator):
    def __init__(self, k=5):
        self.k = k

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=np.float64)
        k = min(self.k, len(X))
        self.scale_ = X.std(axis=0) + 1e-12
        self.neighbors_ = NearestNeighbors(n_neighbors=k).fit(X / self.scale_)
        self.offset_ = np.quantile(self.score_samples(X), 0.05)
        return self

    def score_samples(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return -self.neighbors_.kneighbors(X / self.scale_)[0][:, -1]

    def decision_function(self, X):
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        return np.where(self.decision_function(X) >= 0, 1, -1)


# %%
# scikit-learn has some forty checks for such an estimator: shapes, dtypes, wrong input,
# clones, pickles. They raise an error where one is not passed.
from sklearn.utils.estimator_checks import check_estimator

results = check_estimator(NeighborDistance(), on_skip=None)
counts = [result["status"] for result in results]
print({status: counts.count(status) for status in sorted(set(counts))})

# %%
# A network to watch
# ------------------
# skgrad's transformers turn images into rows: here the outputs of a layer and the
# logits of a small network for digits.
from sklearn.pipeline import make_pipeline

from skgrad import LayerActivationTransformer
from skgrad.datasets import (
    load_digits_images,
    make_gaussian_noise,
    make_photo_patches,
)
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
features = LayerActivationTransformer(net, ["conv2", "fc1", "logits"])
alone = make_pipeline(features, NeighborDistance()).fit(digits.X_fit)
print(f"{np.mean(alone.predict(digits.X_test) == -1):.1%} false alarms, 5 % meant")

# %%
# The threshold above was placed by the training scores. Each training input is its own
# nearest neighbour, so they are too good, and new digits are rejected too often.
#
# A false-alarm rate that holds
# -----------------------------
# ``ConformalDetector`` holds a fifth of the inputs out and places the threshold by
# them. It also brings p-values and ``select_anomalies``.
from skgrad import ConformalDetector

promised = make_pipeline(
    features, ConformalDetector(NeighborDistance(), random_state=0)
).fit(digits.X_fit)
print(f"{np.mean(promised.predict(digits.X_test) == -1):.1%} false alarms")

# %%
# One per class
# -------------
# ``ClassConditionalDetector`` fits one of them for each predicted class and each layer
# and adds their scores. It finds the columns of the layers by their names. With
# ``joint=True`` it takes all layers side by side.
from skgrad import ClassConditionalDetector

by_class = make_pipeline(
    features,
    ClassConditionalDetector(NeighborDistance(), joint=True, random_state=0),
).fit(digits.X_fit)
print(f"{np.mean(by_class.predict(digits.X_test) == -1):.1%} false alarms")

# %%
# Search its parameter
# --------------------
# ``NoveltyKFold`` trains on digits alone and tests on digits and anomalies. We search
# with one kind of anomaly, digits with noise, and judge by others below. A noisy digit
# must not be judged where its clean source was learnt from, which would make it look
# usual: ``groups`` keeps both on one side. The features are computed once, before the
# search.
from sklearn.model_selection import GridSearchCV

from skgrad.metrics import auroc_scorer
from skgrad.model_selection import NoveltyKFold

n_fit = len(digits.X_fit)
noise = np.random.default_rng(0).normal(size=digits.X_fit.shape)
noisy = (digits.X_fit + 0.3 * noise).clip(0, 1).astype(np.float32)
X = features.fit_transform(np.concatenate([digits.X_fit, noisy]))
y = np.repeat([1, -1], n_fit)
source = np.tile(np.arange(n_fit), 2)
numbers = [1, 2, 5, 10, 20]


def search(detector):
    return GridSearchCV(
        detector,
        {"detector__k": numbers},
        cv=NoveltyKFold(4, shuffle=True, random_state=0),
        scoring=auroc_scorer,
    ).fit(X, y, groups=source)


searches = {"all together": search(promised[-1]), "per class": search(by_class[-1])}

# %%
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for name, found in searches.items():
    mean, spread = (found.cv_results_[f"{what}_test_score"] for what in ("mean", "std"))
    ax.errorbar(numbers, 100 * mean, 100 * spread, fmt="o-", capsize=3, label=name)
    print(f"{name}: best is k = {found.best_params_['detector__k']}")
ax.set_xscale("log")
ax.set_xticks(numbers, numbers)
ax.minorticks_off()
ax.set_xlabel("k, the neighbour whose distance counts")
ax.set_ylabel("AUROC, %: mean and\nstandard deviation of 4 folds")
ax.legend()
plt.show()

# %%
# Compare
# -------
# ``GridSearchCV`` has fitted the best on all digits again: detectors of skgrad leave
# out rows labelled -1. Beside them stand two of skgrad's detectors over the same
# features, with their defaults. The anomalies are of kinds that nobody has seen yet,
# and the test digits that the network gets wrong.
from sklearn.preprocessing import StandardScaler

from skgrad import LODA, PerClassSVDD
from skgrad.attacks import pgd
from skgrad.metrics import auroc

detectors = {
    **{f"yours, {name}": found.best_estimator_ for name, found in searches.items()},
    "LODA": make_pipeline(StandardScaler(), LODA(random_state=0)),
    "PerClassSVDD": PerClassSVDD(random_state=0),
}
right = net.predict(digits.X_test) == digits.y_test
attack = pgd(net, digits.X_test[right], digits.y_test[right], eps=0.1, random_state=0)
kinds = {
    "photo patches": make_photo_patches(450, random_state=0),
    "Gaussian noise": make_gaussian_noise(450, (1, 8, 8), random_state=0),
    "inverted digits": 1 - digits.X_test,
    "PGD, eps 0.1": attack.X_adv[attack.success],
    "misclassified": digits.X_test[~right],
}
X_fit, X_test = features.transform(digits.X_fit), features.transform(digits.X_test)

figure, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
places = np.arange(len(kinds))
for i, (name, detector) in enumerate(detectors.items()):
    if "yours" not in name:
        detector.fit(X_fit)
    areas = []
    for kind, anomalies in kinds.items():
        # Of all test digits but those that are the anomaly.
        ordinary = X_test[right] if kind == "misclassified" else X_test
        judged = np.concatenate([ordinary, features.transform(anomalies)])
        labels = np.repeat([1, -1], [len(ordinary), len(anomalies)])
        areas.append(100 * auroc(labels, detector.score_samples(judged)))
    print(
        f"{name}: "
        + ", ".join(f"{a:.1f} {k}" for a, k in zip(areas, kinds, strict=True))
    )
    ax.plot(areas, places + 0.12 * (i - 1.5), "osD^"[i], label=name)
ax.axvline(50, color="black", linestyle=":", label="chance")
ax.set_yticks(places, [f"{kind} ({len(X)})" for kind, X in kinds.items()])
ax.invert_yaxis()
ax.set_xlabel("AUROC, %")
figure.legend(loc="outside right upper")
plt.show()

# %%
# Eighteen lines do as well here as ``PerClassSVDD``, at the price of keeping all
# training rows. What the four detectors cannot see in these layers, such as small
# attacks, none of them makes up for: LODA gives attacked digits higher scores than real
# ones. This is one network, and 13 misclassified digits are too few to rank by. More on
# searches is in :doc:`/guide/searching`, on comparisons in :doc:`/guide/judging`.
