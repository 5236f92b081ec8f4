"""
Protect a trained network
=========================

A network that was trained on digits answers with a digit whatever it is shown. Here it
is put under a guard that says which answers to trust.
"""

# %%
# A trained network
# -----------------
# Any torch module that returns logits will do. This one was trained with skorch on half
# of scikit-learn's digits; a quarter that it never saw is for the guard, and the last
# quarter for judging.
from skgrad.datasets import load_digits_images, make_photo_patches
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
print(f"{net.score(digits.X_test, digits.y_test):.1%} of the test digits are right")

# %%
# Shown patches of photographs, it is sure of itself now and then.
patches = make_photo_patches(450, random_state=0)
confidence = net.predict_proba(patches).max(axis=1)
print(f"{(confidence > 0.95).mean():.0%} of the patches are called a digit, for sure")

# %%
# The guard
# ---------
# It needs in-distribution data alone, no anomaly of any kind. ``target_fpr`` is the
# price: the share of in-distribution inputs that may be turned away.
from skgrad import make_recommended_detector

guard = make_recommended_detector(net, target_fpr=0.05, random_state=0)
guard.fit(digits.X_fit)

# %%
# ``predict`` says +1 for trust and -1 for do not.
print(f"{(guard.predict(digits.X_test) == -1).mean():.1%} of the digits are rejected")
print(f"{(guard.predict(patches) == -1).mean():.1%} of the patches are rejected")

# %%
# See it
# ------
# How the guard scores digits and patches that it has not seen, and where its threshold
# lies. Few in-distribution inputs are turned away, and almost no patch gets through.
import matplotlib.pyplot as plt
import numpy as np

from skgrad.inspection import ScoreDistributionDisplay

X = np.concatenate([digits.X_test, patches])
y = np.repeat([1, -1], [len(digits.X_test), len(patches)])
ScoreDistributionDisplay.from_estimator(guard, X, y, name="recommended detector")
plt.show()

# %%
# Patches are far from digits and easy to find; attacks and misread digits are not.
# Which detector finds what is in :doc:`/guide/which_detector`, what this one does in
# :doc:`/guide/recommended`, and how to place its threshold in :doc:`/guide/thresholds`.
