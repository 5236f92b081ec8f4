"""One way to train every network of the experiments."""

import copy
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import nn
from torch.nn.functional import pad
from torch.utils.data import default_collate

from .._compat import Interval, StrOptions, validate_params
from .._optional import import_package
from .._validation import check_classes, check_finite, check_not_empty
from ..torch_engine.model_state import check_device
from ..torch_engine.samples import read_array
from ..torch_engine.training import fit_net, seeded_training

_OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {}),
    # Paper B's.
    "sgd": (
        torch.optim.SGD,
        {"optimizer__momentum": 0.9, "optimizer__nesterov": True},
    ),
}


@validate_params(
    {
        "network": [nn.Module, callable],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [StrOptions(set(_OPTIMIZERS))],
        "schedule": [StrOptions({"cosine", "smooth cosine", "steps"}), None],
        "augment": [callable, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def train_network(
    network,
    X,
    y,
    *,
    max_epochs=10,
    lr=1e-3,
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
        What makes the network when called without arguments; or a network, of which
        a copy is trained further from the weights that it has.
    X : array-like of shape (n_samples, *input_shape)
        Inputs; cast to float32.
    y : array-like of int of shape (n_samples,)
        Their classes, from 0.
    max_epochs : int, default=10
        How often each input is seen.
    lr : float, default=1e-3
        Learning rate at the start.
    batch_size : int, default=128
        Inputs per step.
    optimizer : {"adam", "sgd"}, default="adam"
        "sgd" has Nesterov momentum of 0.9, as paper B's.
    schedule : {"cosine", "smooth cosine", "steps"} or None, default=None
        How the learning rate falls: on a half cosine wave, after every epoch or after
        every step; or to a fifth at 30, 60 and 80 % of the epochs (paper B); or never.
    augment : callable, default=None
        Changes each batch (a tensor) at random with torch's generator, such as
        `crop_and_flip`.
    random_state : int, RandomState instance or None, default=0
        Seeds weights, order, dropout and augmentation. Torch's own generators are
        left as they were.
    device : str or torch.device, default="cpu"
        Where to train.
    verbose : int, default=0
        Above 0, prints a line per epoch.

    Returns
    -------
    skorch.NeuralNetClassifier
        The fitted net; its ``module_`` returns logits.

    Notes
    -----
    Sums in another order differ by rounding, so the weights agree bit by bit on one
    kind of machine only, with one number of threads.

    Examples
    --------
    >>> from skgrad.datasets import load_digits_images
    >>> from skgrad.evaluation import train_network
    >>> from torch import nn
    >>> digits = load_digits_images()
    >>> def network():
    ...     return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> X, y = digits.X_train, digits.y_train
    >>> net = train_network(network, X, y, max_epochs=20, lr=0.1, optimizer="sgd")
    >>> bool(net.score(digits.X_test, digits.y_test) > 0.9)
    True
    """
    skorch = import_package("skorch", "Training needs")

    X, y = _check_labelled(X, y)
    device = check_device(device)
    seed = _as_seed(random_state)
    algorithm, settings = _OPTIMIZERS[optimizer]
    if augment is not None:
        settings = {**settings, "iterator_train__collate_fn": _Collate(augment)}
    with seeded_training(seed, device):
        net = skorch.NeuralNetClassifier(
            copy.deepcopy(network) if isinstance(network, nn.Module) else network,
            criterion=nn.CrossEntropyLoss,
            optimizer=algorithm,
            lr=lr,
            batch_size=batch_size,
            max_epochs=max_epochs,
            train_split=None,
            iterator_train__shuffle=True,
            callbacks=_make_schedule(schedule, max_epochs, -(-len(X) // batch_size)),
            device=device,
            verbose=verbose,
            **settings,
        )
        return fit_net(net, X, y)


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
    from skorch.callbacks import LRScheduler

    if schedule is None:
        return None
    if schedule == "steps":
        milestones = [round(share * max_epochs) for share in (0.3, 0.6, 0.8)]
        return [LRScheduler("MultiStepLR", milestones=milestones, gamma=0.2)]
    if schedule == "cosine":
        return [LRScheduler("CosineAnnealingLR", T_max=max_epochs)]
    n_steps = max_epochs * n_batches
    return [LRScheduler("CosineAnnealingLR", T_max=n_steps, step_every="batch")]


def _check_labelled(X, y):
    X = read_array(X, "X").astype(np.float32)
    check_not_empty(X, "X", "inputs, of shape (n_samples, *input_shape)")
    check_finite(X, "X")
    if y is None:
        raise ValueError("y must hold one class for each of the inputs in X; got None.")
    y = check_classes(y, len(X), "y")
    if y.dtype.kind not in "iu" or y.min() < 0:
        raise ValueError(
            "y must hold classes numbered from 0; got "
            f"{y.dtype} values from {y.min()!r}. Number them with "
            "np.unique(y, return_inverse=True)."
        )
    return X, y.astype(np.int64)


def _as_seed(random_state):
    """Keep an int, so that networks trained before stay the same."""
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))
