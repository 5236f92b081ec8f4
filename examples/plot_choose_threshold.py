"""
Choose the threshold
====================

A detector gives scores, and you decide where to cut them. You see what ``target_fpr``
promises and how far one fit may be off, p-values, batches in which few alarms are
false, and a threshold that suits the cost of errors.
"""

# %%
# A network and its guard
# -----------------------
# The threshold comes from digits that the guard held out while it was fitted. That
# takes no anomaly.
import matplotlib.pyplot as plt
import numpy as np

from skgrad import make_recommended_detector
from skgrad.attacks import pgd
from skgrad.datasets import load_digits_images, make_photo_patches
from skgrad.evaluation import train_digits_network
from skgrad.inspection import ScoreDistributionDisplay

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
attack = pgd(net, digits.X_test, digits.y_test, eps=0.1, random_state=0)
anomalies = {
    "patches, easy": make_photo_patches(450, random_state=0),
    "PGD, eps 0.1, hard": attack.X_adv[attack.success],
}
guard = make_recommended_detector(net, target_fpr=0.05, random_state=0)
guard.fit(digits.X_fit)

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for ax, (kind, X) in zip(axes, anomalies.items(), strict=True):
    y = np.repeat([1, -1], [len(digits.X_test), len(X)])
    inputs = np.concatenate([digits.X_test, X])
    ScoreDistributionDisplay.from_estimator(guard, inputs, y, ax=ax, name=kind)
axes[1].set_ylabel("")
plt.show()

# %%
# The promise
# -----------
# ``target_fpr=0.05`` promises that on average at most 5 % of in-distribution inputs are
# rejected, whatever their distribution. In one fit the rate scatters around that, the
# more so the fewer inputs are held out. To see it, we split the scores of the test
# digits 2,000 times. Some stand for held-out inputs and place the threshold, by
# :func:`~skgrad.detectors.conformal_threshold`, as in every detector here. On the rest
# we count false alarms.
from skgrad.detectors import conformal_threshold

scores = guard.score_samples(digits.X_test)
rng = np.random.default_rng(0)


def realised(n_held_out):
    rates = []
    for _ in range(2000):
        shuffled = rng.permutation(scores)
        threshold = conformal_threshold(shuffled[:n_held_out], target_fpr=0.05)
        rates.append((shuffled[n_held_out:] < threshold).mean())
    return 100 * np.array(rates)


figure, axes = plt.subplots(
    1, 3, figsize=(9, 3.2), sharex=True, sharey=True, layout="constrained"
)
for ax, n_held_out in zip(axes, (19, 90, 225), strict=True):
    rates = realised(n_held_out)
    weights = np.full(len(rates), 100 / len(rates))
    ax.hist(rates, np.arange(21), weights=weights, color="tab:blue", alpha=0.6)
    ax.axvline(5, color="black", ls="--", label="target_fpr")
    ax.axvline(rates.mean(), color="tab:blue", label="mean of all fits")
    ax.set(title=f"{n_held_out} held out", xlabel="false alarms in percent")
axes[0].set_ylabel("fits in percent")
axes[0].legend(frameon=False, fontsize=9)
plt.show()

# %%
# 19 is the fewest for 5 %. ``calibration_fraction=0.2``, the default, held 90 of the
# 449 digits out. Holding out more steadies the rate, and leaves fewer inputs to learn
# from.
#
# The rate in each class
# ----------------------
# 10 % over all inputs may be 5 % in one class and 20 % in another. Where that matters,
# ``threshold="per_class"`` keeps the rate in each predicted class. A class then needs
# 19 held-out inputs of its own for 5 %, and 9 for 10 %; classes with fewer get the
# common threshold, with a warning. Here are the same splits, with one threshold for all
# and with one for each class:
predicted = net.predict(digits.X_test)
overall, per_class = np.zeros((2, 500, 10))
for i in range(500):
    order = rng.permutation(len(scores))
    held_out, fresh = order[:225], order[225:]
    threshold = conformal_threshold(scores[held_out], target_fpr=0.1)
    for label in range(10):
        own = scores[held_out[predicted[held_out] == label]]
        new = scores[fresh[predicted[fresh] == label]]
        overall[i, label] = (new < threshold).mean()
        per_class[i, label] = (new < conformal_threshold(own, target_fpr=0.1)).mean()

figure, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
for shift, name, rates in ((-0.2, "overall", overall), (0.2, "per_class", per_class)):
    bars = 100 * rates.mean(axis=0)
    ax.bar(np.arange(10) + shift, bars, 0.38, label=f'threshold="{name}"')
ax.axhline(10, color="black", ls="--", lw=1, label="target_fpr")
ax.set(xticks=range(10), xlabel="predicted class", ylabel="false alarms in percent")
ax.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.18))
plt.show()

# %%
# The rates stay under 10 %, because 10 % of a dozen or two of held-out inputs is
# rounded down to a whole number of them.
#
# p-values
# --------
# A p-value is the share of held-out digits that look as strange as the input, itself
# among them. It reads the same for every detector. Among in-distribution inputs all
# p-values are equally frequent, so that 5 % of them lie below 0.05. The lowest possible
# one is 1 / (m + 1) with m held-out inputs.
from skgrad import ConformalDetector

