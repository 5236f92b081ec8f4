"""Outlier exposure: fine-tuning that lowers the confidence on outliers."""

import copy
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from .._compat import Interval, validate_params
from .._optional import import_package
from .._validation import as_tensor, check_classes, check_inputs, no_samples
from ..torch_engine.batching import batches, prepare_batch
from ..torch_engine.model_state import (
    as_logits,
    check_device,
    forward,
    frozen,
    model_device,
    placement,
    unwrap_model,
)
from ..torch_engine.restoring import lock_of
from ..torch_engine.training import fit_net, seeded_training

# The target of an outlier, and the number of outliers for each other sample.
OUTLIER, RATIO = -1, 2


class _OutlierExposureLoss(nn.Module):
    """Cross-entropy, for outliers with the uniform distribution as the target.

    Eq. 1 of the paper. Targets below 0 mark outliers; each of the two means is over its
    own samples, whatever their share of the batch, and 0 without any.
    """

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, logits, target):
        log_p = as_logits(logits, len(target)).log_softmax(dim=1)
        outlier = target < 0
        known = nn.functional.nll_loss(log_p[~outlier], target[~outlier])
        unknown = -log_p[outlier].mean()
        # The mean of nothing is NaN; a sum times 0 keeps the graph.
        loss = known if (~outlier).any() else log_p.sum() * 0
        return loss + self.weight * unknown if outlier.any() else loss


