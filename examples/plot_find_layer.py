"""
Find the layer
==============

Paper C judges an input by two layers: the logits, and the one layer that separates
anomalies best. Here you find that layer, with anomalies of your own and without any,
and see what the choice is worth.
"""

# %%
# A network and its candidates
# ----------------------------
# The network was trained on half of scikit-learn's digits. A quarter that it never saw
# is for the choice and the detectors, and the last quarter for judging.
from skgrad.datasets import load_digits_images, make_gaussian_noise, make_photo_patches
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)

# %%
# Choose without any anomaly
# --------------------------
# For each layer a support vector data description is fitted on half of the inputs and
# has to separate the other half from anomalies. If you give none, some are made: noise,
# digits with noise, with their pixels shuffled, and blends of two.
from skgrad import MostDiscriminativeLayer

generated = MostDiscriminativeLayer(net, random_state=0).fit(digits.X_fit)
for layer, error in generated.errors_.items():
    print(f"{layer}: detection error {error:.1%}")
print("chosen:", generated.layer_)

# %%
# The longer the line to the right, the better the layer; to the left of the dotted
# line anomalies look *more* ordinary than digits. Most of these anomalies are digits
# still, and hard: no layer does well, and ``fc1`` is worse than a guess. The choice
# goes by the detection error; by the AUROC it would have been ``conv2``.
import matplotlib.pyplot as plt

from skgrad.inspection import LayerScoreDisplay

display = LayerScoreDisplay.from_estimator(generated)

# %%
# Choose with anomalies of your own
# ---------------------------------
# If you have examples of what you fear, give them with the label -1. Here they are
# patches of photographs, half of those that there are; the other half is for judging.
import numpy as np

patches = make_photo_patches(450, random_state=0)
mixed = np.concatenate([digits.X_fit, patches[:225]])
y_mixed = np.repeat([1, -1], [len(digits.X_fit), 225])
given = MostDiscriminativeLayer(net, random_state=0).fit(mixed, y_mixed)

figure, axes = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
for ax, choice in zip(axes, (generated, given), strict=True):
    LayerScoreDisplay.from_estimator(choice, metric="error", ax=ax)

# %%
# Both chose the same layer, the second with much better reason. Still the pictures
# flatter: the layer was chosen by what they show. What counts is how the detector does
# on anomalies that nobody chose by.
#
# What the choice is worth
# ------------------------
# One detector for each candidate, together with the logits. They are judged by test
# digits against three kinds of anomaly: the patches that the choice has not seen,
# noise, and attacks that made the network err.
from skgrad.attacks import pgd
from skgrad.detectors import make_uniform_detector

attack = pgd(net, digits.X_test, digits.y_test, eps=0.1, bounds=(0, 1), random_state=0)
anomalies = {
    "photo patches": patches[225:],
    "Gaussian noise": make_gaussian_noise(225, (1, 8, 8), random_state=0),
    "PGD, eps 0.1": attack.X_adv[attack.success],
}
detectors = {
    f"{layer} and logits": make_uniform_detector(net, layer, random_state=0).fit(
        digits.X_fit
    )
    for layer in given.candidates_
}

# %%
# The layer chosen is the best for patches and noise, by a point over the worst, but
# the last layer is better for attacks by more than two, and in the mean all three are
# equal: little depends on the choice here. Nor is it always sure. Of a ResNet-20 for
# CIFAR-10 (JPEG), trained three times, three layers were chosen
# (:doc:`our page on paper C </results/cifar/paper_c>`).
from skgrad.inspection import DetectorHeatMapDisplay

display = DetectorHeatMapDisplay.from_estimator(detectors, digits.X_test, anomalies)

# %%
# How much weight for which layer
# -------------------------------
# The score is a weighted sum of both, one half each if you say nothing. The ends of the
# curves are one of them alone.
from skgrad.inspection import LayerWeightDisplay

X = np.concatenate([digits.X_test, *anomalies.values()])
kinds = np.repeat(
    ["digit", *anomalies], [len(digits.X_test), *map(len, anomalies.values())]
)
y = np.where(kinds == "digit", 1, -1)
display = LayerWeightDisplay.from_estimator(
    detectors[f"{given.layer_} and logits"], X, y, kinds=kinds
)
plt.show()

# %%
# Half and half costs the attacks about two points against their best weight, and the
# others nothing, though the layer alone is poor at attacks and the logits alone at the
# rest: that is what the sum is for. Do not read the best weight off such a picture and
# then report figures on the same anomalies.
for kind, curve in display.curves.items():
    print(
        f"{kind}: layer alone {curve[0]:.1%}, half and half {curve[5]:.1%}, "
        f"logits alone {curve[-1]:.1%}, best {curve.max():.1%}"
    )

# %%
# What paper C's detector is good for, and what it costs, is in :doc:`the guide
# </guide/uniform_framework>`; more pictures of layers are in
# :doc:`/guide/pictures`.
