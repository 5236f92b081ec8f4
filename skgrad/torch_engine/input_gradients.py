"""Per-class input gradients and their cosine similarity matrices (paper B)."""

import torch
from torch import Tensor, nn

from .model_state import as_logits, at_least_float32, check_finite, check_recorded

STATISTICS = ("mean", "max", "min", "std", "energy")


def loss_cotangent(logits: Tensor, classes: Tensor) -> Tensor:
    """Return a positive multiple of the cross-entropy's gradient at the logits.

    The gradient of the cross-entropy towards class i is p - e_i, with p the softmax.
    Where p_i rounds to 1 all its digits are lost, and where it is tiny it underflows.
    Signs and cosines do not change under positive scaling, so each row is scaled in
    log space until its largest entry off i is 1: exp(log p_j - max_{j != i} log p_j)
    for j != i, and minus their sum for i.

    Parameters
    ----------
    logits : Tensor of shape (n_samples, n_classes)
        Logits of any size.
    classes : Tensor of int64 of shape (n_samples,)
        The class i of each sample.

    Returns
    -------
    Tensor of shape (n_samples, n_classes)
        The scaled gradients. Each row sums to 0.
    """
    own = torch.zeros_like(logits, dtype=torch.bool)
    own.scatter_(1, classes[:, None], True)
    others = logits.detach().masked_fill(own, -torch.inf)
    # log p_j - max log p_j = z_j - max z_j: the softmax denominator cancels.
    weights = torch.exp(others - others.amax(dim=1, keepdim=True))
    return weights - own * weights.sum(dim=1, keepdim=True)


def class_input_gradients(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the direction of the loss gradient at the input, for every class.

    Cost: one forward pass and ``n_classes`` backward passes to the input. No
    gradient of a parameter is computed.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module)``.
    x : Tensor of shape (n_samples, *input_shape)
        The inputs.

    Returns
    -------
    maps : Tensor of shape (n_samples, n_classes, n_inputs)
        Input gradients, each up to a positive factor (see `loss_cotangent`).
    logits : Tensor of shape (n_samples, n_classes)
        The logits.

    Raises
    ------
    ValueError
        If autograd did not record how the logits depend on the input, or a gradient
        is NaN or infinite.
    """
    with torch.enable_grad():
        leaf, logits = _traced_forward(module, x)
        maps = []
        for label in range(logits.shape[1]):
            classes = torch.full((len(x),), label, device=x.device)
            (gradient,) = torch.autograd.grad(
                logits,
                leaf,
                loss_cotangent(logits, classes),
                retain_graph=True,
                materialize_grads=True,
            )
            # The sign of NaN is 0, which would look like a gradient that vanishes.
            maps.append(check_finite(gradient).flatten(1))
    return torch.stack(maps, dim=1), logits.detach()


def loss_input_gradient(module: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
    """Compute the direction in input space that raises the cross-entropy.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module)``.
    x : Tensor of shape (n_samples, *input_shape)
        The inputs.
    classes : Tensor of int64 of shape (n_samples,)
        The class of each sample towards which the loss is taken.

    Returns
    -------
    Tensor of shape (n_samples, *input_shape)
        Input gradients, each up to a positive factor (see `loss_cotangent`).
    """
    with torch.enable_grad():
        leaf, logits = _traced_forward(module, x)
        (gradient,) = torch.autograd.grad(
            logits, leaf, loss_cotangent(logits, classes), materialize_grads=True
        )
    return check_finite(gradient)


def _traced_forward(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Run the model on a leaf of the graph; return the leaf and the logits."""
    leaf = x.detach().clone().requires_grad_(True)
    # A copy goes in, because a model that works in place must not touch a leaf.
    logits = as_logits(module(leaf.clone()), len(x))
    check_recorded(logits, "input")
    return leaf, logits


def cosine_similarity_matrices(maps: Tensor, *, sign: bool) -> Tensor:
    """Compute the cosine similarities between the maps of all classes.

    Parameters
    ----------
    maps : Tensor of shape (n_samples, n_classes, n_inputs)
        Input gradients, each up to a positive factor.
    sign : bool
        Whether to compare the signs of the gradients, the saliency maps of paper B
        (Eq. 1), instead of the gradients.

    Returns
    -------
    Tensor of shape (n_samples, n_classes, n_classes)
        Cosines in [-1, 1] (paper B, Eq. 2). The cosine with a map that is zero
        everywhere, its own included, is defined as 0: it points nowhere.
    """
    # Half precision would overflow in the products; and scaling by the largest entry
    # first keeps the squares of tiny gradients from underflowing.
    maps = at_least_float32(maps)
    maps = maps.sign() if sign else maps / _or_one(maps.abs().amax(2, keepdim=True))
    maps = maps / _or_one(torch.linalg.vector_norm(maps, dim=2, keepdim=True))
    return (maps @ maps.transpose(1, 2)).clamp(-1, 1)


def _or_one(divisor: Tensor) -> Tensor:
    return torch.where(divisor == 0, torch.ones_like(divisor), divisor)


def cosine_statistics(matrices: Tensor, predicted: Tensor) -> Tensor:
    """Summarise cosine similarity matrices by the ten statistics of paper B.

    The pairs i < j fall into two sets: S1 without the predicted class, S2 with it
    (Sec. 4.2.3). Of each set: mean, maximum, minimum, standard deviation (population)
    and energy (sum of squares).

    Parameters
    ----------
    matrices : Tensor of shape (n_samples, n_classes, n_classes)
        Cosine similarity matrices; n_classes >= 3, else S1 is empty.
    predicted : Tensor of shape (n_samples,)
        The predicted classes.

    Returns
    -------
    Tensor of shape (n_samples, 10)
        The five statistics of S1, then those of S2.
    """
    rows, columns = upper_pairs(matrices)
    pairs = matrices[:, rows, columns]
    has_predicted = (rows == predicted[:, None]) | (columns == predicted[:, None])
    # Every sample has the same number of pairs in each set, so both are rectangular.
    sets = (pairs[~has_predicted], pairs[has_predicted])
    return torch.cat([_statistics(s.reshape(len(pairs), -1)) for s in sets], dim=1)


def upper_pairs(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices (i, j), i < j, of the entries above the diagonal."""
    n_classes = matrices.shape[1]
    pairs = torch.triu_indices(n_classes, n_classes, 1, device=matrices.device)
    return pairs[0], pairs[1]


def _statistics(values: Tensor) -> Tensor:
    """Return `STATISTICS` of each row."""
    return torch.stack(
        [
            values.mean(dim=1),
            values.amax(dim=1),
            values.amin(dim=1),
            values.std(dim=1, correction=0),
            values.square().sum(dim=1),
        ],
        dim=1,
    )
