"""
Explain one alarm
=================

A guard rejected an input: what raised the alarm? Here you look at three rejected
inputs, two anomalies and a clean digit. You see which layers and which parts of the
guard raised each alarm, and what such a picture does not show.
"""

# %%
# A guard and three alarms
# ------------------------
# The network and its guard are those of the :doc:`quick start
# <plot_quick_start>`. It looks at the activations of some layers, at the logits, and at
# how sure the network stays when a little noise is added.
from skgrad import make_recommended_detector
from skgrad.attacks import pgd
from skgrad.datasets import load_digits_images, make_photo_patches
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
guard = make_recommended_detector(net, target_fpr=0.05, random_state=0)
guard.fit(digits.X_fit)

# %%
# The three are not picked by hand: of each kind it is the first that the guard
# rejects. The kinds are patches of photographs, test digits that an attack (PGD)
# changed so that the network errs, and test digits that it gets right: a false alarm.
import numpy as np

patches = make_photo_patches(450, random_state=0)
attack = pgd(net, digits.X_test, digits.y_test, eps=0.1, bounds=(0, 1), random_state=0)
# Digits that the network gets wrong by itself are no work of the attack.
right = net.predict(digits.X_test) == digits.y_test
attacked = attack.X_adv[attack.success & right]

clean = digits.X_test[right]
kinds = {"photo patch": patches, "attacked digit": attacked, "clean digit": clean}
alarms = {}
for kind, X in kinds.items():
    rejected = guard.predict(X) == -1
    alarms[kind] = X[np.argmax(rejected)]
    print(f"{kind}: {rejected.mean():.0%} of {len(X)} are rejected")

# %%
# Look at the inputs first. The network answers each with a class and a confidence.
import matplotlib.pyplot as plt

answers = net.predict_proba(np.stack(list(alarms.values())))
figure, axes = plt.subplots(1, 3, figsize=(7, 2.8), layout="constrained")
for ax, (kind, x), answer in zip(axes, alarms.items(), answers, strict=True):
    ax.imshow(x[0], cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.set_title(f"{kind}\ncalled {answer.argmax()} ({answer.max():.0%})")

# %%
# How far out are they?
# ---------------------
# The score is one number. Here it is for all patches and all clean digits, with the
# three alarms as lines. The patch is far out, the clean digit lies just beyond the
# threshold.
from skgrad.inspection import ScoreDistributionDisplay

y = np.repeat([1, -1], [len(clean), len(patches)])
display = ScoreDistributionDisplay.from_estimator(
    guard, np.concatenate([clean, patches]), y, name="clean digits and photo patches"
)
decisions = guard.decision_function(clean)
low, median, high = np.percentile(decisions, [25, 50, 75])
for color, (kind, x) in zip(("C1", "C2", "C4"), alarms.items(), strict=True):
    ranges = (guard.decision_function(x[None])[0] - median) / (high - low)
    display.ax_.axvline(ranges, color=color, label=kind)
display.ax_.legend(
    frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.28)
)
plt.show()

# %%
# What raised the alarm for the patch
# -----------------------------------
# :class:`~skgrad.inspection.ContributionDisplay` shares the fall of the score out among
# the layers. It exchanges their features for those of clean digits of the same
# predicted class, and looks how far the score comes back. The unit is the spread of
# clean digits' scores; the grey bands are what is usual among them. Two bars are no
# layers: ``log_odds_noise`` is how sure the network is of its answer when a little
# noise is added, and ``log_odds_unchanged`` how sure it is without.
#
# The bars of the patch that leave their bands furthest are those of ``fc1`` and the
# logits: the last layers see something else than digits. Noise costs confidence, too.
# The numbers beside the bars add up to the total in the title.
from skgrad.inspection import ContributionDisplay

ContributionDisplay.from_estimator(
    guard, alarms["photo patch"], clean, random_state=0, name="photo patch"
)
plt.show()

# %%
# The attacked digit is a closer call. Its confidence under noise has the longest bar,
# but clean digits have nearly the same at times. Out of the ordinary are, by a little,
# the activations of ``fc1`` and ``conv2``. The first layer shows nothing unusual. This
# guard accepts more than half of the attacked digits; this is one that it does not.
#
# Inputs are rejected above another total than that of the patch. Each input is compared
# with digits of the same predicted class, and the scores of those differ from class to
# class.
ContributionDisplay.from_estimator(
    guard, alarms["attacked digit"], clean, random_state=0, name="attacked digit"
)
plt.show()

# %%
# A false alarm
# -------------
# This is a digit that the network gets right, and yet the guard rejects it. Here the
# confidence under noise and the logits stand out: the image is drawn so that the
# network hesitates between two answers, and a little noise makes it hesitate more.
ContributionDisplay.from_estimator(
    guard, alarms["clean digit"], clean, random_state=0, name="clean digit"
)
plt.show()

# %%
# This guard adds up four parts: how sure the network is (confidence), how usual its
# activations are (density), how sure it stays under noise (stability) and how much that
# costs (drop). ``groups="part"`` shares the alarm out among them. For the patch the
# density raised most of it; for the clean digit all four raised it about equally.
figure, axes = plt.subplots(3, 1, figsize=(6.4, 6.6), layout="constrained")
for ax, (kind, x) in zip(axes, alarms.items(), strict=True):
    ContributionDisplay.from_estimator(
        guard, x, clean, groups="part", random_state=0, ax=ax, name=kind
    )
for ax in axes[:-1]:
    ax.set_xlabel("")
plt.show()

# %%
# The norms behind it
# -------------------
# :class:`~skgrad.inspection.NormProfileDisplay` shows how large the gradients and the
# activations of each layer are, without any detector. The patch, which is pale and
# flat, excites all layers less than nearly any digit does, and its gradients are small
# as well. The attacked digit lies within both bands everywhere: its norms do not give
# it away. What the guard saw in its layers is the pattern behind the norm.
from skgrad.inspection import NormProfileDisplay

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, quantity in zip(axes, ("gradients", "activations"), strict=True):
    NormProfileDisplay.from_estimator(
        net,
        np.stack(list(alarms.values())),
        clean,
        quantity=quantity,
        input_names=list(alarms),
        ax=ax,
    )
plt.show()

# %%
# How far to trust such a picture
# -------------------------------
# It shows what the detector reacted to, not what in the image caused it, nor whether
# the network is wrong. Layers depend on each other, and an input with the ``conv1`` of
# one image and the ``fc1`` of another does not exist. Where two layers carry the same
# information, each gets a share. A bar well outside its band, in a layer where you can
# think of a reason, is a lead to follow. The order of two bars of nearly the same
# length is not. More on these pictures is in :doc:`/guide/pictures`.
