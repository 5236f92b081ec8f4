"""Train a small network on digits, fit a guard, and save both in the current folder.

python examples/serving/network.py
"""

import argparse

import torch
from skorch import NeuralNetClassifier
from torch import nn

import skgrad
from skgrad.datasets import load_digits_images


class Network(nn.Sequential):
    """Logits (n_samples, 10) of images (n_samples, 1, 8, 8)."""

    def __init__(self):
        super().__init__(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10)),
        )


def main():
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)  # for so small a network, more mostly wait
    digits = load_digits_images()
    net = NeuralNetClassifier(
        Network,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        batch_size=32,
        max_epochs=20,
        train_split=None,
        verbose=0,
    )
    net.set_params(lr=1e-3).fit(digits.X_train, digits.y_train)
    guard = skgrad.GuardedClassifier(net.module_, random_state=0).fit(digits.X_fit)
    torch.save(net.module_.state_dict(), "network.pt")
    skgrad.save(guard, "guard.skgrad")
    print(skgrad.read_card("guard.skgrad"))


if __name__ == "__main__":
    main()
