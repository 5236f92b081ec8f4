"""
Paper C: what is usual for a class?
===================================

Compare an input with the training inputs that the network took for the same class, in
an early layer and in the logits. You see why one boundary per class fits better than
one for all, what each of the two layers catches, and what a threshold per class keeps.
"""

# %%
# A network and four kinds of anomaly
# -----------------------------------
# Of the attacked digits those count that the network gets wrong.
import matplotlib.pyplot as plt
import numpy as np

from skgrad.attacks import pgd
from skgrad.datasets import (
    load_digits_images,
    make_gaussian_noise,
    make_photo_patches,
    make_uniform_noise,
)
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
attack = pgd(net, digits.X_test, digits.y_test, eps=0.3, random_state=0)
anomalies = {
    "patches": make_photo_patches(450, random_state=0),
    "Gaussian noise": make_gaussian_noise(450, (1, 8, 8), random_state=0),
    "uniform noise": make_uniform_noise(450, (1, 8, 8), random_state=0),
    "PGD, eps 0.3": attack.X_adv[attack.success],
}

# %%
# The features
# ------------
# Of a convolution the mean of each channel is taken, of the last layer the logits.
# Here the layer is ``conv1``; how to find one is :doc:`another story
# <plot_find_layer>`.
from skgrad import LayerActivationTransformer

features = LayerActivationTransformer(net, ["conv1", "logits"]).fit(digits.X_fit)
X_fit, X_test = (features.transform(X) for X in (digits.X_fit, digits.X_test))
X_bad = {kind: features.transform(X) for kind, X in anomalies.items()}
print(X_fit.shape, features.get_feature_names_out()[[0, 15, 16, -1]])

# %%
# Why per class
# -------------
# The logits of everything that the network takes for a 0, a 1 or a 4, drawn in the
# plane of the two principal components of the digits among it. On the left one
# description (SVDD) of all these digits: it covers the land between the classes too,
# and that is where the network is unsure. On the right one for each predicted class.
# The lines hold about nine tenths of the digits that they describe (``nu=0.1``).
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

layer, logits = slice(0, 16), slice(16, None)
three = {0: "tab:blue", 1: "tab:orange", 4: "tab:green"}


def taken_for_one(X):
    predicted = X[:, logits].argmax(axis=1)
    chosen = np.isin(predicted, list(three))
    return X[chosen, logits], predicted[chosen]


(good, predicted), (bad, _) = taken_for_one(X_fit), taken_for_one(X_bad["patches"])
plane = PCA(2).fit(good)
points, strange = plane.transform(good), plane.transform(bad)

edges = np.concatenate([points, strange])
x, y = (np.linspace(v.min() - 2, v.max() + 2, 150) for v in edges.T)
grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def draw_boundary(ax, inside, color):
    svdd = make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)).fit(inside)
    height = svdd.decision_function(grid).reshape(150, 150)
    ax.contour(x, y, height, levels=[0], colors=[color], linewidths=2)


figure, axes = plt.subplots(
    1, 2, figsize=(9, 4.3), sharex=True, sharey=True, layout="constrained"
)
draw_boundary(axes[0], points, "black")
for label, color in three.items():
    own = points[predicted == label]
    for ax in axes:
        ax.scatter(*own.T, s=8, color=color, label=f"digits, predicted {label}")
    draw_boundary(axes[1], own, color)
for ax, title in zip(axes, ("one for all", "one per predicted class"), strict=True):
    ax.scatter(*strange.T, s=10, marker="x", color="tab:red", lw=0.8, label="patches")
    ax.set(title=title, xlabel="first principal component of the logits")
axes[0].set_ylabel("second principal component")
axes[0].legend(frameon=False, fontsize=8)
plt.show()

# %%
# In all columns instead of two, and as numbers: one description of everything against
# descriptions per class, in conv1, in the logits and in both. It is in the logits that
# the class matters most: there the anomalies lie between the classes.
from skgrad import PerClassSVDD
from skgrad.metrics import auroc


