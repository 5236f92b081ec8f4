"""
Search with cached gradients
============================

Gradients cost more than the detectors that look at them. You see how often a search
passes an image through the network: without a cache, with two kinds of cache, and with
features that are computed once. You also see what makes the cache compute again.
"""

# %%
# Count what goes through the network
# -----------------------------------
# Seconds depend on the machine and on what else it does. So this page counts images:
# the network stands in a module that adds up how many it is given.
import copy

import numpy as np
import torch
from torch import nn

from skgrad.datasets import load_digits_images, make_photo_patches
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
seen = {"images": 0}


class Counted(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        seen["images"] += len(x)
        return self.network(x)


model = Counted(net.module_).eval()

# %%
# The search
# ----------
# It has 8 candidates and 3 folds. The candidates are Gaussians per predicted class over
# the gradient norms of paper A and the logits. Digits that the network was not trained
# on are the in-distribution inputs. Half of them are also there with noise, as
# anomalies, and ``groups`` keeps both on one side of every split.
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skgrad import ClassConditionalGaussian, NetworkFeatures
from skgrad.feature_extraction import GradientNorms, LayerActivations
from skgrad.metrics import auroc_scorer
from skgrad.model_selection import NoveltyKFold

n_fit, n_noisy = 200, 100
noise = np.random.default_rng(0).normal(size=(n_noisy, 1, 8, 8))
noisy = (digits.X_fit[:n_noisy] + 0.3 * noise).clip(0, 1).astype(np.float32)
X = np.concatenate([digits.X_fit[:n_fit], noisy])
y = np.repeat([1, -1], [n_fit, n_noisy])
source = np.r_[np.arange(n_fit), np.arange(n_noisy)]
COVARIANCES, LOGITS = [0.0, 0.25, 0.5, 1.0], [True, False]


def search(
    X=X, y=y, groups=source, *, of=model, n_folds=3, label="all", pipeline=None, **kept
):
    """Return how many images the search passes through the network, and the search."""
    gradients = GradientNorms(log=True, label=label)
    families = [("gradients", gradients), ("logits", LayerActivations("logits"))]
    features = NetworkFeatures(of, families, **kept)
    detect = ClassConditionalGaussian(random_state=0)
    found = GridSearchCV(
        Pipeline([("features", features), ("detect", detect)], memory=pipeline),
        {"detect__covariance": COVARIANCES, "detect__include_logits": LOGITS},
        cv=NoveltyKFold(n_folds, shuffle=True, random_state=0),
        scoring=auroc_scorer,
        refit=False,
    )
    seen["images"] = 0
    found.fit(X, y, groups=groups)
    return seen["images"], found


# %%
# Four ways
# ---------
# ``Pipeline(memory=)`` caches what `fit_transform` returns for the training part of
# each fold. It does not cache `transform`, so the test part is computed for every
# candidate.
#
# ``memory=`` of a transformer caches what `transform` returns, one entry for each array
# that it gets: here the training and the test part of each fold.
#
# The plainest way is the fourth: the features learn nothing from data, so compute
# the features once and search over the detector alone.
from tempfile import TemporaryDirectory

ours, theirs = TemporaryDirectory(), TemporaryDirectory()
images = {}
images["no cache"], plain = search()
images["Pipeline(memory=)"], other = search(pipeline=theirs.name)
images["memory="], cached = search(memory=ours.name)

seen["images"] = 0
families = [
    ("gradients", GradientNorms(log=True)),
    ("logits", LayerActivations("logits")),
]
features = NetworkFeatures(model, families).fit_transform(X)
once = GridSearchCV(
    ClassConditionalGaussian(random_state=0),
    {"covariance": COVARIANCES, "include_logits": LOGITS},
    cv=NoveltyKFold(3, shuffle=True, random_state=0),
    scoring=auroc_scorer,
    refit=False,
).fit(features, y, groups=source)
images["features once"] = seen["images"]

for name, number in images.items():
    print(f"{name}: {number} passes for the {len(X)} images there are")
same = [
    np.allclose(
        found.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"]
    )
    for found in (other, cached, once)
]
print("the same scores:", same)

# %%
# Gradients and logits come from the same pass, so each image passes once at least. The
# other passes come from `fit`, which takes three images, and the first of them alone,
# to learn names and shapes and to check the model: once for each candidate and fold.
#
# What is computed again?
# -----------------------
# The whole array of images, the parameters of the transformer that change features, and
# the fingerprint of the network find an entry. The fingerprint is made of its layers,
# their settings and their values. Candidates, detectors, batch size and device do not
# matter, nor the process or the day. Other folds, or images that were added, make other
# arrays.
more = make_photo_patches(50, random_state=0)
X_more, y_more = np.concatenate([X, more]), np.r_[y, np.full(50, -1)]
source_more = np.r_[source, n_fit + np.arange(50)]
# One step of training is enough for another network.
trained = copy.deepcopy(model)
loss = nn.functional.cross_entropy(
    trained(torch.from_numpy(digits.X_train)), torch.from_numpy(digits.y_train)
)
loss.backward()
torch.optim.SGD(trained.parameters(), lr=0.01).step()

changes = {
    "the same search": {},
    "4 folds in place of 3": {"n_folds": 4},
    "another batch size": {"batch_size": 16},
    "50 images more": {"X": X_more, "y": y_more, "groups": source_more},
    'label="none"': {"label": "none"},
    "one step of training": {"of": trained},
}
again = {
    name: search(**change, memory=ours.name)[0] for name, change in changes.items()
}

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(2, 1, figsize=(8, 5), layout="constrained")
for ax, counts, title in zip(
    axes,
    [images, again],
    ["One search", "Searches after it, with memory="],
    strict=True,
):
    bars = ax.barh(list(counts), list(counts.values()), color="C0")
    ax.bar_label(bars, padding=3)
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.set(title=title, xlabel="images passed through the network")
plt.show()

# %%
# What the same search still passes are the images that each `fit` probes. Another label
# asks for other gradients. A network that was trained further is another network. What
# else to know about searches is in :doc:`/guide/searching`.
#
# What it found
# -------------
# The search itself is not changed by any of this. ``covariance`` says how much the
# classes share theirs: 0 is one each, 1 is one for all.
from itertools import product

table = {
    (row["detect__covariance"], row["detect__include_logits"]): score
    for row, score in zip(
        cached.cv_results_["params"],
        100 * cached.cv_results_["mean_test_score"],
        strict=True,
    )
}
spread = 100 * cached.cv_results_["std_test_score"].mean()
figure, ax = plt.subplots(figsize=(7, 2.4), layout="constrained")
grid = np.array([[table[c, use] for c in COVARIANCES] for use in LOGITS])
image = ax.imshow(grid, cmap="viridis", aspect="auto")
for i, j in product(*map(range, grid.shape)):
    bright = grid[i, j] > grid.min() + 0.6 * np.ptp(grid)
    color = "black" if bright else "white"
    ax.text(j, i, f"{grid[i, j]:.1f}", ha="center", va="center", color=color)
ax.set_xticks(range(len(COVARIANCES)), COVARIANCES)
ax.set_yticks(range(2), ["with", "without"])
ax.set(xlabel="covariance, share of the common one", ylabel="logits")
figure.colorbar(image, label="AUROC, %")
print(f"standard deviation over the folds: {spread:.1f} on average")
plt.show()
ours.cleanup()
theirs.cleanup()
