"""
Paper A: gradients of a label that no input had
===============================================

Tell a network that an input belongs to all classes at once, and look how much it would
have to change. You see what these gradients look like for digits and anomalies, how
well paper A's detector learns from them, and how it does on kinds that it was not
shown.
"""

# %%
# The network and four kinds of anomaly
# -------------------------------------
# The network is small, and trained on half of scikit-learn's digits. Each kind of
# anomaly is made twice: once for the detector to learn from, once to judge it by. Of
# the attacked digits those count that the network gets wrong.
import matplotlib.pyplot as plt
import numpy as np
import torch

from skgrad.attacks import pgd
from skgrad.datasets import (
    load_digits_images,
    make_gaussian_noise,
    make_photo_patches,
    make_uniform_noise,
)
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)


def make_anomalies(X, y, seed):
    attack = pgd(net, X, y, eps=0.3, random_state=seed)
    return {
        "patches": make_photo_patches(len(X), random_state=seed),
        "Gaussian noise": make_gaussian_noise(len(X), X.shape[1:], random_state=seed),
        "uniform noise": make_uniform_noise(len(X), X.shape[1:], random_state=seed),
        "PGD, eps 0.3": attack.X_adv[attack.success],
    }


known = make_anomalies(digits.X_fit, digits.y_fit, seed=1)
anomalies = make_anomalies(digits.X_test, digits.y_test, seed=0)
# All patches are cut from the same two photographs: a few come twice.
twice = [
    (anomalies["patches"] == x).all(axis=(1, 2, 3)).any() for x in known["patches"]
]
known["patches"] = known["patches"][~np.array(twice)]

# %%
# The idea
# --------
# In training every input had one class. The label "all classes" is new to the network:
# to obey, it would have to raise every logit. How far it would have to move each weight
# is the gradient of the loss. An input like those of the training raises units that
# already say something about the classes; a strange one raises others, in other
# strength, and asks for a change of another size.
#
# For one input that is a few lines of torch. The feature of a parameter is the squared
# length of its gradient.
module = net.module_.eval()


def squared_norms(x):
    logits = module(torch.from_numpy(x[None]))
    all_classes = torch.ones_like(logits)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, all_classes)
    gradients = torch.autograd.grad(loss, list(module.parameters()))
    return [float(gradient.square().sum()) for gradient in gradients]


# %%
# :class:`~skgrad.ConfoundingGradientTransformer` gives the same numbers, for whole
# batches, in one forward and one backward pass and without a gradient per input in
# memory.
from skgrad import ConfoundingGradientTransformer

gradients = ConfoundingGradientTransformer(net).fit(digits.X_fit)
names = gradients.get_feature_names_out()
norms = {"digits": gradients.transform(digits.X_test)}
norms |= {kind: gradients.transform(X) for kind, X in anomalies.items()}

by_hand, patch_by_hand = (
    squared_norms(X[0]) for X in (digits.X_test, anomalies["patches"])
)
print(f"largest difference: {np.max(np.abs(by_hand / norms['digits'][0] - 1)):.0e}")
print("parameter     one digit   one patch")
for row in zip(names, by_hand, patch_by_hand, strict=True):
    print("{:12} {:10.5f}  {:10.5f}".format(*row))

# %%
# Norms of each parameter
# -----------------------
# Each line is an input, 20 of each kind, against the band that holds the middle nine
# tenths of the digits. Each norm (here the norm itself, not its square) is divided by
# that of the median digit, because parameters differ by orders of magnitude.
from skgrad.inspection import NormProfileDisplay

usual = np.median(norms["digits"], axis=0)
figure, axes = plt.subplots(
    2, 2, figsize=(10, 8), sharex=True, sharey=True, layout="constrained"
)
for ax, kind in zip(axes.flat, anomalies, strict=True):
    NormProfileDisplay(
        norms=np.sqrt(norms[kind][:20] / usual),
        norms_id=np.sqrt(norms["digits"] / usual),
        layers=names,
        quantity="gradients,\nmedian digit = 1",
    ).plot(ax)
    ax.set_title(kind)
    ax.label_outer()
    ax.set_xlabel("")

# %%
# The paper expects larger norms of anomalies. Here most patches have smaller ones: they
# have little contrast and excite the network less, and where little goes into a weight,
# its gradient is small. Noise and attacks lie within the band of the digits for nearly
# every parameter; what gives them away is at most a pattern over several. So a detector
# has to learn what is usual, and no single norm will do.

# %%
# The detector learns from anomalies
# ----------------------------------
# Paper A gives the norms to a small perceptron that is trained on in-distribution
# inputs and on anomalies of the kind to be found. In one line that is
# :func:`~skgrad.make_confounding_gradient_detector`; here the norms are there already,
# so only its last step is fitted. There is one detector per kind, and each is judged on
# every kind.
from skgrad import MLPAnomalyClassifier
from skgrad.metrics import auroc

