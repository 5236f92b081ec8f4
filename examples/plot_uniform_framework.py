"""
Paper C: what is usual for a class?
===================================

Compare an input with those that the network took for the same class, in one layer and
in the logits. You see why one boundary per class fits better than one for all, how the
layer is chosen, and what the choice and the weights of both layers are worth.
"""

# %%
# A network and what it should not trust
# --------------------------------------
# The network was trained on half of scikit-learn's digits. A quarter that it never saw
# fits the detectors, and the last quarter is for judging. Of the attacked digits those
# count that the network gets wrong. Half of the patches are kept for the choice of the
# layer.
import matplotlib.pyplot as plt
import numpy as np

from skgrad.attacks import pgd
from skgrad.datasets import load_digits_images, make_gaussian_noise, make_photo_patches
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
patches = make_photo_patches(450, random_state=0)
anomalies = {
    "patches": patches[225:],
    "Gaussian noise": make_gaussian_noise(225, (1, 8, 8), random_state=0),
}
for eps in (0.1, 0.3):
    attack = pgd(net, digits.X_test, digits.y_test, eps=eps, random_state=0)
    anomalies[f"PGD, eps {eps}"] = attack.X_adv[attack.success]

# %%
# The features
# ------------
# A convolution gives the mean of each of its channels, and the last layer the logits.
from skgrad import LayerActivationTransformer

features = LayerActivationTransformer(net, ["conv1", "logits"]).fit(digits.X_fit)
X_fit, X_test = (features.transform(X) for X in (digits.X_fit, digits.X_test))
X_bad = {kind: features.transform(X) for kind, X in anomalies.items()}
print(X_fit.shape, features.get_feature_names_out()[[0, 15, 16, -1]])

# %%
# Why per class
# -------------
# The picture shows the logits of everything that the network takes for a 0, a 1 or a 4,
# in the plane of the two principal components of the digits among it. On the left is
# one description (SVDD) of all these digits. It covers the land between the classes
# too, and there the patches lie. On the right is one for each predicted class. The
# lines hold about nine tenths of the digits that they describe (``nu=0.1``).
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


(known, predicted), (bad, _) = taken_for_one(X_fit), taken_for_one(X_bad["patches"])
plane = PCA(2).fit(known)
points, strange = plane.transform(known), plane.transform(bad)

edges = np.concatenate([points, strange])
x, y = (np.linspace(v.min() - 6, v.max() + 6, 150) for v in edges.T)
grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def draw_boundary(ax, inside, color):
    # The width that the ten columns of the logits get by default.
    svdd = make_pipeline(StandardScaler(), OneClassSVM(nu=0.1, gamma=0.1)).fit(inside)
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
    ax.scatter(*strange.T, s=14, marker="x", color="tab:red", lw=1, label="patches")
    ax.set(title=title, xlabel="first principal component of the logits")
axes[0].set_ylabel("second principal component")
axes[1].legend(frameon=False, fontsize=8, loc="lower right")
plt.show()

# %%
# The table compares one description of everything with descriptions per class in all
# columns: in conv1, in the logits and in both. It is in the logits that the class
# matters most.
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
# Which layer?
# ------------
# ``MostDiscriminativeLayer`` fits a description of each layer on half of the inputs,
# and looks how well it separates the other half from anomalies. If you give none, some
# are made: noise, digits with noise, with their pixels shuffled, and blends of two. If
# you have examples of what you fear, give them with the label -1.
from skgrad import MostDiscriminativeLayer
from skgrad.inspection import LayerScoreDisplay

generated = MostDiscriminativeLayer(net, random_state=0).fit(digits.X_fit)
mixed = np.concatenate([digits.X_fit, patches[:225]])
y_mixed = np.repeat([1, -1], [len(digits.X_fit), 225])
given = MostDiscriminativeLayer(net, random_state=0).fit(mixed, y_mixed)

figure, axes = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
for ax, choice in zip(axes, (generated, given), strict=True):
    LayerScoreDisplay.from_estimator(choice, metric="error", ax=ax)
plt.show()

# %%
# The lines begin at chance, and the longest one is chosen. Most anomalies that are made
# are digits still, and hard: no layer does well. Both ways chose the same layer, the
# second with much better reason. Still these pictures flatter, because the layer was
# chosen by what they show.
#
# What the choice is worth
# ------------------------
# Each detector has one layer and the logits, and is judged on anomalies that nobody
# chose by. The last two columns are regrets: by how much the best of the rows beats
# this one, in the mean over the kinds and at worst.
from skgrad import make_uniform_detector
from skgrad.inspection import DetectorHeatMapDisplay

detectors = {
    f"{name} and logits": make_uniform_detector(net, name, random_state=0)
    for name in given.candidates_
}
for detector in detectors.values():
    detector.fit(digits.X_fit)
DetectorHeatMapDisplay.from_estimator(detectors, digits.X_test, anomalies)
plt.show()

# %%
# Photographs and noise are found with any layer. Here the choice matters most for the
# strong attacks, of which the last layer sees least.
#
# How much weight for which layer
# -------------------------------
# The scores of the two layers are brought to [0, 1] on the inputs of the fit and added.
# Paper C weighs both alike. The ends of the curves are one of them alone.
from skgrad.inspection import LayerWeightDisplay

X = np.concatenate([digits.X_test, *anomalies.values()])
kinds = np.repeat(
    ["digit", *anomalies], [len(digits.X_test), *map(len, anomalies.values())]
)
y = np.where(kinds == "digit", 1, -1)
detector = detectors[f"{given.layer_} and logits"]
LayerWeightDisplay.from_estimator(detector, X, y, kinds=kinds)
plt.show()

# %%
# What is best for one kind is not for another, so half and half is a fair start. Do not
# read the best layer or weight off such pictures and then report figures on the same
# anomalies.
#
# In one line the whole detector is ``make_uniform_detector(net, "conv1")``, and
# ``.set_params(detect__threshold="per_class")`` keeps the rate of false alarms in each
# predicted class (:doc:`plot_choose_threshold`). What came out beside the paper's
# figures is in the results, :doc:`MNIST </results/mnist/paper_c>` and :doc:`CIFAR-10
# (JPEG) </results/cifar/paper_c>`, and when to use it in :doc:`the guide
# </guide/uniform_framework>`.
