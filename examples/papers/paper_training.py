"""How every network of the experiments is trained, saved and loaded."""

import numpy as np
import safetensors.torch
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch import nn
from torch.nn.functional import pad
from torch.utils.data import default_collate

OPTIMIZERS = {
    "adam": {"optimizer": torch.optim.Adam},
    # Paper B trains with Nesterov momentum.
    "sgd": {
        "optimizer": torch.optim.SGD,
        "optimizer__momentum": 0.9,
        "optimizer__nesterov": True,
    },
}


def train_network(
    network,
    X,
    y,
    *,
    max_epochs=10,
    learning_rate=1e-3,
    batch_size=128,
    optimizer="adam",
    schedule=None,
    augment=None,
    random_state=0,
    device="cpu",
    verbose=0,
):
    """Train a classifier with skorch; the same seed gives the same weights.

    Parameters
    ----------
    network : class, function or torch.nn.Module
        What makes the network when called without arguments; or a network, which is
        trained further.
    X : ndarray of float32 of shape (n_samples, *input_shape)
        Inputs.
    y : ndarray of int64 of shape (n_samples,)
        Their classes, from 0.
    max_epochs, batch_size : int
        How often each input is seen, and how many at a time.
    learning_rate : float, default=1e-3
        Learning rate at the start.
    optimizer : {"adam", "sgd"}, default="adam"
        "sgd" has Nesterov momentum of 0.9, as in paper B.
    schedule : {"cosine", "smooth cosine", "steps"} or None, default=None
        How the learning rate falls: on a half cosine wave, after every epoch or after
        every step; or to a fifth at 30, 60 and 80 % of the epochs (paper B); or never.
    augment : callable, default=None
        Changes each batch (a tensor) at random with torch's generator, such as
        `crop_and_flip`.
    random_state : int, default=0
        Seeds weights, order, dropout and augmentation.
    device : str, default="cpu"
        Where to train.
    verbose : int, default=0
        Above 0, skorch writes a line per epoch.

    Returns
    -------
    skorch.NeuralNetClassifier
        The fitted net; its ``module_`` returns logits.
    """
    more = {} if augment is None else {"iterator_train__collate_fn": _Collate(augment)}
    torch.manual_seed(random_state)
    net = NeuralNetClassifier(
        network,
        criterion=nn.CrossEntropyLoss,
        lr=learning_rate,
        batch_size=batch_size,
        max_epochs=max_epochs,
        train_split=None,
        iterator_train__shuffle=True,
        callbacks=_make_schedule(schedule, max_epochs, -(-len(X) // batch_size)),
        device=device,
        verbose=verbose,
        **OPTIMIZERS[optimizer],
        **more,
    )
    return net.fit(np.asarray(X, np.float32), np.asarray(y, np.int64))


def crop_and_flip(X):
    """Shift images by up to 4 pixels and mirror every other one, at random.

    The augmentation usual for CIFAR: a random crop out of the image with a margin of
    zeros, and a horizontal flip.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_channels, height, width)
        Images.

    Returns
    -------
    Tensor of the same shape
        The changed images, drawn with torch's generator.
    """
    n_samples, _, height, width = X.shape
    padded = pad(X, (4, 4, 4, 4)).permute(0, 2, 3, 1)
    top, left = torch.randint(9, (2, n_samples, 1))
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    mirrored = torch.rand(n_samples, 1) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    samples = torch.arange(n_samples)[:, None, None]
    cropped = padded[samples, rows[:, :, None], columns[:, None, :]]
    return cropped.permute(0, 3, 1, 2).contiguous()


class _Collate:
    """Make a batch and augment its inputs; a class, so that nets pickle."""

    def __init__(self, augment):
        self.augment = augment

    def __call__(self, samples):
        X, y = default_collate(samples)
        return self.augment(X), y


def _make_schedule(schedule, max_epochs, n_batches):
    """Return skorch's callback in a list, None without a schedule."""
    if schedule is None:
        return None
    if schedule == "steps":
        milestones = [round(share * max_epochs) for share in (0.3, 0.6, 0.8)]
        return [LRScheduler("MultiStepLR", milestones=milestones, gamma=0.2)]
    if schedule == "cosine":
        return [LRScheduler("CosineAnnealingLR", T_max=max_epochs)]
    n_steps = max_epochs * n_batches
    return [LRScheduler("CosineAnnealingLR", T_max=n_steps, step_every="batch")]


def save_network(net, path):
    """Write the weights of a fitted skorch net as a safetensors file."""
    safetensors.torch.save_model(net.module_, str(path))


def load_network(network, path):
    """Return ``network()`` with the weights of a safetensors file, to evaluate."""
    model = network()
    safetensors.torch.load_model(model, str(path))
    return model.eval()