def judge(detector, columns=slice(None)):
    good = detector.score_samples(X_test[:, columns])
    bad = [detector.score_samples(X[:, columns]) for X in X_bad.values()]
    return [
        100 * auroc(np.repeat([1, -1], [len(good), len(b)]), np.concatenate([good, b]))
        for b in bad
    ]


rows = {}
for name, columns in (("conv1", layer), ("logits", logits), ("both", slice(None))):
    weights = {"conv1": [1, 0], "logits": [0, 1], "both": [1, 1]}[name]
    pooled = make_pipeline(StandardScaler(), OneClassSVM(nu=0.1))
    rows["one", name] = judge(pooled.fit(X_fit[:, columns]), columns)
    per_class = PerClassSVDD(0.1, blocks=[-1, 10], weights=weights, random_state=0)
    rows["per class", name] = judge(per_class.fit(X_fit))

print(f"{'AUROC in percent':20}" + "".join(f"{kind:>16}" for kind in anomalies))
for (how, name), row in sorted(rows.items()):
    print(f"{how:11}{name:9}" + "".join(f"{value:16.1f}" for value in row))

# %%
# The weights
# -----------
# The scores of the two layers are brought to [0, 1] on the training inputs and added.
# Paper C weighs both alike. To choose a weight you would need anomalies, and what is
# best for one kind is not for another.
from skgrad import make_uniform_detector
from skgrad.inspection import LayerWeightDisplay

detector = make_uniform_detector(net, "conv1", nu=0.1, random_state=0)
detector.fit(digits.X_fit)
X = np.concatenate([digits.X_test, *anomalies.values()])
kinds = np.repeat(
    ["digit", *anomalies], [len(digits.X_test), *map(len, anomalies.values())]
)
y = np.where(kinds == "digit", 1, -1)
LayerWeightDisplay.from_estimator(detector, X, y, kinds=kinds, block="conv1")
plt.show()

# %%
# A threshold per class
# ---------------------
# The rate of false alarms that you ask for holds over all inputs together. Some classes
# may get more than their share: those whose digits vary much. ``threshold="per_class"``
# keeps the rate within each predicted class. It takes more held-out digits, as each
# class needs its own: at a rate of 10 %, 9 of each at least. Here half of the digits
# are held out. One split says little about a class of 45 digits, so this is the mean of
# 20 splits of all digits that the network never saw.
from sklearn.model_selection import ShuffleSplit

everything = np.concatenate([X_fit, X_test])
classes = everything[:, logits].argmax(axis=1)
alarms = {"overall": np.zeros((20, 10)), "per_class": np.zeros((20, 10))}
splits = ShuffleSplit(20, test_size=0.4, random_state=0)
for i, (fit, test) in enumerate(splits.split(everything)):
    for threshold, rates in alarms.items():
        detector = PerClassSVDD(
            0.1,
            blocks=[-1, 10],
            threshold=threshold,
            target_fpr=0.1,
            calibration_fraction=0.5,
            random_state=i,
        ).fit(everything[fit])
        rejected = detector.predict(everything[test]) == -1
        rates[i] = [rejected[classes[test] == label].mean() for label in range(10)]

figure, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
for shift, (threshold, rates) in zip((-0.2, 0.2), alarms.items(), strict=True):
    label = f'threshold="{threshold}"'
    ax.bar(np.arange(10) + shift, 100 * rates.mean(axis=0), 0.38, label=label)
ax.axhline(10, color="black", ls="--", lw=1, label="asked for")
ax.set(xticks=range(10), xlabel="predicted class", ylabel="false alarms in percent")
ax.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.18))
plt.show()

# %%
# In one line the whole detector is
# ``make_uniform_detector(net, "conv1").set_params(detect__threshold="per_class")``.
# What came out of it beside the paper's figures is in the results: :doc:`MNIST
# </results/mnist/paper_c>` and :doc:`CIFAR-10 (JPEG) </results/cifar/paper_c>`. When
# to use it is in :doc:`the guide </guide/uniform_framework>`; on thresholds per class,
# see :doc:`/guide/thresholds`.
