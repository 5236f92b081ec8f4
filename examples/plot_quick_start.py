"""
Guard a trained network
=======================

A network that was trained on digits answers with a digit whatever it is shown. A guard
says which of its answers to trust. At the end you see digits that it trusts, inputs
that it rejects, each with its p-value, and how the scores of both lie.
"""

# %%
# A trained network
# -----------------
# Any torch module that returns logits will do. This one was trained on half of
# scikit-learn's digits; a quarter that it never saw is for the guard, and the last
# quarter for judging.
from skgrad.datasets import load_digits_images, make_photo_patches
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
print(f"{net.score(digits.X_test, digits.y_test):.1%} of the test digits are right")

# %%
# Shown patches of photographs, it is often sure of itself.
patches = make_photo_patches(450, random_state=0)
confidence = net.predict_proba(patches).max(axis=1)
print(f"{(confidence > 0.95).mean():.0%} of the patches are called a digit, for sure")

# %%
# The guard
# ---------
# It needs in-distribution data alone, no anomaly of any kind. ``target_fpr`` is the
# price: the share of in-distribution inputs that may be rejected.
from skgrad.guard import GuardedClassifier

guard = GuardedClassifier(net, target_fpr=0.05, random_state=0).fit(digits.X_fit)

# %%
# ``judge`` answers for each input: class, probability, score, p-value, trust. A p-value
# of 0.01 says that one in-distribution input in a hundred scores as low.
guard.judge(digits.X_test[:3]).to_pandas()

# %%
# Few digits are rejected, and nearly all patches.
for name, X in (("digits", digits.X_test), ("patches", patches)):
    print(f"{(~guard.judge(X).trust).mean():.1%} of the {name} are rejected")

# %%
# See it
# ------
# Anomalies of other kinds beside the patches: noise, attacked digits, and digits that
# the network takes for others.
import matplotlib.pyplot as plt
import numpy as np

from skgrad.attacks import pgd
from skgrad.datasets import make_gaussian_noise
from skgrad.inspection import ScoreDistributionDisplay

attacked = pgd(net, digits.X_test, digits.y_test, eps=0.1, random_state=0)
mistaken = net.predict(digits.X_test) != digits.y_test
rejected = {
    "photograph": patches,
    "noise": make_gaussian_noise(20, (1, 8, 8), random_state=0),
    "attacked": attacked.X_adv[attacked.success],
    "mistaken": digits.X_test[mistaken],
}
answers = {name: guard.judge(X) for name, X in rejected.items()}


def show(ax, image, answer, place, name):
    """Draw an input above what the guard says of it."""
    ax.imshow(image[0], cmap="gray_r")
    color = "tab:green" if answer.trust[place] else "tab:red"
    says = f"{name}\nsays {answer.predicted[place]}, p = {answer.p_value[place]:.3f}"
    ax.set_title(says, fontsize=9, color=color)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(color=color, linewidth=2)


figure = plt.figure(figsize=(11.5, 3.9), layout="constrained")
left, right = figure.subfigures(1, 2)
above, below = left.subplots(2, 4)
trusted = guard.judge(digits.X_test)
for ax, place in zip(above, np.flatnonzero(trusted.trust), strict=False):
    show(ax, digits.X_test[place], trusted, place, "digit")
for ax, (name, X) in zip(below, rejected.items(), strict=True):
    place = np.argmin(answers[name].p_value)
    show(ax, X[place], answers[name], place, name)

X = np.concatenate([digits.X_test, *rejected.values()])
y = np.repeat([1, -1], [len(digits.X_test), len(X) - len(digits.X_test)])
ax = right.subplots()
ScoreDistributionDisplay.from_estimator(guard, X, y, ax=ax, name="scores")
plt.show()

# %%
# Photographs and noise are far from digits and easy to find; attacked and mistaken
# digits are not all found.
for name, answer in answers.items():
    print(f"{name}: {(~answer.trust).mean():.0%} of {len(answer.trust)} rejected")

# %%
# Which detector finds what is in :doc:`/guide/which_detector`, what a guard can do in
# :doc:`/guide/guard`, and how to place its threshold in :doc:`/guide/thresholds`.
