"""Compute the logits of a network."""

import numpy as np

from ._activations import LayerActivationTransformer


def predict_logits(
    model,
    X,
    *,
    input_shape=None,
    batch_size=128,
    num_workers=0,
    device=None,
    verbose=False,
):
    """Compute the logits of a network in evaluation mode, batch by batch.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
        The inputs, finite and scaled as in the training of the model.
    input_shape : array-like of int, default=None
        Shape of one sample, when X comes as 2-D rows.
    batch_size : int, default=128
        Samples per pass.
    num_workers : int, default=0
        Processes that read the samples of a Dataset; 0 reads them in this one.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    verbose : bool or int, default=False
        Whether to show a progress bar.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        The logits; ``argmax(axis=1)`` of them are the predicted classes.

    Examples
    --------
    >>> import torch
    >>> from skgrad.feature_extraction import predict_logits
    >>> predict_logits(torch.nn.Linear(2, 3), [[0.0, 1.0], [2.0, 3.0]]).shape
    (2, 3)
    """
    transformer = LayerActivationTransformer(
        model,
        "logits",
        input_shape=input_shape,
        batch_size=batch_size,
        num_workers=num_workers,
        device=device,
        verbose=verbose,
    )
    return np.asarray(transformer.fit_transform(X))
