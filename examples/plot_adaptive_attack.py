"""
An attacker who knows the detector
==================================

A detector that was tried only on attacks that do not know it was not tried on the
worst. One attack here knows the network only, the other one network and detector. You
see how many inputs of each get through, and what they look like.
"""

# %%
# Network and detector
# --------------------
# The detector is the recommended one, fitted on digits that the network never saw.
import matplotlib.pyplot as plt
import numpy as np

from skgrad import make_recommended_detector
from skgrad.attacks import adaptive_pgd, pgd
from skgrad.datasets import load_digits_images
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
guard = make_recommended_detector(net, random_state=0).fit(digits.X_fit)

# %%
# The two attacks
# ---------------
# Both may change every pixel by ``eps``; pixels lie in [0, 1].
# :func:`~skgrad.attacks.pgd` climbs the loss of the network.
# :func:`~skgrad.attacks.adaptive_pgd` does so until the network is wrong, and from then
# on climbs the score of the detector. It differentiates the detector's features, so it
# needs the network, the detector and a few seconds: 30 digits that the network gets
# right, at four sizes.
right = np.flatnonzero(net.predict(digits.X_test) == digits.y_test)[:30]
X, y = digits.X_test[right], digits.y_test[right]
sizes = (0.1, 0.2, 0.3, 0.4)
attacks = {
    "PGD": [pgd(net, X, y, eps=eps, random_state=0) for eps in sizes],
    "adaptive PGD": [
        adaptive_pgd(net, X, y, detector=guard, eps=eps, random_state=0)
        for eps in sizes
    ],
}

# %%
# Who is deceived?
# ----------------
# The network is, where it gets the input wrong. The detector is, where it trusts an
# input that was changed. The attacker has won only where both are.


def shares(result):
    trusted = guard.predict(result.X_adv) == 1
    deceived = result.success.mean(), trusted.mean(), (result.success & trusted).mean()
    return 100 * np.array(deceived)


deceived = {
    name: np.array([shares(result) for result in results])
    for name, results in attacks.items()
}
figure, axes = plt.subplots(
    1, 3, figsize=(9.5, 3.4), sharex=True, sharey=True, layout="constrained"
)
for k, (ax, who) in enumerate(
    zip(axes, ("the network", "the detector", "both"), strict=True)
):
    for (name, values), marker in zip(deceived.items(), "os", strict=True):
        ax.plot(sizes, values[:, k], marker=marker, label=name)
    ax.set(title=f"{who} deceived", xlabel="eps", ylim=(-3, 103))
axes[0].set_ylabel("digits in percent")
axes[0].legend(frameon=False, loc="lower right")
plt.show()

# %%
# While the change is small, both attacks do about as well: there is little room, and
# what deceives this network looks much like a digit to the detector anyway. With more
# room they part. Plain PGD uses all of it for the loss, whatever the layers look like,
# and at the largest size half of its inputs are found. The attack that knows the
# detector uses the room to look ordinary.
#
# What they look like
# -------------------
# Here are the digits as they were, and after both attacks at eps 0.3, with the
# network's answer and the detector's.
at = sizes.index(0.3)
# sphinx_gallery_thumbnail_number = 2
rows = {"digit": X} | {name: results[at].X_adv for name, results in attacks.items()}
figure, axes = plt.subplots(3, 8, figsize=(9.5, 4.6), layout="constrained")
for line, (name, images) in zip(axes, rows.items(), strict=True):
    shown = images[:8]
    verdicts = zip(net.predict(shown), guard.predict(shown), strict=True)
    for ax, image, (answer, trust) in zip(line, shown, verdicts, strict=True):
        ax.imshow(image[0], cmap="gray", vmin=0, vmax=1)
        verdict, color = ("trust", "black") if trust == 1 else ("reject", "tab:red")
        ax.set_title(f"{answer}, {verdict}", fontsize=10, color=color)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name)
plt.show()

# %%
# Where the scores are
# --------------------
# The picture shows those of the digits, and of the attacked ones that the network gets
# wrong. The adaptive attack puts its inputs where most digits are: no threshold could
# separate them.
from skgrad.inspection import ScoreDistributionDisplay

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, (name, results) in zip(axes, attacks.items(), strict=True):
    bad = results[at].X_adv[results[at].success]
    truth = np.repeat([1, -1], [len(digits.X_test), len(bad)])
    inputs = np.concatenate([digits.X_test, bad])
    title = f"{name}, eps 0.3"
    ScoreDistributionDisplay.from_estimator(guard, inputs, truth, ax=ax, name=title)
axes[1].set_ylabel("")
plt.show()

# %%
# What it means
# -------------
# A detector raises the price of an attack: the attacker needs network and detector, and
# many times the computation. It does not make a network safe from an attacker who can
# afford it. If attackers may have your model, do not rely on any detector of this
# library alone, and try yours with an attack that knows it before you say how good it
# is.
#
# These are 30 digits of 8 x 8 pixels and one network. On MNIST too the adaptive attack
# got nearly everything past the detector, where plain PGD got nothing past it. So
# figures on attacks that do not know a detector say little about those that do. More on
# both attacks is in :doc:`/guide/anomalies`, on how to judge a detector in
# :doc:`/guide/judging`.
