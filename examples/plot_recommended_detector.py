"""
The recommended detector, and why
=================================

No single view of an input finds every anomaly, but what deceives one view rarely
deceives all. You see the four parts of the recommended detector, which of them finds
which anomaly, and how the whole does beside its rivals.
"""

# %%
# A network, and anomalies of several kinds
# -----------------------------------------
# Some are far from any digit: patches of photographs, noise. Some are near: means of
# two digits, which are neither, and attacks that change each pixel by ``eps`` at most.
# Of the attacks, only inputs that the network gets wrong count.
import matplotlib.pyplot as plt
import numpy as np

from skgrad.attacks import pgd
from skgrad.datasets import load_digits_images, make_gaussian_noise, make_photo_patches
from skgrad.evaluation import train_digits_network

digits = load_digits_images()


def mean_of_two(X, y, seed):
    one, two = np.random.default_rng(seed).integers(len(X), size=(2, 2 * len(X)))
    different = np.flatnonzero(y[one] != y[two])[: len(X)]
    return (X[one[different]] + X[two[different]]) / 2


net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
anomalies = {
    "patches": make_photo_patches(450, random_state=0),
    "Gaussian noise": make_gaussian_noise(450, (1, 8, 8), random_state=0),
    "means of two digits": mean_of_two(digits.X_test, digits.y_test, seed=0),
}
for eps in (0.05, 0.1, 0.3):
    attack = pgd(net, digits.X_test, digits.y_test, eps=eps, random_state=0)
    anomalies[f"PGD, eps {eps}"] = attack.X_adv[attack.success]

# %%
# Fit it
# ------
# It is given digits alone, no anomaly.
from skgrad import make_recommended_detector

guard = make_recommended_detector(net, target_fpr=0.05, random_state=0)
guard.fit(digits.X_fit)
features, combined = guard["features"], guard["detect"]
parts = list(combined.detectors_)
print("parts:", ", ".join(parts))
print("changes:", ", ".join(features.families_["stability"].changes_))
print("layers:", *features.families_["activations"].layers_, sep="\n  ")

# %%
# Four parts
# ----------
# *Confidence* is low where the network wavers. *Density* asks how usual the activations
# (paper C) are among inputs that the network predicts alike. *Stability* is the
# confidence that is left on slightly changed copies of the input, and *drop* what they
# cost of it. Of images as small as these the copies have a little noise.
#
# Each part is turned into a p-value: the share of held-out digits that look as strange.
# ``log_p_values`` gives them. The pictures show two parts at a time, with a point per
# input; down and left is strange.
columns = {"digits": features.transform(digits.X_test)}
columns |= {kind: features.transform(X) for kind, X in anomalies.items()}
log_p = {kind: combined.log_p_values(X) for kind, X in columns.items()}

figure, axes = plt.subplots(
    2, 3, figsize=(9.5, 6), sharex=True, sharey=True, layout="constrained"
)
for ax, kind in zip(axes.flat, anomalies, strict=True):
    for name, color in (("digits", "tab:blue"), (kind, "tab:red")):
        x, y = log_p[name][:, [parts.index("confidence"), parts.index("density")]].T
        ax.scatter(x, y, s=6, color=color, alpha=0.4, linewidth=0)
    ax.set_title(kind)
    # Linear near 0, logarithmic far out.
    ax.set_yscale("symlog", linthresh=3)
    ax.set_yticks([0, -1, -2, -3, -10, -30], ["0", "-1", "-2", "-3", "-10", "-30"])
    ax.set_yticks([], minor=True)
figure.supxlabel("log p of the confidence")
figure.supylabel("log p of the density")
figure.suptitle("Blue: digits; red: the anomaly")
plt.show()

# %%
# Which part catches what
# -----------------------
# Let each part alone reject 5 % of the test digits, and their sum as well. The picture
# shows which share of each kind they then reject (TNR@95TPR). The last two columns are
# regrets: by how much the best of the rows beats this one, in the mean over the kinds
# and at worst.
from skgrad.inspection import DetectorHeatMapDisplay

views = [*parts, "all four"]
with_sum = {
    kind: np.column_stack([log_p[kind], combined.score_samples(X)])
    for kind, X in columns.items()
}
DetectorHeatMapDisplay.from_predictions(
    {view: with_sum["digits"][:, k] for k, view in enumerate(views)},
    {
        view: {kind: with_sum[kind][:, k] for kind in anomalies}
        for k, view in enumerate(views)
    },
    metric="tnr_at_tpr",
)
plt.show()

# %%
# What is far away the density finds alone. The means of two digits the confidence finds
# best, and the smallest attack the stability. At eps 0.3 the attack makes the network
# sure of itself and of the copies as well. So the other parts speak in favour of inputs
# of which the density alone would reject nearly all, and the sum rejects few. In the
# mean over these six kinds the density alone is ahead of the sum.
#
# The drop adds little on this network: noise is all that can be changed of such small
# images. The parts were chosen on other data (see the :doc:`benchmarks </benchmarks>`).
# If you know that your anomalies are far or strong, weigh the density more:
# ``guard.set_params(detect__weights=[1, 3, 1, 1])``, and fit again.
#
# Beside its rivals
# -----------------
# All detectors are fitted on the same digits and judged on the same anomalies. Paper
# A's detector needs anomalies to learn from: it gets Gaussian noise and PGD, made
# from the digits that the others are fitted on. So it knows two of the kinds; the
# others know no anomaly.
from sklearn.pipeline import make_pipeline

from skgrad import (
    LayerActivationTransformer,
    MaxSoftmaxProbability,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_uniform_detector,
)

attack = pgd(net, digits.X_fit, digits.y_fit, eps=0.3, random_state=1)
noise = make_gaussian_noise(449, (1, 8, 8), random_state=1)
known = np.concatenate([noise, attack.X_adv[attack.success]])
logits = LayerActivationTransformer(net, "logits")
rivals = {
    "max softmax": make_pipeline(logits, MaxSoftmaxProbability(random_state=0)),
    "B": make_geometric_gradient_detector(net, random_state=0),
    "C": make_uniform_detector(net, "conv1", random_state=0),
}
for rival in rivals.values():
    rival.fit(digits.X_fit)
rivals["A"] = make_confounding_gradient_detector(net, random_state=0).fit(
    np.concatenate([digits.X_fit, known]),
    np.repeat([0, 1], [len(digits.X_fit), len(known)]),
)

# %%
# AUROC in percent: 50 is chance, and what is below it is dark red. A does well on
# noise and on PGD at eps 0.3, which it knows, and on nothing else. At eps 0.3 paper C
# is ahead of the recommended detector, and at eps 0.05 the confidence alone is as good.
DetectorHeatMapDisplay.from_estimator(
    {**rivals, "recommended": guard}, digits.X_test, anomalies
)
plt.show()

# %%
# What this does not show
# -----------------------
# This was one network and one seed, on images of 8 x 8 pixels. The same comparison with
# 27 detectors, 20 and more kinds of anomaly and three seeds is in the results, on
# :doc:`MNIST </results/mnist/all_detectors>` and :doc:`CIFAR-10 (JPEG)
# </results/cifar/all_detectors>`. When to take the detector, and how to set it, is in
# :doc:`the guide </guide/recommended>`. Nor does the attacker here know the detector;
# for one who does, see :doc:`plot_adaptive_attack`.
