"""
Protect a ResNet of torchvision
===============================

You put a guard beside a ResNet, with the normalisation inside the model and images that
come from a ``Dataset``. You see images of seven kinds, how many of each are rejected,
and how much depends on the layers that the guard looks at.
"""

# %%
# A small ResNet
# --------------
# torchvision's own class with three stages of one block, in place of four of two, so
# that it can be trained here within seconds. Your own network is likely a large one
# that was trained long ago: what follows is the same, see the end of this page.
#
# ``Normalize`` is the first layer of the model. Then everything outside works with
# images in [0, 1]: detectors, noise and attacks agree on what an image is.
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms import Normalize


def make_network():
    resnet = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)
    resnet.layer4 = nn.Identity()
    resnet.fc = nn.Linear(256, 10)
    return nn.Sequential(Normalize([0.3] * 3, [0.35] * 3), resnet)


# %%
# Images from a Dataset
# ---------------------
# They are the digits of scikit-learn, resized and in three channels. Large data sets do
# not fit into memory, so this one is a ``Dataset`` that prepares each image when it is
# asked for. skgrad reads it in batches, and does not look at the labels. Of a
# ``DataLoader``, hand over its ``dataset``.
import numpy as np
import torch
from torch.utils.data import Dataset
from torchvision.transforms.functional import resize

from skgrad.datasets import (
    load_digits_images,
    make_gaussian_noise,
    make_photo_patches,
)


class Resized(Dataset):
    """Images (1, 8, 8) as images (3, 16, 16), one at a time."""

    def __init__(self, images, labels=None):
        self.images = torch.as_tensor(images)
        self.labels = labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = resize(self.images[index], [16, 16], antialias=True).expand(3, -1, -1)
        return image if self.labels is None else (image, self.labels[index])


digits = load_digits_images()
fit = Resized(digits.X_fit, digits.y_fit)
test = Resized(digits.X_test[:150], digits.y_test[:150])

# %%
# Training wants all at once; 898 images are few.
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler

X_train = np.stack([np.asarray(image) for image in Resized(digits.X_train)])
n_steps = 4 * -(-len(X_train) // 64)
torch.manual_seed(0)
net = NeuralNetClassifier(
    make_network,
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.Adam,
    lr=1e-3,
    max_epochs=4,
    batch_size=64,
    train_split=None,
    iterator_train__shuffle=True,
    callbacks=[LRScheduler("CosineAnnealingLR", T_max=n_steps, step_every="batch")],
    verbose=0,
).fit(X_train, digits.y_train)
# A plain torch module from here on, as yours may be.
model = net.module_.eval()
with torch.no_grad():
    X_test = torch.stack([image for image, _ in test])
    answers = model(X_test).argmax(1).numpy()
print(f"{np.mean(answers == test.labels):.1%} of the test digits are right")

# %%
# What does not belong here
# -------------------------
inverted, swapped = 1 - X_test, X_test.clone()
swapped[:, 1:] = 0  # only red is left
anomalies = {
    "photo patches": Resized(make_photo_patches(150, random_state=0)),
    "Gaussian noise": make_gaussian_noise(150, (3, 16, 16), random_state=0),
    "inverted": inverted,
    "red": swapped,
    "half dark": X_test / 2,
    "blurred": resize(resize(X_test, [5, 5], antialias=True), [16, 16]),
}

# %%
import matplotlib.pyplot as plt

figure, panels = plt.subplots(4, 7, figsize=(8, 5), layout="constrained")
for column, (name, images) in zip(
    panels.T, {"digits": X_test, **anomalies}.items(), strict=True
):
    column[0].set_title(name, fontsize="medium")
    for panel, image in zip(column, images, strict=False):
        panel.imshow(np.asarray(image).transpose(1, 2, 0), vmin=0, vmax=1)
        panel.axis("off")
plt.show()

# %%
# The guard
# ---------
# It is the recommended detector, fitted on a Dataset as on an array. Without ``layers``
# it takes four convolutions or linear layers spread over the depth, and the logits. It
# also asks how sure the network stays when an image changes a little. Images in colour
# are flipped for that, and it would warn here: a flipped digit is another one. So the
# digits are blurred instead.
from skgrad import make_recommended_detector

small = ["noise", "blur"]
guard = make_recommended_detector(model, changes=small, random_state=0).fit(fit)
activations = guard[0].families_["activations"]
print("looks at", *activations.layers_, sep="\n  ")
print(f"{np.mean(guard.predict(test) == -1):.1%} of the digits are rejected")
for name, images in anomalies.items():
    print(f"{name}: {np.mean(guard.predict(images) == -1):.1%} are rejected")

# %%
# Which layers?
# -------------
# Layers are named as in ``model.named_modules()``. Any module will do that returns one
# tensor, also a whole stage. Early ones see texture and contrast, late ones the shape.
# The guard looks at the network's answers, also to changed copies, in any case.
choices = {
    "by itself": None,
    "first convolution": "1.conv1",
    "all stages": ["1.layer1", "1.layer2", "1.layer3"],
    "last stage": "1.layer3",
}
rejected = {}
for name, layers in choices.items():
    guard = make_recommended_detector(model, layers, changes=small, random_state=0)
    guard.fit(fit)
    judged = {"digits (false alarms)": test, **anomalies}
    rejected[name] = [100 * np.mean(guard.predict(X) == -1) for X in judged.values()]

figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
places = np.arange(len(judged))
for i, (name, shares) in enumerate(rejected.items()):
    ax.barh(places + 0.2 * i - 0.3, shares, height=0.18, label=name)
ax.axvline(5, color="black", linestyle=":", label="false alarms asked for")
ax.set_yticks(places, judged)
ax.invert_yaxis()
ax.set_xlabel("rejected, %")
figure.legend(loc="outside right upper", title="layers")
plt.show()

# %%
# What is far off is found by any choice. Blurred digits show a difference: the first
# convolution sees the lost edges best, the last stage least. Another network or
# another anomaly may turn that round. So take several layers unless you know what to
# expect, and do not choose by the anomalies that you then report.
#
# Your own weights
# ----------------
# Nothing above depends on how the network was trained. With a ResNet-18 of yours:
#
# .. code-block:: python
#
#     from torchvision.models import resnet18
#
#     resnet = resnet18(num_classes=12)
#     resnet.load_state_dict(torch.load("mine.pt", weights_only=True))
#     model = nn.Sequential(Normalize(MEAN, STD), resnet).eval()
#     guard = make_recommended_detector(model).fit(images)
#
# ``MEAN`` and ``STD`` are those of your training. ``images`` is a ``Dataset`` that
# prepares images as your training did, but without ``Normalize`` and without random
# augmentation. Take images that the network was not trained on: of its own training
# images it is surer than it will be of new ones. A model on a GPU stays there.
# :doc:`/guide/models_and_data` says more, and :doc:`/guide/saving` how to keep a fitted
# guard.
