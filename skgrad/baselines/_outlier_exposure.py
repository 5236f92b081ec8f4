"""Outlier exposure: fine-tuning that teaches a classifier to doubt."""

import copy
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.utils import check_random_state
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from .._compat import Interval, validate_params
from .._messages import naming
from .._optional import import_package
from .._validation import as_tensor, check_inputs, to_array
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

# The target that marks an outlier, and how many of them come with each other sample.
OUTLIER, RATIO = -1, 2


class OutlierExposureLoss(nn.Module):
    r"""Cross-entropy, and for outliers that to the uniform distribution.

    With the logits z, their softmax p, C classes, in-distribution samples with labels
    y and outliers,

    .. math::
        \mathcal L = \operatorname*{mean}_{\text{in-distribution}} (-\log p_y)
        + \lambda \operatorname*{mean}_{\text{outliers}}
        \Bigl(- \frac 1 C \sum_{j=1}^C \log p_j\Bigr),

    so that the loss of outliers is least where all classes are equally probable.

    Parameters
    ----------
    weight : float, default=0.5
        The weight :math:`\lambda`; the paper's for images.

    Notes
    -----
    Either mean is 0 without samples of its kind. Each is over its own samples, as in
    the paper, whatever their shares of the batch.

    References
    ----------
    Hendrycks, Mazeika, Dietterich (2019), "Deep Anomaly Detection with Outlier
    Exposure", Eq. 1, Sec. 4.

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import OutlierExposureLoss
    >>> logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    >>> loss = OutlierExposureLoss(weight=0.5)(logits, torch.tensor([1, -1]))
    >>> round(loss.item(), 4)  # 1.5 log 2
    1.0397
    """

    def __init__(self, weight=0.5):
        super().__init__()
        self.weight = weight

    def forward(self, logits, target):
        """Compute the loss of a batch.

        Parameters
        ----------
        logits : Tensor of shape (n_samples, n_classes)
            What the model returns for the batch.
        target : Tensor of int64 of shape (n_samples,)
            The labels; those below 0 mark outliers.

        Returns
        -------
        Tensor of shape ()
            The loss.
        """
        log_p = as_logits(logits, len(target)).log_softmax(dim=1)
        outlier = target < 0
        known = nn.functional.nll_loss(log_p[~outlier], target[~outlier])
        unknown = -log_p[outlier].mean()
        # The mean of nothing is NaN.
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
        "lr": [Interval(Real, 0, None, closed="neither")],
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
    lr=0.001,
    batch_size=128,
    device=None,
    random_state=None,
    verbose=False,
):
    """Fine-tune a copy of a classifier so that it is unsure of outliers.

    What the copy learns from some outliers carries over to others: its confidence is
    a better score afterwards. Training minimises `OutlierExposureLoss` by stochastic
    gradient descent, with two outliers to each in-distribution sample in a batch.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits ``(n_samples, n_classes)``. It is never
        changed. Parameters that do not require gradients stay as they are in the copy.
    X : array-like of shape (n_samples, *input_shape), Tensor or Dataset
        In-distribution inputs, as the model was trained on them.
    y : array-like of int of shape (n_samples,)
        Their classes, 0 to ``n_classes - 1``.
    X_outliers : array-like of shape (n_outliers, *input_shape), Tensor or Dataset
        Outliers, of any number. They should differ from those to be detected later,
        else the evaluation is not of unknown anomalies.
    weight : float, default=0.5
        Weight of the loss of outliers.
    max_epochs : int, default=10
        Passes over X.
    lr : float, default=0.001
        Learning rate at the start; it falls to 0 along a cosine, epoch by epoch.
    batch_size : int, default=128
        In-distribution samples per batch; twice as many outliers come on top.
    device : str or torch.device, default=None
        Where to train. None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the batches and seeds torch, for dropout.
    verbose : bool or int, default=False
        Whether to print a line per epoch.

    Returns
    -------
    skorch.NeuralNetClassifier
        The fitted net around the copy, which detectors take as ``model``.

    Raises
    ------
    ValueError
        If there are no outliers, shapes differ, labels are out of range, inputs are
        not finite, or the loss is no longer finite.

    Notes
    -----
    Momentum 0.9 (Nesterov), weight decay 0.0005, learning rate, epochs and batches are
    those that the paper fine-tunes with. There the rate falls batch by batch.

    References
    ----------
    Hendrycks, Mazeika, Dietterich (2019), "Deep Anomaly Detection with Outlier
    Exposure", Sec. 4.

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
    X = _checked_data(X, "X")
    X_outliers = _checked_data(X_outliers, "X_outliers")
    first = _check_batches(X, "X", module)
    _check_batches(X_outliers, "X_outliers", module, tuple(first.shape[1:]))
    with frozen(module):
        n_classes = forward(module, first).shape[1]
    labels = _checked_labels(y, len(X), n_classes)
    random_state = check_random_state(random_state)
    data = _Mixed(X, labels, X_outliers, placement(module)["dtype"])
    net = _make_net(
        module,
        criterion__weight=weight,
        max_epochs=max_epochs,
        lr=lr,
        batch_size=batch_size,
        classes=np.arange(n_classes),
        iterator_train=partial(_mixed_batches, random_state=random_state),
        verbose=int(verbose),
    )
    seed = random_state.randint(np.iinfo(np.int32).max)
    with seeded_training(seed, model_device(module)):
        _train(net, data)
    # What the net is fitted with further has no outliers among it.
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
            "model must have parameters that require gradients; none does, so that "
            "nothing can be tuned. Call model.requires_grad_() on a copy of it."
        )
    return module


def _checked_data(X, name):
    """Return X as something with a length and rows."""
    # Sparse data have no length.
    if X is None or (hasattr(X, "__len__") and not issparse(X) and len(X) == 0):
        raise ValueError(f"{name} must hold at least one sample; got none.")
    try:
        X = check_inputs(X)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} cannot be used: {error}") from error
    if isinstance(X, IterableDataset):
        raise TypeError(
            f"{name} must have samples that can be read in any order; got the stream "
            f"{type(X).__name__}. Stack it first."
        )
    # A data frame has columns where an array has rows.
    if isinstance(X, torch.Tensor):
        return X.detach()
    if isinstance(X, Dataset):
        return X
    X = np.asarray(X)
    return (
        X.astype(np.float64) if X.dtype.kind == "O" or X.dtype == np.longdouble else X
    )


def _read(X, name):
    """Cut X into batches; what cannot be read is called by its name."""
    with naming(name):
        yield from batches(X, 512)


def _check_batches(X, name, module, shape=None):
    """Read X once, refuse what the model cannot take, and return a first batch."""
    first = None
    for raw in _read(X, name):
        if shape is not None and tuple(raw.shape[1:]) != shape:
            raise ValueError(
                f"{name} must hold samples of the shape of those of X, {shape}; got "
                f"{tuple(raw.shape[1:])}. Resize or crop them."
            )
        try:
            batch = prepare_batch(raw, input_shape=shape, **placement(module))
        except ValueError as error:
            raise ValueError(f"{name} cannot be used: {error}") from error
        first = batch[:2] if first is None else first
        shape = tuple(batch.shape[1:])
    return first


def _checked_labels(y, n_samples, n_classes):
    labels = y.cpu() if isinstance(y, torch.Tensor) else y
    labels = to_array(labels, "y")
    if labels.shape != (n_samples,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"y must be {n_samples} integer classes, one per sample of X; got "
            f"{labels.dtype} of shape {labels.shape}."
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(
            f"y must hold classes 0 to {n_classes - 1}, as the model has {n_classes} "
            f"logits; got {labels.min()} to {labels.max()}. Outliers go into "
            "X_outliers."
        )
    return labels.astype(np.int64)


def _make_net(module, **options):
    """Return the skorch net that trains a module as the paper does."""
    skorch = import_package("skorch", "Outlier exposure needs")
    from skorch.callbacks import LRScheduler

    schedule = LRScheduler("CosineAnnealingLR", T_max=options["max_epochs"])
    return skorch.NeuralNetClassifier(
        module,
        criterion=OutlierExposureLoss,
        # skorch knows that of its own losses alone.
        predict_nonlinearity=partial(torch.softmax, dim=-1),
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        optimizer__nesterov=True,
        optimizer__weight_decay=5e-4,
        train_split=None,
        callbacks=[("schedule", schedule)],
        device=str(model_device(module)),
        **options,
    )


def _train(net, data):
    """Fit the net, and refuse it if its weights ran away."""
    try:
        fit_net(net, data)
    except ValueError as error:
        error.add_note(f"This came while training with lr={net.lr}; try a lower lr.")
        raise
    # What the last step did no loss has seen.
    if not all(p.isfinite().all() for p in net.module_.parameters()):
        raise ValueError(
            "lr must be lower: the model has NaN or infinite weights after training "
            f"with lr={net.lr}."
        )


class _Mixed(Dataset):
    """In-distribution samples with their labels, and behind them the outliers."""

    def __init__(self, X, labels, X_outliers, dtype):
        self.X = X
        self.labels = labels
        self.X_outliers = X_outliers
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
        # Detached: training would fill the .grad of the user's X.
        return as_tensor(sample).detach().to("cpu", self.dtype)


class _Order(Sampler):
    """The samples of each batch, anew for each epoch."""

    def __init__(self, n_samples, n_outliers, batch_size, random_state):
        self.n_samples = n_samples
        self.n_outliers = n_outliers
        self.batch_size = batch_size
        self.random_state = random_state

    def __len__(self):
        return -(-self.n_samples // self.batch_size)

    def __iter__(self):
        order = self.random_state.permutation(self.n_samples)
        # All outliers come before one comes again.
        rounds = -(-RATIO * self.n_samples // self.n_outliers)
        outliers = self.n_samples + np.concatenate(
            [self.random_state.permutation(self.n_outliers) for _ in range(rounds)]
        )
        for start in range(0, self.n_samples, self.batch_size):
            stop = min(start + self.batch_size, self.n_samples)
            yield [*order[start:stop], *outliers[RATIO * start : RATIO * stop]]


def _mixed_batches(data, *, batch_size, random_state):
    """Return the batches of an epoch, as skorch asks for them."""
    n_samples = len(data.labels)
    order = _Order(n_samples, len(data.X_outliers), batch_size, random_state)
    # Without a generator of its own it would draw a seed from the global one.
    return DataLoader(data, batch_sampler=order, generator=torch.Generator())