@validate_params(
    {
        "model": "no_validation",
        "X": "no_validation",
        "y": ["array-like", torch.Tensor],
        "X_outliers": "no_validation",
        "weight": [Interval(Real, 0, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    },
    prefer_skip_nested_validation=True,
)
def fine_tune_with_outliers(
    model,
    X,
    y,
    X_outliers,
    *,
    weight=0.5,
    max_epochs=10,
    learning_rate=0.001,
    batch_size=128,
    device=None,
    random_state=None,
    verbose=False,
):
    r"""Fine-tune a copy of a classifier so that it is uncertain about outliers.

    What the copy learns from some outliers generalises to others: its confidence is a
    better score afterwards. With the softmax p of C classes and the weight
    :math:`\lambda`, training minimises

    .. math::
        \operatorname*{mean}_{\text{in-distribution}} (-\log p_y)
        + \lambda \operatorname*{mean}_{\text{outliers}}
        \Bigl(- \frac 1 C \sum_{j=1}^C \log p_j\Bigr)

    by stochastic gradient descent, with two outliers for each in-distribution sample in
    a batch.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed;
        parameters that do not require gradients are not trained in the copy either.
    X : array-like of shape (n_samples, *input_shape), Tensor or Dataset
        In-distribution inputs, as the model was trained on them.
    y : array-like of int of shape (n_samples,)
        Their classes, 0 to ``n_classes - 1``.
    X_outliers : array-like of shape (n_outliers, *input_shape), Tensor or Dataset
        Any number of outliers. They should differ from the anomalies of a later
        evaluation, which would otherwise not be unknown.
    weight : float, default=0.5
        The weight :math:`\lambda`; the default is the paper's for images.
    max_epochs : int, default=10
        Passes over X.
    learning_rate : float, default=0.001
        Learning rate at the start; it falls to 0 along a cosine, epoch by epoch.
    batch_size : int, default=128
        In-distribution samples per batch, to which twice as many outliers are added.
    device : str or torch.device, default=None
        Where to train. None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the batches and seeds torch, for dropout.
    verbose : bool or int, default=False
        Whether to print a line per epoch.

    Returns
    -------
    skorch.NeuralNetClassifier
        The fitted net around the copy; detectors take it as ``model``.

    Raises
    ------
    ValueError
        If there are no outliers, shapes differ, labels are out of range, inputs are
        not finite, or training diverges.

    Notes
    -----
    Momentum 0.9 (Nesterov), weight decay 0.0005, learning rate, epochs and batches are
    those of the paper's fine-tuning, where the rate falls batch by batch.

    References
    ----------
    Hendrycks, Mazeika, Dietterich (2019), "Deep Anomaly Detection with Outlier
    Exposure", Eq. 1, Sec. 4.

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import fine_tune_with_outliers
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.randn(100, 4)
    >>> y = model(X).argmax(dim=1)
    >>> net = fine_tune_with_outliers(model, X, y, 5 + X, random_state=0)
    >>> net.predict_proba(X.numpy()).shape
    (100, 3)
    """
    module = _private_copy(unwrap_model(model), device)
    X = _check_data(X, module, "X")
    first = next(batches(X, 2))
    n_classes, shape = _count_classes(module, first), first.shape[1:]
    X_outliers = _check_data(X_outliers, module, "X_outliers", shape)
    labels = check_classes(y, len(X), "y", n_classes=n_classes)
    random_state = check_random_state(random_state)
    data = _MixedDataset(X, labels, X_outliers, shape, placement(module)["dtype"])
    net = _make_net(
        module,
        criterion__weight=weight,
        max_epochs=max_epochs,
        lr=learning_rate,
        batch_size=batch_size,
        classes=np.arange(n_classes),
        iterator_train=partial(_mixed_batches, random_state=random_state),
        verbose=int(verbose),
    )
    # torch's own generators serve dropout; the batches are drawn from random_state.
    seed = random_state.randint(np.iinfo(np.int32).max)
    with seeded_training(seed, model_device(module)):
        try:
            fit_net(net, data)
        except ValueError as error:
            error.add_note(
                f"This error came while training with learning_rate={learning_rate}. "
                "If the logits grew without bound, lower it."
            )
            raise
    # Further calls of the net's fit train on plain batches, without outliers.
    net.iterator_train = DataLoader
    return net


def _private_copy(module, device):
    """Return a copy, on another device if asked for, that can be trained."""
    with lock_of(module), torch.inference_mode(False):
        module = copy.deepcopy(module)
        if device is not None:
            module = module.to(check_device(device))
    if not any(p.requires_grad for p in module.parameters()):
        raise ValueError(
            "model must have parameters that require gradients; none does, so nothing "
            "can be trained. Call model.requires_grad_() on a copy of it."
        )
    return module


def _check_data(X, module, name, shape=None):
    """Return X as a Tensor or an indexable Dataset, after checking each sample.

    A Dataset is read once here and sample by sample in training, so that it need not
    fit into memory.
    """
    X = check_inputs(X, name=name)
    if isinstance(X, IterableDataset):
        raise TypeError(
            f"{name} must allow reading its samples in any order; got the stream "
            f"{type(X).__name__}. Stack it first."
        )
    # On the CPU: batches are moved to the device one at a time in training.
    place = {**placement(module), "device": torch.device("cpu"), "name": name}
    if not isinstance(X, Dataset):
        return prepare_batch(X, input_shape=shape, **place)
    n_samples = 0
    for batch in batches(X, 512, name=name):
        shape = prepare_batch(batch, input_shape=shape, **place).shape[1:]
        n_samples += len(batch)
    if not n_samples:
        raise ValueError(no_samples(name))
    return X


def _count_classes(module, samples):
    batch = prepare_batch(samples, input_shape=None, **placement(module))
    with frozen(module):
        return forward(module, batch).shape[1]


def _make_net(module, **options):
    """Return the skorch net that trains a module as the paper does."""
    skorch = import_package("skorch", "Outlier exposure needs")
    from skorch.callbacks import LRScheduler

    from ..torch_engine.callbacks import DivergenceCallback

    schedule = LRScheduler("CosineAnnealingLR", T_max=options["max_epochs"])
    return skorch.NeuralNetClassifier(
        module,
        criterion=_OutlierExposureLoss,
        # skorch infers this for its own losses alone.
        predict_nonlinearity=partial(torch.softmax, dim=-1),
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        optimizer__nesterov=True,
        optimizer__weight_decay=5e-4,
        train_split=None,
        callbacks=[("schedule", schedule), ("divergence", DivergenceCallback())],
        device=str(model_device(module)),
        **options,
    )


class _MixedDataset(Dataset):
    """In-distribution samples with their labels, followed by the outliers."""

    def __init__(self, X, labels, X_outliers, shape, dtype):
        self.X = X
        self.labels = labels
        self.X_outliers = X_outliers
        self.shape = shape
        self.dtype = dtype

    def __len__(self):
        return len(self.labels) + len(self.X_outliers)

    def __getitem__(self, index):
        place = index - len(self.labels)
        if place >= 0:
            return self._input(self.X_outliers[place]), OUTLIER
        return self._input(self.X[index]), self.labels[index]

    def _input(self, sample):
        if isinstance(sample, (tuple, list)):
            sample = sample[0]
        # Detached: training would write to the .grad of the user's tensors.
        sample = as_tensor(sample).detach().to("cpu", self.dtype)
        return sample.reshape(self.shape)


class _MixedBatches(Sampler):
    """Draw the indices of each batch: samples, and RATIO outliers to each of them."""

    def __init__(self, n_samples, n_outliers, batch_size, random_state):
        self.n_samples = n_samples
        self.n_outliers = n_outliers
        self.batch_size = batch_size
        self.random_state = random_state

    def __len__(self):
        return -(-self.n_samples // self.batch_size)

    def __iter__(self):
        order = self.random_state.permutation(self.n_samples)
        # One permutation after another, so that no outlier comes twice before all came.
        rounds = -(-RATIO * self.n_samples // self.n_outliers)
        outliers = self.n_samples + np.concatenate(
            [self.random_state.permutation(self.n_outliers) for _ in range(rounds)]
        )
        for start in range(0, self.n_samples, self.batch_size):
            stop = min(start + self.batch_size, self.n_samples)
            yield [*order[start:stop], *outliers[RATIO * start : RATIO * stop]]


def _mixed_batches(data, *, batch_size, random_state):
    """Return the batches of an epoch; skorch calls this as ``iterator_train``."""
    n_samples = len(data.labels)
    order = _MixedBatches(n_samples, len(data.X_outliers), batch_size, random_state)
    # Without a generator the loader would draw a seed from the global one.
    return DataLoader(data, batch_sampler=order, generator=torch.Generator())