good = gradients.transform(digits.X_fit)
bad = {kind: gradients.transform(X) for kind, X in known.items()}


def judge(detector, X_good, X_bad):
    """Return the AUROC against each kind."""
    trust = detector(X_good)
    return {
        kind: auroc(
            np.repeat([1, -1], [len(trust), len(X)]),
            np.concatenate([trust, detector(X)]),
        )
        for kind, X in X_bad.items()
    }


def learn(*kinds):
    """Fit on digits and these kinds; return the AUROC against all."""
    shown = np.concatenate([good, *(bad[kind] for kind in kinds)])
    y = np.arange(len(shown)) >= len(good)
    mlp = MLPAnomalyClassifier(random_state=0).fit(shown, y.astype(int))
    X_bad = {kind: norms[kind] for kind in anomalies}
    return judge(lambda X: mlp.predict_proba(X)[:, 0], norms["digits"], X_bad)


one_kind = {kind: learn(kind) for kind in anomalies}
all_others = {
    kind: learn(*(other for other in anomalies if other != kind))[kind]
    for kind in anomalies
}

# %%
# On the diagonal stands the paper's experiment, off it what a user meets: an anomaly of
# another kind than those at hand. In the last row the detector learnt from all kinds
# but the judged one. 50 is chance; below it, where the colour is dark red, anomalies
# are trusted more than digits. The last two columns are regrets: by how much the best
# of the rows beats this one, in the mean over the kinds and at worst.
from skgrad.inspection import DetectorHeatMapDisplay

DetectorHeatMapDisplay(
    values=np.array([list(row.values()) for row in (*one_kind.values(), all_others)]),
    detectors=[*(f"learnt from {kind}" for kind in one_kind), "from all others"],
    anomalies=list(anomalies),
).plot()
plt.show()

# %%
# Logarithms
# ----------
# The norms span decades, so that a few large ones may outweigh the rest. ``log=True``
# of the transformer or the recipe gives logarithms. They spread out what is crowded
# near zero:
figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
at = list(names).index("conv1.weight")
for kind in ("digits", "patches", "PGD, eps 0.3"):
    values = norms[kind][:, at]
    for ax, drawn in zip(axes, (values, np.log(values)), strict=True):
        ax.hist(drawn, 40, density=True, histtype="step", lw=1.5, label=kind)
axes[0].set(xlabel="squared norm, conv1.weight", ylabel="density", yscale="log")
axes[1].set(xlabel="natural logarithm of it")
axes[1].legend(frameon=False)
plt.show()

# %%
# The perceptron standardises what it gets and may do without. The Gaussian of the next
# section is given logarithms, which are nearer to what it assumes.
#
# Without any anomaly
# -------------------
# The norms serve a detector just as well that learns from in-distribution inputs alone:
# here a Gaussian per predicted class over their logarithms. It knows no kind, so there
# is none that it has not seen. The recommended detector takes these
# features with ``effort="high"``.
from sklearn.pipeline import make_pipeline, make_union

from skgrad import ClassConditionalGaussian, LayerActivationTransformer

detector = make_pipeline(
    make_union(
        ConfoundingGradientTransformer(net, log=True),
        LayerActivationTransformer(net, "logits"),
    ),
    ClassConditionalGaussian(include_logits=False, random_state=0),
).fit(digits.X_fit)

alone = judge(detector.score_samples, digits.X_test, anomalies)
figure, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
places = np.arange(len(anomalies))
for shift, (label, values) in enumerate(
    {
        "MLP, learnt from this kind": [one_kind[kind][kind] for kind in anomalies],
        "MLP, learnt from all others": list(all_others.values()),
        "Gaussian per class, no anomaly": list(alone.values()),
    }.items()
):
    heights = 100 * np.array(values)
    bars = ax.bar(places + 0.27 * (shift - 1), heights, 0.25, label=label)
    ax.bar_label(bars, fmt="%.0f", fontsize=8)
ax.axhline(50, color="black", lw=0.8, ls="--")
ax.set_xticks(places, anomalies)
ax.set(ylabel="AUROC in percent", ylim=(0, 140), yticks=range(0, 101, 25))
ax.legend(frameon=False, ncols=2, loc="upper left")
plt.show()

# %%
# This is one small network on small images. What came out on larger ones, with the
# paper's kinds beside its own figures, is in the results: :doc:`MNIST
# </results/mnist/paper_a>` and :doc:`CIFAR-10 (JPEG) </results/cifar/paper_a>`. When to
# use these gradients, and when not, is in :doc:`the guide
# </guide/confounding_gradients>`.
