"""Steps within a ball of the maximum norm."""

import torch


def ball(batch, eps):
    """Return the lowest and highest values within eps of the inputs and the bounds."""
    x = batch.x
    return torch.maximum(x - eps, batch.low), torch.minimum(x + eps, batch.high)


def random_points(batch, eps, n_points, random_state):
    """Draw points of each sample's ball.

    Parameters
    ----------
    batch : Batch
        The inputs.
    eps : float
        The radius of the ball.
    n_points : int
        How many per sample.
    random_state : RandomState
        Draws them.

    Returns
    -------
    list of Tensor of shape (n_samples, *input_shape)
        ``n_points`` of them.
    """
    x = batch.x
    # numpy draws in the order of the samples, whatever the batch size.
    shape = (len(x), n_points, *x.shape[1:])
    noise = torch.as_tensor(random_state.uniform(-eps, eps, size=shape)).to(x)
    low, high = ball(batch, eps)
    return [(x + one).clamp(low, high) for one in noise.unbind(dim=1)]


def unit(gradients):
    """Bring each sample's gradient to length 1; one that vanishes stays 0."""
    rows = gradients.flatten(1)
    # Scaled by the largest entry first: squares of tiny gradients underflow.
    for size in (_largest, _length):
        length = size(rows)
        rows = rows / torch.where(length == 0, 1, length)
    return rows.view(gradients.shape)


def _largest(rows):
    return rows.abs().amax(dim=1, keepdim=True)


def _length(rows):
    return torch.linalg.vector_norm(rows, dim=1, keepdim=True)
