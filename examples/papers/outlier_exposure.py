"""Outlier exposure: fine-tuning that lowers the confidence on outliers.

Hendrycks, Mazeika, Dietterich (2019), "Deep Anomaly Detection with Outlier Exposure".
"""

import copy
from functools import partial

import numpy as np
import torch
from paper_training import OPTIMIZERS
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

# The target of an outlier, and the number of outliers for each other sample (Sec. 4).
OUTLIER, RATIO = -1, 2


class OutlierExposureLoss(nn.Module):
    r"""Cross-entropy, for outliers with the uniform distribution as the target.

    Eq. 1 of the paper: with the softmax p of C classes and :math:`\lambda` = weight,

    .. math::
        \operatorname*{mean}_{\text{in-distribution}} (-\log p_y)
        + \lambda \operatorname*{mean}_{\text{outliers}}
        \Bigl(- \frac 1 C \sum_{j=1}^C \log p_j\Bigr).

    Targets below 0 mark outliers. Each mean is over its own samples, so that the weight
    does not depend on their share of the batch.
    """

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, logits, target):
        """Return the loss of a batch that holds samples of both kinds."""
        log_p = logits.log_softmax(dim=1)
        outlier = target < 0
        known = nn.functional.nll_loss(log_p[~outlier], target[~outlier])
        return known - self.weight * log_p[outlier].mean()


class MixedBatches(Sampler):
    """Draw the indices of each batch: samples, and RATIO outliers for each of them.

    The outliers follow the samples in the data.
    """

    def __init__(self, n_samples, n_outliers, batch_size, random_state):
        self.n_samples = n_samples
        self.n_outliers = n_outliers
        self.batch_size = batch_size
        self.random_state = random_state

    def __len__(self):
        return -(-self.n_samples // self.batch_size)

    def __iter__(self):
        order = self.random_state.permutation(self.n_samples)
        # One permutation after another: no outlier is drawn twice before all are drawn.
        rounds = -(-RATIO * self.n_samples // self.n_outliers)
        outliers = self.n_samples + np.concatenate(
            [self.random_state.permutation(self.n_outliers) for _ in range(rounds)]
        )
        for start in range(0, self.n_samples, self.batch_size):
            stop = min(start + self.batch_size, self.n_samples)
            yield [*order[start:stop], *outliers[RATIO * start : RATIO * stop]]


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
    random_state=0,
):
    """Fine-tune a copy of a classifier so that it is uncertain about outliers.

    Momentum 0.9 (Nesterov), weight decay 0.0005, learning rate, epochs and batches are
    those of the paper's fine-tuning, where the rate falls batch by batch.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier that returns logits. It is not changed.
    X : ndarray of float32 of shape (n_samples, *input_shape)
        In-distribution inputs.
    y : ndarray of int of shape (n_samples,)
        Their classes, from 0.
    X_outliers : ndarray of float32 of shape (n_outliers, *input_shape)
        Outliers of another kind than the anomalies of the evaluation.
    weight : float, default=0.5
        The weight of the outliers; the default is the paper's for images.
    max_epochs, batch_size : int
        Passes over X, and how many samples of X at a time; each batch also holds twice
        as many outliers.
    learning_rate : float, default=0.001
        Learning rate at the start; it falls on a half cosine wave, after every epoch.
    random_state : int, default=0
        Draws the batches and seeds torch, for dropout.

    Returns
    -------
    skorch.NeuralNetClassifier
        The fitted net; its ``module_`` returns logits.
    """
    random_state = np.random.RandomState(random_state)
    torch.manual_seed(random_state.randint(np.iinfo(np.int32).max))
    targets = np.append(y, np.full(len(X_outliers), OUTLIER))
    inputs = torch.from_numpy(np.concatenate([X, X_outliers]))
    batches = MixedBatches(len(X), len(X_outliers), batch_size, random_state)
    net = NeuralNetClassifier(
        copy.deepcopy(model),
        criterion=OutlierExposureLoss,
        criterion__weight=weight,
        # skorch infers this for its own losses alone.
        predict_nonlinearity=partial(torch.softmax, dim=-1),
        optimizer__weight_decay=5e-4,
        lr=learning_rate,
        max_epochs=max_epochs,
        classes=np.unique(y),
        train_split=None,
        iterator_train=partial(_load, sampler=batches),
        callbacks=[LRScheduler("CosineAnnealingLR", T_max=max_epochs)],
        verbose=0,
        **OPTIMIZERS["sgd"],
    )
    return net.fit(TensorDataset(inputs, torch.from_numpy(targets)), None)


def _load(data, *, batch_size, sampler):
    """Return the batches of an epoch; skorch calls this with its own batch size."""
    # Without a generator the loader would draw a seed from the global one.
    return DataLoader(data, batch_sampler=sampler, generator=torch.Generator())
