"""
Export a guard to ONNX
======================

A guard and its network become one file, which ONNX Runtime runs without skgrad,
scikit-learn or torch. You see the verdicts of that file on images, its scores beside
those of ``judge``, and how small the difference is.

It needs the extra ``export``: ``pip install ".[plot,export]"``.
"""

# %%
# A guard
# -------
# The network was trained on half of scikit-learn's digits. A quarter that it never saw
# fits the guard, and the last quarter is for judging.
import numpy as np

from skgrad import GuardedClassifier
from skgrad.datasets import load_digits_images, make_gaussian_noise, make_photo_patches
from skgrad.evaluation import train_digits_network

digits = load_digits_images()
net = train_digits_network(digits.X_train, digits.y_train, random_state=0)
guard = GuardedClassifier(net, target_fpr=0.05, random_state=0).fit(digits.X_fit)

# %%
# The file
# --------
# ``export`` writes the network, the detector, its threshold and its p-values. The name
# of the file says the format: ``guard.pt2`` with ``format="torch"`` would be a program
# for torch.
import os
from tempfile import TemporaryDirectory

import skgrad

folder = TemporaryDirectory()
path = os.path.join(folder.name, "guard.onnx")
skgrad.export(guard, path)
print(f"{os.path.getsize(path) / 1e3:.0f} kB")

# %%
# From here on nothing of skgrad is needed, nor is Python: ONNX Runtime has interfaces
# for C, C++, C#, Java and JavaScript. The file takes any number of images at once.
import onnxruntime

session = onnxruntime.InferenceSession(path)
for put in (*session.get_inputs(), *session.get_outputs()):
    print(f"{put.name}: {put.type}, {put.shape}")

# %%
# Its answers
# -----------
# The last kind are digits with one row of pixels switched on.
import matplotlib.pyplot as plt

striped = digits.X_test.copy()
striped[:, :, 3] = 1
kinds = {
    "digits": digits.X_test,
    "photographs": make_photo_patches(450, random_state=0),
    "noise": make_gaussian_noise(450, (1, 8, 8), random_state=0),
    "a bright row": striped,
}
of_file = {kind: session.run(None, {"input": X}) for kind, X in kinds.items()}

figure, axes = plt.subplots(4, 8, figsize=(9.5, 6), layout="constrained")
for line, (kind, X) in zip(axes, kinds.items(), strict=True):
    logits, score, p_value, trust = of_file[kind]
    line[0].set_ylabel(kind)
    for ax, image, row in zip(line, X, range(8), strict=False):
        color = "tab:green" if trust[row] else "tab:red"
        ax.imshow(image[0], cmap="gray", vmin=0, vmax=1)
        says = f"says {logits[row].argmax()}\np = {p_value[row]:.2f}"
        ax.set_title(says, fontsize=9, color=color)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(color=color, linewidth=2)
plt.show()

# %%
# Beside ``judge``
# ----------------
# Here skgrad judges the same inputs. On the left each point is an input, its score from
# the file over that of ``judge``. On the right are the differences, in units of how far
# scores of digits usually lie apart (their interquartile range).
here = {kind: guard.judge(X) for kind, X in kinds.items()}
low, high = np.quantile(guard.calibration_scores_, [0.25, 0.75])

figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
axes[0].axline((0, 0), slope=1, color="black", lw=0.8, ls=":")
differences = {}
for kind, (_, score, _, _) in of_file.items():
    axes[0].scatter(here[kind].score, score, s=10, alpha=0.6, lw=0, label=kind)
    differences[kind] = np.abs(score - here[kind].score) / (high - low)
axes[0].set(xlabel="score of judge", ylabel="score of the file")
axes[0].legend(frameon=False, markerscale=2)
for kind, off in differences.items():
    shares = 100 * np.arange(1, len(off) + 1) / len(off)
    axes[1].plot(np.sort(off).clip(1e-9), shares, label=kind)
axes[1].set(xscale="log", xlabel="difference, interquartile ranges")
axes[1].set(ylabel="of the inputs lie below, %")
plt.show()

# %%
# ONNX Runtime rounds float32 otherwise than torch, and the scores differ by as much as
# that. Only an input right at the threshold could get another verdict.
for kind, (_, _, p_value, trust) in of_file.items():
    same = np.mean(trust == here[kind].trust)
    off = np.abs(p_value - here[kind].p_value).max()
    print(f"{kind}: {same:.1%} the same verdicts, p-values differ by {off:.4f} at most")
folder.cleanup()

# %%
# What can be exported, and ``GuardModule``, which runs all of it on a GPU, is in
# :doc:`/guide/export`. Gradients cannot: a file holds no backward pass.
