"""Whether an input lies in a minimum of the loss (paper B, Theorem 1)."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._compat import Interval, validate_params
from .._validation import check_classes, check_not_empty
from ..torch_engine.batching import prepare_batch
from ..torch_engine.loss_alignment import gradient_alignment
from ..torch_engine.model_state import (
    at_least_float32,
    forward,
    frozen,
    on_device,
    placement,
    unwrap_model,
)
from ..torch_engine.samples import read_array


@validate_params(
    {
        "sigma": [Interval(Real, 0, None, closed="neither")],
        "n_injections": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device, None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def loss_alignment(
    model,
    X,
    y=None,
    *,
    sigma,
    n_injections=1000,
    batch_size=128,
    device=None,
    random_state=None,
):
    r"""Measure at noisy copies of inputs how well descent of the loss leads back.

    An input lies in a local minimum of the loss towards a class if and only if the way
    back to it is one of descent from everywhere near it (paper B, Theorem 1). With
    the cross-entropy :math:`\mathcal{L}(F(\cdot), i)` towards class i and noisy copies
    :math:`\tilde x = x + \sigma n` of an input x, n standard normal, this returns

    .. math:: \zeta_x(\tilde x) = \frac{
              \langle -\nabla_x \mathcal{L}(F(\tilde x), i), x - \tilde x \rangle}{
              |\nabla_x \mathcal{L}(F(\tilde x), i)| \, |x - \tilde x|}.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The inputs x.
    y : array-like of int of shape (n_samples,), default=None
        The classes i; None for the model's own predictions, as in the paper.
    sigma : float
        Standard deviation of the noise, in units of X.
    n_injections : int, default=1000
        Noisy copies of each input; the default is the paper's.
    batch_size : int, default=128
        Copies per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device. Another one works on a private
        copy.
    random_state : int, RandomState instance or None, default=None
        Draws the noise.

    Returns
    -------
    ndarray of shape (n_samples, n_injections)
        The cosines, in [-1, 1]: all of them at least 0 in a minimum, below 0 for some
        directions at a saddle point, and on average 0 in a linear landscape. 0 where
        the gradient vanishes.

    See Also
    --------
    LossAlignmentDisplay : Violins of the cosines.

    Notes
    -----
    Cost: a forward and a backward pass per copy. The copies are not clipped to valid
    inputs, as the paper mentions no clipping. In float32, ``sigma`` should be at least
    a hundred-thousandth of the values of X, or rounding decides.

    References
    ----------
    Schwinn et al. (2021), "Identifying Untrustworthy Predictions in Neural Networks by
    Geometric Gradient Analysis", Eq. 3 and 4 (Theorem 1), Sec. 5.1 (noise).

    Examples
    --------
    A bowl, whose lowest loss towards class 0 is at 0: all ways back lead down.

    >>> import torch
    >>> from skgrad.inspection import loss_alignment
    >>> class Bowl(torch.nn.Module):
    ...     def forward(self, x):
    ...         height = x.square().sum(dim=1)
    ...         return torch.stack([-height, height], dim=1)
    >>> zeta = loss_alignment(
    ...     Bowl(), [[0.0, 0.0]], [0], sigma=0.1, n_injections=3, random_state=0
    ... )
    >>> zeta.round(3).tolist()
    [[1.0, 1.0, 1.0]]
    """
    X = read_array(X, "X")
    check_not_empty(X, "X", "inputs")
    module = on_device(unwrap_model(model), device)
    place, random_state = placement(module), check_random_state(random_state)
    X = prepare_batch(X, input_shape=None, **place)
    with frozen(module):
        if y is None:
            logits = [forward(module, part) for part in X.split(batch_size)]
            classes = torch.cat(logits).argmax(dim=1)
        else:
            n_classes = forward(module, X[:2]).shape[1]
            y = check_classes(y, len(X), "y", n_classes=n_classes)
            classes = torch.from_numpy(y).to(X.device)
        rows = []
        for x, label in zip(X, classes, strict=True):
            # Drawn input by input, so that those of later inputs change nothing.
            noise = random_state.normal(scale=sigma, size=(n_injections, *x.shape))
            nearby = x + torch.from_numpy(noise).to(x)
            parts = [
                gradient_alignment(module, x, part, label.expand(len(part)))
                for part in nearby.split(batch_size)
            ]
            rows.append(at_least_float32(torch.cat(parts)).cpu().numpy())
    return np.stack(rows)