conformal = ConformalDetector(guard, calibration_fraction=0.3, random_state=0)
conformal.fit(digits.X_fit)
p_values = {"digits": conformal.p_values(digits.X_test)}
p_values |= {kind: conformal.p_values(X) for kind, X in anomalies.items()}
lowest = 1 / (len(conformal.calibration_scores_) + 1)
print(f"{len(conformal.calibration_scores_)} held out, lowest p-value {lowest:.4f}")

figure, axes = plt.subplots(
    1, 3, figsize=(9, 3), sharex=True, sharey=True, layout="constrained"
)
for ax, (kind, values) in zip(axes, p_values.items(), strict=True):
    color = "tab:blue" if kind == "digits" else "tab:red"
    weights = np.full(len(values), 100 / len(values))
    ax.hist(values, np.linspace(0, 1, 21), weights=weights, color=color, alpha=0.6)
    ax.axhline(5, color="black", ls="--", lw=1)
    ax.set(title=kind, xlabel="p-value")
axes[0].set_ylabel("inputs in percent")
plt.show()

# %%
# A batch in which few alarms are false
# -------------------------------------
# Where anomalies are rare, 5 % of the in-distribution inputs are most of the alarms. If
# people look into every alarm, it is better to promise that few of *them* are false.
# The method ``select_anomalies`` keeps this rate, the false discovery rate, over a
# whole batch; it is :func:`~skgrad.detectors.select_by_fdr` of the p-values. Here are
# 200 batches of 200 inputs, of which a varying number are patches:
from skgrad.detectors import select_by_fdr

counts = (2, 10, 20, 50, 100)


def judge_batches(n_bad):
    """Return shares of false alarms among alarms, and of patches found."""
    rows = []
    for _ in range(200):
        good = rng.choice(p_values["digits"], 200 - n_bad, replace=False)
        strange = rng.choice(p_values["patches, easy"], n_bad, replace=False)
        batch = np.concatenate([strange, good])
        for chosen in (batch <= 0.05, select_by_fdr(batch, fdr=0.1)):
            false, found = chosen[n_bad:].sum(), chosen[:n_bad].sum()
            rows.append((false / max(false + found, 1), found / n_bad))
    return 100 * np.reshape(rows, (200, 2, 2)).mean(axis=0)


shares = np.array([judge_batches(n_bad) for n_bad in counts])
figure, axes = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained")
for ax, values, title in zip(
    axes,
    np.moveaxis(shares, -1, 0),
    ("false among the alarms", "patches found"),
    strict=True,
):
    ax.plot(counts, values[:, 0], marker="o", label="5 % false-alarm rate")
    ax.plot(counts, values[:, 1], marker="s", label="10 % false discovery rate")
    ax.set(xlabel="patches among 200 inputs", ylabel="percent", title=title)
    ax.set_ylim(-3, 103)
axes[0].axhline(10, color="black", ls="--", lw=1)
axes[0].legend(frameon=False)
plt.show()

# %%
# At a fixed rate of false alarms most alarms are false where patches are few. The false
# discovery rate stays near 10 %, above it at times: it too is an average over fits, and
# all these batches are judged by the held-out digits of one.
#
# With too few anomalies, or too few held-out digits for p-values low enough, nothing is
# selected at all. To select k of n inputs takes a p-value of k * fdr / n. Nothing
# selected is nothing false, but the anomalies are there.
#
# What an error costs
# -------------------
# An operator knows two prices, that of checking an input for nothing and that of
# trusting an anomaly, and can guess how many of the inputs are anomalies. The expected
# cost then gives the rate of false alarms to ask for. Here an anomaly let through costs
# as much as 50 inputs checked for nothing, and the anomalies are the hard ones.
score, strange = (guard.score_samples(X) for X in (digits.X_test, attack.X_adv))
strange = strange[attack.success]
targets = np.linspace(0.002, 0.3, 100)
# Both rates on one axis: thresholds at quantiles of the test digits.
cuts = np.quantile(score, targets)
missed = np.array([(strange >= cut).mean() for cut in cuts])

figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
for prevalence, color in (
    (0.001, "tab:blue"),
    (0.005, "tab:orange"),
    (0.02, "tab:red"),
):
    cost = 1000 * ((1 - prevalence) * targets + 50 * prevalence * missed)
    ax.plot(100 * targets, cost, color=color, label=f"{1000 * prevalence:g} in 1,000")
    best = cost.argmin()
    ax.plot(100 * targets[best], cost[best], "o", color=color)
ax.set(xlabel="false alarms in percent", ylabel="cost per 1,000 inputs, in checks")
ax.legend(frameon=False, title="anomalies")
plt.show()

# %%
# The dots are the cheapest rates: the rarer the anomalies, the fewer alarms are worth
# their price. They were read off the inputs shown, and off one kind of anomaly; the one
# that comes to you is another. Take such a curve for the order of magnitude, and set
# ``target_fpr``. What is promised, and what is not, is in :doc:`the guide
# </guide/thresholds>`.
