"""
Protect a classifier of time series
===================================

A 1-D convolutional network reads the state of a machine from its vibration. You put a
guard beside it and break the sensor in several ways. You see the series, a map of what
the network makes of them, and how much has to go wrong before the guard notices.
"""

# %%
# Three states of a machine
# -------------------------
# The signals are made here, so that you know what is in them. A machine turns :math:`f`
# times per window, :math:`f` drawn from 4 to 6. A good one vibrates as :math:`\sin 2
# \pi (f t + \varphi)`. A misaligned one adds half as much of the second harmonic. One
# with a damaged bearing adds bursts. There are :math:`3 f` impacts per window, and each
# rings as :math:`0.8 \, e^{-60 \tau} \sin 80 \pi \tau`, where :math:`\tau` is the time
# since it. All get noise of standard deviation 0.2, and all phases are drawn.
#
# A series is one channel of 128 points: the shape of X is ``(n, 1, 128)``.
import matplotlib.pyplot as plt
import numpy as np
from torch import nn

time = np.arange(128) / 128
STATES = ["good", "misaligned", "bearing"]


def make_vibration(n_series, random_state):
    rng = np.random.default_rng(random_state)
    state = np.arange(n_series) % 3
    speed = rng.uniform(4, 6, (n_series, 1))
    first, second = rng.uniform(0, 1, (2, n_series, 1))
    X = np.sin(2 * np.pi * (speed * time + first))
    harmonic = np.sin(2 * np.pi * (2 * speed * time + second))
    since = (3 * speed * time + second) % 1 / (3 * speed)
    burst = np.exp(-60 * since) * np.sin(80 * np.pi * since)
    X += 0.5 * (state == 1)[:, None] * harmonic + 0.8 * (state == 2)[:, None] * burst
    X += 0.2 * rng.normal(size=X.shape)
    return X[:, None].astype(np.float32), state


X_train, y_train = make_vibration(900, random_state=0)
X_fit, _ = make_vibration(600, random_state=1)
X_test, y_test = make_vibration(300, random_state=2)

# %%
# What may go wrong
# -----------------
# None of this is shown to the network or to the guard before it is judged. All kinds
# but the first two are what a bad sensor makes of the test series.
rng = np.random.default_rng(3)
n = len(X_test)
turns = rng.uniform(8, 10, (n, 1, 1)) * time + rng.uniform(0, 1, (n, 1, 1))
noise = 0.2 * rng.normal(size=X_test.shape)
stuck = X_test.copy()
stuck[..., 64:] = stuck[..., 63:64]
anomalies = {
    "square wave": np.sign(np.sin(np.pi * turns)) + noise,
    "twice as fast": np.sin(2 * np.pi * turns) + noise,
    "drift": X_test + 1.5 * time,
    "more noise": X_test + 0.4 * rng.normal(size=X_test.shape),
    "half the gain": X_test / 2,
    "stuck halfway": stuck,
    "flat line": np.zeros_like(X_test),
}
anomalies = {kind: X.astype(np.float32) for kind, X in anomalies.items()}

figure, panels = plt.subplots(
    5, 2, figsize=(8, 6.5), sharex=True, sharey=True, layout="constrained"
)
shown = {name: X_test[i] for i, name in enumerate(STATES)}
shown |= {kind: X[0] for kind, X in anomalies.items()}
for panel, (name, series) in zip(panels.T.flat, shown.items(), strict=True):
    panel.plot(time, series[0], color="C0" if name in STATES else "C1", linewidth=1)
    panel.set_title(name, fontsize="medium")
for panel in panels[-1]:
    panel.set_xlabel("time, windows")
figure.suptitle("In-distribution (blue) and anomalies (orange)")
plt.show()

# %%
# The network
# -----------
# It has three convolutions along time, a mean over time, and a linear layer.
import torch
from skorch import NeuralNetClassifier


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 16, 7, padding=3)
        self.conv2 = nn.Conv1d(16, 32, 5, padding=2)
        self.conv3 = nn.Conv1d(32, 32, 3, padding=1)
        self.fc = nn.Linear(32, 3)

    def forward(self, x):
        x = nn.functional.max_pool1d(self.conv1(x).relu(), 2)
        x = nn.functional.max_pool1d(self.conv2(x).relu(), 2)
        return self.fc(self.conv3(x).relu().mean(2))


torch.manual_seed(0)
net = NeuralNetClassifier(
    Network,
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.Adam,
    lr=1e-3,
    max_epochs=20,
    batch_size=32,
    train_split=None,
    iterator_train__shuffle=True,
    verbose=0,
).fit(X_train, y_train)
print(f"{net.score(X_test, y_test):.1%} of the test series are right")
for kind, X in anomalies.items():
    answers = np.bincount(net.predict(X), minlength=3) / len(X)
    shares = ", ".join(f"{a:.0%} {s}" for a, s in zip(answers, STATES, strict=True))
    print(f"{kind} is called {shares}")

# %%
# What the network sees
# ---------------------
# The map shows the means over time of its three convolutions, and the logits, in the
# two directions in which they vary most. Drift lies far off; faster machines and noise
# begin where the ordinary series end. All flat lines are one point, at the lower left.
# Two directions out of many decide nothing, but they give a first idea.
from skgrad import LayerActivationTransformer
from skgrad.inspection import FeatureMapDisplay

layers = LayerActivationTransformer(net).fit(X_fit)
kinds = ["in-distribution", *anomalies]
few = np.concatenate([X[:100] for X in (X_test, *anomalies.values())])
FeatureMapDisplay.from_estimator(layers, few, np.repeat(kinds, 100), method="pca")
plt.show()

