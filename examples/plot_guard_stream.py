"""
Guard a classifier in production
================================

A service answers one request after the other, and its inputs change some day. You get
class, trust and p-value of each input in one call, inject two drifts into the stream,
and see how soon a monitor finds them.
"""

# %%
# One answer for each input
# -------------------------
# The guard is a classifier around a trained network. It is fitted on digits that the
# network has not seen, and on nothing else.
import matplotlib.pyplot as plt
import numpy as np

from skgrad import GuardedClassifier
from skgrad.datasets import load_digits_images, make_photo_patches
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
words = ["zero", "one", "two", "three", "four"]
words += ["five", "six", "seven", "eight", "nine"]
guard = GuardedClassifier(net, classes=words, target_fpr=0.05, random_state=0)
guard.fit(digits.X_fit)

patches = make_photo_patches(450, random_state=0)
print(guard.judge(np.concatenate([digits.X_test[:2], patches[13:14]])))

# %%
# ``predicted`` and ``probability`` are the network's, the rest is the detector's.
# ``trust`` is False for 5 % of all digits, as ``target_fpr`` says, and for most of what
# is no digit.
#
# The stream
# ----------
# Half of the test digits arrive as they are. Then something changes: one input in five
# is a photograph that should not have been sent, or the lamp over the scanner gets
# weak, and all digits darken. A third stream goes on as it began.
rng = np.random.default_rng(0)
order = rng.permutation(len(digits.X_test))
before, after = np.split(digits.X_test[order], [225])
is_patch = rng.random(len(after)) < 0.2
streams = {
    "digits": after,
    "one in five a photograph": np.where(
        is_patch[:, None, None, None], patches[: len(after)], after
    ),
    "darker by a third": after * 2 / 3,
}

figure, axes = plt.subplots(1, 3, figsize=(9, 1.3), layout="constrained")
for ax, (name, stream) in zip(axes, streams.items(), strict=True):
    framed = np.pad(stream[:8, 0], ((0, 0), (1, 1), (1, 1)), constant_values=0.5)
    ax.imshow(np.hstack(framed), cmap="gray", vmin=0, vmax=1)
    ax.set_title(name, fontsize=10)
    ax.axis("off")
plt.show()

# %%
# The monitor
# -----------
# It bets that inputs score lower than the digits by which the guard placed its
# threshold. Without a change the bet is fair, and the probability that its wealth
# *ever* grows a hundredfold is 1 % at most: it may look after each input, for as long
# as the service runs.
from skgrad.guard import PValueMonitor
from skgrad.inspection import DriftDisplay

figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), sharey=True, layout="constrained")
monitors = {}
for ax, (name, stream) in zip(axes, streams.items(), strict=True):
    monitor = monitors[name] = PValueMonitor(guard, alpha=0.01)
    judged = guard.judge(np.concatenate([before, stream]))
    wealth = monitor.update(judged)
    DriftDisplay.from_predictions(wealth, alpha=0.01, ax=ax, name=name)
    ax.axvline(len(before), color="0.7", ls=":", zorder=0)
    if monitor.alarm_:
        print(
            f"{name}: alarm {monitor.alarm_at_ - len(before)} inputs after the change"
        )
for ax in axes[1:]:
    ax.set_ylabel("")
plt.show()

# %%
# The dotted line is the change, the red one the alarm. ``update`` takes the judgements
# as they come, one or many, and ``to_json`` keeps the monitor over a restart.
#
# What to look at
# ---------------
# An alarm says that the stream has changed, and leaves the cause to you. The monitor
# has counted what was predicted and rejected: photographs pile up in a few classes,
# weak light reaches nearly all of them.
figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharex=True, layout="constrained")
for ax, name in zip(axes, list(streams)[1:], strict=True):
    counts = monitors[name].class_counts_
    rejected = [100 * counts[k][1] / counts[k][0] for k in words]
    ax.barh(words, rejected, color="tab:red")
    ax.axvline(5, color="black", ls="--", label="target_fpr")
    ax.set(title=name, xlabel="rejected, in percent of the class")
    ax.invert_yaxis()
axes[0].set_ylabel("predicted class")
axes[0].legend(frameon=False)
plt.show()

# %%
# Then the inputs themselves, those with the lowest scores first.
figure, axes = plt.subplots(2, 8, figsize=(10, 3), layout="constrained")
for row, name in zip(axes, list(streams)[1:], strict=True):
    judged = guard.judge(streams[name])
    for ax, i in zip(row, np.argsort(judged.score), strict=False):
        ax.imshow(streams[name][i, 0], cmap="gray", vmin=0, vmax=1)
        ax.set_title(f"{judged.predicted[i]}\np = {judged.p_value[i]:.2f}", fontsize=8)
        ax.axis("off")
plt.show()

# %%
# What to do
# ----------
# The photographs are rejected one by one, and nothing else has to be done but to find
# out who sends them. The weak light stays: digits that the network reads well are
# turned away. ``recalibrate`` places the threshold by some of the new digits; the next
# monitor takes their scores for usual.
darker = streams["darker by a third"]
for when in ("before", "after"):
    judged = guard.judge(darker[100:])
    right = np.array(words)[digits.y_test[order][325:]] == judged.predicted
    print(f"{when}: {np.mean(~judged.trust):.0%} rejected, {right.mean():.0%} right")
    if when == "before":
        guard.recalibrate(darker[:100])
monitor = PValueMonitor(guard, alpha=0.01)
monitor.update(guard.judge(darker[100:]))
print("alarm of a new monitor:", monitor.alarm_)

# %%
# The guide goes on where this page ends: :doc:`/guide/guard` and
# :doc:`/guide/monitoring`, with what the monitor promises and how soon it finds how
# much.
