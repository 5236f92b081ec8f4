"""
Protect a skorch classifier
===========================

You train a classifier with skorch, put a guard beside it, and let it refuse. You see
what the answers that are left are worth, and that a guard is not the best judge of
every kind of error.
"""

# %%
# The classifier
# --------------
# A network of two convolutions, trained here and now on half of scikit-learn's digits.
# Its module returns logits: no softmax at the end. ``CrossEntropyLoss`` wants them, and
# so does skgrad.
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
# The recommended detector takes the skorch net as it is: a ``Pipeline`` of features of
# its layers and its answers, and a detector over them. It learns from digits that the
# network was not trained on, and from nothing else: no noise, no errors, no labels.
# ``target_fpr`` is the share of in-distribution inputs that you are ready to lose.
from skgrad import make_recommended_detector

guard = make_recommended_detector(net, target_fpr=0.05, random_state=0)
guard.fit(digits.X_fit)

# %%
# Predict with refusal
# --------------------
# The guard answers +1 for trust and -1 for do not. Two lines make a classifier of it
# that may refuse; -1 is its "I do not know".


def predict_or_refuse(X):
    return np.where(guard.predict(X) == 1, net.predict(X), -1)


answers = predict_or_refuse(X_new)
refused = answers == -1
for name, rows in {"clean": ~bad, "noisy": bad, "all": np.ones_like(bad)}.items():
    kept = rows & ~refused
    print(
        f"{name}: {refused[rows].mean():.1%} refused; right are "
        f"{right[rows].mean():.1%} of all and {right[kept].mean():.1%} of the trusted"
    )

# %%
# What more refusals buy
# ----------------------
# ``target_fpr`` sets one point. Refuse the lowest scores first, from none to nearly
# all, and you get the whole curve: how accurate the answers are that are left. Beside
# it are the network's own confidence, the usual choice, and the best curve possible,
# which refuses all errors first.


def accuracy_by_coverage(score, correct):
    """Return the accuracy of the 1, 2, ... n inputs with the highest scores."""
    best_first = np.argsort(-score, kind="stable")
    return correct[best_first].cumsum() / np.arange(1, len(score) + 1)


def plot_coverage(axes, rows, title):
    scores = {
        "guard": guard.score_samples(X_new[rows]),
        "confidence": net.predict_proba(X_new[rows]).max(axis=1),
        "best possible": right[rows].astype(float),
    }
    coverage = np.arange(1, rows.sum() + 1) / rows.sum()
    for (name, score), style in zip(scores.items(), ["-", "--", ":"], strict=True):
        curve = accuracy_by_coverage(score, right[rows])
        axes.plot(100 * coverage, 100 * curve, style, label=name)
    kept = rows & ~refused
    share = kept.sum() / rows.sum()
    axes.plot(100 * share, 100 * right[kept].mean(), "ko", label="guard's threshold")
    axes.set(title=title, xlabel="answered, %", xlim=(0, 100))


figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
plot_coverage(axes[0], ~bad, "clean digits")
plot_coverage(axes[1], np.ones_like(bad), "clean and noisy digits")
axes[0].set(ylabel="of the answers right, %")
axes[0].legend(loc="lower left")
plt.show()

# %%
# On clean digits the guard is no better than the network's confidence: an ill-written
# digit is still a digit. It earns its keep on inputs that are unlike what the network
# was trained on, here the noisy ones, where the network is sure without reason. There
# it refuses more than half, as it should, since many of the answers are wrong; it also
# refuses answers that would have been right.
#
# This is one network and one draw of noise; others give other figures. More on models
# that skgrad takes is in :doc:`/guide/models_and_data`.
