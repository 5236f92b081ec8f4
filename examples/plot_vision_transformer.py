"""
Protect a vision transformer
============================

You put a guard beside a vision transformer (ViT) that reads digits. You see images that
it trusts and images that it rejects, each with its p-value. Then pieces of photographs
replace pieces of the digits, one by one, until the guard notices.
"""

# %%
# Digits in colour format
# -----------------------
# These are scikit-learn's digits, resized to 16 x 16 pixels and in three channels. Half
# of them train the network, a quarter fits the guard, and the last quarter is for
# judging.
import numpy as np
import torch
from torchvision.transforms.functional import resize

from skgrad.datasets import load_digits_images

digits = load_digits_images()


def enlarged(images):
    """Return images (n, 3, 16, 16) of images (n, 1, 8, 8)."""
    return resize(torch.as_tensor(images), [16, 16], antialias=True).repeat(1, 3, 1, 1)


X_train, X_fit, X_test = map(enlarged, (digits.X_train, digits.X_fit, digits.X_test))
y_train, y_test = torch.as_tensor(digits.y_train), digits.y_test

# %%
# The network
# -----------
# It is torchvision's own class, small enough to be trained here. It cuts an image into
# 16 pieces of 4 x 4 pixels. Each piece becomes a token, a vector of 48 numbers, and two
# encoder blocks let the tokens look at one another. One more token gathers the answer.
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.transforms import Normalize

torch.manual_seed(0)
vit = VisionTransformer(
    image_size=16,
    patch_size=4,
    num_layers=2,
    num_heads=4,
    hidden_dim=48,
    mlp_dim=96,
    num_classes=10,
)
model = nn.Sequential(Normalize([0.3] * 3, [0.35] * 3), vit)

