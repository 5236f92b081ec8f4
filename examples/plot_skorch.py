"""
Let a skorch classifier abstain
===============================

You train a classifier with skorch, put a guard beside it, and let it abstain. You see
digits that get noisier until the network errs, and how many of the answers that are
left are right. You also see that a guard is not the best judge of every kind of error.
"""

# %%
# The classifier
# --------------
# It is a network of two convolutions, trained here and now on half of scikit-learn's
# digits. Its module returns logits: no softmax at the end. ``CrossEntropyLoss`` wants
# them, and so does skgrad.
import numpy as np
import torch
from skorch import NeuralNetClassifier
from torch import nn

from skgrad.datasets import load_digits_images

digits = load_digits_images()  # images (1, 8, 8) in [0, 1]


class Network(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )


torch.manual_seed(0)
net = NeuralNetClassifier(
    Network,
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.Adam,
    lr=1e-3,
    batch_size=32,
    max_epochs=20,
    train_split=None,
    verbose=0,
)
net.fit(digits.X_train, digits.y_train)
print(f"{net.score(digits.X_test, digits.y_test):.1%} of the test digits are right")

# %%
# What it will meet
# -----------------
# In use, some cameras are bad. Here every second test digit gets noise, from none to
# much. We know what was written, so we can count the errors.
rng = np.random.default_rng(0)
strength = rng.uniform(0, 0.8, size=(len(digits.X_test), 1, 1, 1))
strength[::2] = 0
noise = rng.normal(size=digits.X_test.shape)
X_new = (digits.X_test + strength * noise).clip(0, 1).astype(np.float32)
y_new = digits.y_test
bad = strength.ravel() > 0
right = net.predict(X_new) == y_new
print(f"{right[~bad].mean():.1%} of the clean ones are right")
print(f"{right[bad].mean():.1%} of the noisy ones are right")
print(f"{right.mean():.1%} of all are right")

# %%
import matplotlib.pyplot as plt

figure, panels = plt.subplots(2, 8, figsize=(8, 2.6), layout="constrained")
order = np.argsort(strength.ravel(), kind="stable")
shown = order[np.linspace(0, len(order) - 1, panels.size).astype(int)]
for panel, row in zip(panels.flat, shown, strict=True):
    panel.imshow(X_new[row, 0], cmap="gray", vmin=0, vmax=1)
    answer = net.predict(X_new[row : row + 1])[0]
    color = "black" if right[row] else "crimson"
    panel.set_title(f"{y_new[row]} called {answer}", fontsize="small", color=color)
    panel.axis("off")
figure.suptitle("Digits with more and more noise; errors in red")
plt.show()

# %%
# The guard
# ---------
# It takes the skorch net as it is. It learns from digits that the network was not
# trained on, and from nothing else: no noise, no errors, no labels. ``target_fpr`` is
# the share of in-distribution inputs that may be rejected.
from skgrad import GuardedClassifier

guard = GuardedClassifier(net, target_fpr=0.05, random_state=0).fit(digits.X_fit)

# %%
# Predict or abstain
# ------------------
# ``predict`` gives a class where the guard trusts the answer, and -1 where it does not.
answers = guard.predict(X_new)
abstains = answers == -1
for name, rows in {"clean": ~bad, "noisy": bad, "all": np.ones_like(bad)}.items():
    kept = rows & ~abstains
    print(
        f"{name}: abstains from {abstains[rows].mean():.1%}; right are "
        f"{right[rows].mean():.1%} of all and {right[kept].mean():.1%} of the trusted"
    )

# %%
# What more abstentions buy
# -------------------------
# ``target_fpr`` sets one point. Leave out the lowest scores first, from none to nearly
# all, and you get the whole curve: how accurate the answers are that are left. Beside
# it are the network's own confidence, the usual choice, and the best curve possible,
# which leaves out all errors first.
from skgrad.metrics import risk_coverage_curve


def plot_coverage(ax, rows, title):
    scores = {
        "guard": guard.score_samples(X_new[rows]),
        "confidence": net.predict_proba(X_new[rows]).max(axis=1),
        # Without equal scores, which would be one step.
        "best possible": right[rows] - np.linspace(0, 0.5, rows.sum()),
    }
    for (name, score), style in zip(scores.items(), ["-", "--", ":"], strict=True):
        coverages, risks, _ = risk_coverage_curve(right[rows], score)
        ax.plot(100 * coverages, 100 * (1 - risks), style, label=name)
    kept = rows & ~abstains
    share = kept.sum() / rows.sum()
    ax.plot(100 * share, 100 * right[kept].mean(), "ko", label="guard's threshold")
    ax.set(title=title, xlabel="answered, %", xlim=(0, 100))


figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
plot_coverage(axes[0], ~bad, "clean digits")
plot_coverage(axes[1], np.ones_like(bad), "clean and noisy digits")
axes[0].set(ylabel="of the answers right, %")
axes[0].legend(loc="lower left")
plt.show()

# %%
# On clean digits the guard is no better than the network's confidence: a badly written
# digit is still a digit. It is better on inputs that are unlike what the network was
# trained on, here the noisy ones, where the network is sure without reason. There it
# abstains from more than half. Many of these answers are wrong, but not all of them.
#
# This is one network and one draw of noise; others give other figures. A threshold that
# keeps the rate of errors below a bound is in :doc:`/guide/abstention`, and more on
# models that skgrad takes in :doc:`/guide/models_and_data`.