# %%
# Guards
# ------
# Nothing is said about series anywhere: the guards go by the network's layers,
# gradients and answers. Beside the recommended detector stand those of papers B
# (saliency maps, built for many classes; here are three) and C (one layer and the
# logits), and the network's own confidence.
from sklearn.pipeline import make_pipeline

from skgrad import (
    LayerActivationTransformer,
    MaxSoftmaxProbability,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)

guards = {
    "confidence": make_pipeline(
        LayerActivationTransformer(net, "logits"),
        MaxSoftmaxProbability(random_state=0),
    ),
    "B: LODA": make_geometric_gradient_detector(net, random_state=0),
    "C: SVDD, conv1": make_uniform_detector(net, "conv1", random_state=0),
    "C: SVDD, conv2": make_uniform_detector(net, "conv2", random_state=0),
    "recommended": make_recommended_detector(net, random_state=0),
}
rejected = np.zeros((len(guards), len(anomalies)))
for i, (name, guard) in enumerate(guards.items()):
    alarms = np.mean(guard.fit(X_fit).predict(X_test) == -1)
    print(f"{name}: {alarms:.1%} false alarms, 5 % asked for")
    for j, X in enumerate(anomalies.values()):
        rejected[i, j] = np.mean(guard.predict(X) == -1)

# %%
# Of AUROC, 100 is perfect and 50 a coin. The share rejected is what you get at the
# threshold. Where all inputs of a kind are the same, as with the flat line, it is all
# or nothing, and the AUROC may be high when nothing is rejected. The last two columns
# are regrets: by how much the best of the rows beats this one, in the mean over the
# kinds and at worst.
from skgrad.inspection import DetectorHeatMapDisplay

figure, axes = plt.subplots(2, 1, figsize=(7, 6.5), layout="constrained")
DetectorHeatMapDisplay.from_estimator(guards, X_test, anomalies, ax=axes[0])
DetectorHeatMapDisplay(
    values=rejected,
    detectors=list(guards),
    anomalies=list(anomalies),
    metric="rejected",
).plot(axes[1])
plt.show()

# %%
# Confidence is of little use here: it sees nothing odd in a machine that turns twice as
# fast. The early layers see the wave form, and the recommended detector looks there.
#
# How much must go wrong?
# -----------------------
# Those sensors were very bad. Here drift, noise and gain go wrong little by little. The
# dotted line says how often the network is right, the black one how often it is right
# where the recommended guard trusts it: that one should stay up.
faults = {
    "drift over the window": (np.linspace(0, 1.5, 11), lambda a: X_test + a * time),
    "added noise, standard deviation": (
        np.linspace(0, 0.5, 11),
        lambda a: X_test + a * noise / 0.2,
    ),
    "gain lost": (np.linspace(0, 0.8, 11), lambda a: (1 - a) * X_test),
}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), sharey=True, layout="constrained")
for ax, (name, (amounts, spoil)) in zip(axes, faults.items(), strict=True):
    spoilt = [spoil(amount).astype(np.float32) for amount in amounts]
    right = [100 * (net.predict(X) == y_test) for X in spoilt]
    ax.plot(amounts, [part.mean() for part in right], "k:", label="right of all")
    for guard in ("recommended", "confidence"):
        alarm = [guards[guard].predict(X) == -1 for X in spoilt]
        if guard == "recommended":  # the mean of ten series or more
            kept = [
                part[~rows].mean() if (~rows).sum() >= 10 else np.nan
                for part, rows in zip(right, alarm, strict=True)
            ]
            ax.plot(amounts, kept, "k-", label="right of the trusted")
        ax.plot(
            amounts,
            [100 * rows.mean() for rows in alarm],
            label=f"rejected by {guard}",
        )
    ax.set_xlabel(name)
axes[0].set_ylabel("of the series, %")
handles, labels = axes[0].get_legend_handles_labels()
figure.legend(handles, labels, loc="outside upper center", ncols=4)
plt.show()

# %%
# Drift and lost gain are caught about when the network begins to err. Noise is not. A
# little more of it looks to the network like the ringing of a bearing, which is an
# ordinary series to network and guard alike. From a standard deviation of 0.25 on, a
# little more than the ordinary noise, the series that the guard still trusts are wrong
# more often than all together. A guard finds what is unlike the data that it knows; it
# does not know whether an answer is right. Confidence hardly notices any of these
# faults.
#
# Where the network feels it
# --------------------------
# The features of paper A say how much each parameter would have to change if the
# network were told that all three states hold at once. Each line is the median of one
# kind, against the band that holds the middle nine tenths of the ordinary series, in
# units of the median ordinary series. Drift raises the norm of the first weights, less
# gain lowers nearly all. The square wave and the noise stay within or near the band,
# parameter by parameter. A detector sees more than this picture: it looks at all
# parameters together, and for each predicted class by itself. More on such features is
# in :doc:`/guide/confounding_gradients`, and on series in
# :doc:`/guide/series_and_rows`.
from skgrad import ConfoundingGradientTransformer
from skgrad.inspection import NormProfileDisplay

gradients = ConfoundingGradientTransformer(net).fit(X_fit)
squared = gradients.transform(X_fit)
usual = np.median(squared, axis=0)

felt = ["square wave", "drift", "more noise", "half the gain"]
NormProfileDisplay(
    norms=[
        np.sqrt(np.median(gradients.transform(anomalies[kind]), axis=0) / usual)
        for kind in felt
    ],
    norms_id=np.sqrt(squared / usual),
    layers=gradients.get_feature_names_out(),
    quantity="gradients,\nmedian = 1",
    input_names=felt,
).plot()
plt.show()