n_epochs = 30
optimizer = torch.optim.AdamW(model.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, max_lr=5e-3, total_steps=n_epochs * -(-len(X_train) // 32)
)
for _ in range(n_epochs):
    for rows in torch.randperm(len(X_train)).split(32):
        loss = nn.functional.cross_entropy(model(X_train[rows]), y_train[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

with torch.no_grad():
    predicted = model.eval()(X_test).argmax(1).numpy()
right = predicted == y_test
print(f"{right.mean():.1%} of the test digits are right")

# %%
# The guard
# ---------
# It is fitted on digits alone. Nothing has to be said about tokens: a layer that
# returns a sequence gives one column for each of its 48 channels, the mean over the
# tokens. The guard also asks how sure the network stays when an image changes a little.
# Images in colour would be mirrored for that. A mirrored digit is another one, so
# these get noise and blur instead.
from skgrad import GuardedClassifier, make_recommended_detector

detector = make_recommended_detector(model, changes=["noise", "blur"])
guard = GuardedClassifier(model, detector, target_fpr=0.05, random_state=0).fit(X_fit)
layers = guard.detector_[0].families_["activations"].layers_
print("looks at", *layers, sep="\n  ")

# %%
# What it trusts and what it rejects
# ----------------------------------
# The photographs are pieces of one that comes with scikit-learn. "Two digits" are the
# left half of one beside the right half of another. "Misread" are test digits that the
# network gets wrong.
from sklearn.datasets import load_sample_image
from sklearn.feature_extraction.image import extract_patches_2d

from skgrad.datasets import make_gaussian_noise

china = load_sample_image("china.jpg")[::4, ::4] / 255
photographs = extract_patches_2d(china, (16, 16), max_patches=450, random_state=0)
photographs = torch.as_tensor(photographs, dtype=torch.float32).permute(0, 3, 1, 2)

others = X_test.roll(1, dims=0)
different = y_test != np.roll(y_test, 1)
two = torch.cat([X_test[..., :8], others[..., 8:]], dim=-1)
anomalies = {
    "photograph": photographs,
    "noise": torch.as_tensor(make_gaussian_noise(450, (3, 16, 16), random_state=0)),
    "upside down": X_test.flip(2),
    "two digits": two[different],
    "misread": X_test[~right],
}
judged = {kind: guard.judge(X) for kind, X in anomalies.items()}
judged["digit"] = guard.judge(X_test)
for kind, answers in judged.items():
    print(f"{kind}: {1 - answers.trust.mean():.1%} of {len(answers)} are rejected")

# %%
# The picture shows the first three of each kind, as they come: green is trusted, red is
# rejected.
import matplotlib.pyplot as plt


def show(ax, image, answers, row):
    """Draw an image below what the guard says of it."""
    color = "tab:green" if answers.trust[row] else "tab:red"
    ax.imshow(np.asarray(image).transpose(1, 2, 0), vmin=0, vmax=1)
    says = f"says {answers.predicted[row]}, p = {answers.p_value[row]:.2f}"
    ax.set_title(says, fontsize=9, color=color)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(color=color, linewidth=3)


figure, axes = plt.subplots(3, 6, figsize=(9.5, 5.4), layout="constrained")
shown = {"digit": X_test, **anomalies}
for column, (kind, images) in zip(axes.T, shown.items(), strict=True):
    for row, ax in enumerate(column):
        show(ax, images[row], judged[kind], row)
    column[-1].set_xlabel(kind, fontsize=11)
plt.show()

# %%
# One strange piece after the other
# ---------------------------------
# The tokens see one another, but a single strange piece among 16 may drown in the mean.
# So pieces of photographs replace pieces of the digits, in a random order for each
# digit.
n_replaced = [0, 1, 2, 3, 4, 6, 8, 12, 16]
order = np.random.default_rng(0).permuted(np.tile(np.arange(16), (450, 1)), axis=1)


def replaced(n):
    """Return test digits with n of their 16 pieces out of photographs."""
    strange = torch.as_tensor(order < n).reshape(450, 1, 4, 4)
    strange = strange.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    return torch.where(strange, photographs, X_test)


mixed = {n: replaced(n) for n in n_replaced}
answers = {n: guard.judge(X) for n, X in mixed.items()}

figure, axes = plt.subplots(2, 6, figsize=(9.5, 3.9), layout="constrained")
for column, n in zip(axes.T, n_replaced[1:], strict=False):
    for row, ax in enumerate(column):
        show(ax, mixed[n][row], answers[n], row)
    column[-1].set_xlabel(f"{n} of 16 replaced", fontsize=11)
plt.show()

# %%
# The dotted line says how often the network is right. The solid black line says how
# often it is right where the guard trusts it, as long as it trusts ten images or more.
curves = {"right": [], "right where trusted": [], "rejected": []}
for n in n_replaced:
    correct, trusted = answers[n].predicted == y_test, answers[n].trust
    kept = correct[trusted].mean() if trusted.sum() >= 10 else np.nan
    for curve, value in zip(
        curves.values(), (correct.mean(), kept, 1 - trusted.mean()), strict=True
    ):
        curve.append(100 * value)

figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
for (name, curve), style in zip(curves.items(), ("k:", "k-", "C3-"), strict=True):
    ax.plot(n_replaced, curve, style, marker="o", markersize=4, label=name)
ax.set(xlabel="pieces replaced, of 16", ylabel="of the images, %")
ax.legend(frameon=False)
plt.show()

# %%
# The more pieces are replaced, the more often the network is wrong and the more images
# the guard rejects. What it still trusts is right about as often as plain digits are,
# and a little less often after six pieces. A single one passes most of the time, and
# mostly does no harm.
#
# Digits that are upside down, mixed or misread are still made of strokes, and most of
# them pass: a guard rejects what is unlike its data, which not every mistake is.
#
# Other transformers, such as Swin or those of timm and Hugging Face, work the same way:
# :doc:`/guide/networks` lists them. One that reads words instead of pieces of images
# is the subject of :doc:`plot_text_classifier`.
