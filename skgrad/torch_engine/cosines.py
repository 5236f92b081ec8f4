"""Cosine similarity matrices of per-class input gradients (paper B)."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from .cotangents import class_cotangent
from .model_state import at_least_float32, check_finite_gradients
from .scaling import unit

STATISTICS = ("mean", "max", "min", "std", "energy")
# Entries of maps and matrices held at a time: 512 MB in float32.
HELD = 2**27
# Up to this number of classes, mixing gradients costs less than the backward pass that
# it saves.
_FEW_CLASSES = 32
# Samples times classes in one vectorized backward pass: enough to keep a GPU busy.
_VECTORIZED = 1024


@dataclass(frozen=True)
class Maps:
    """The maps of a sample that are compared.

    ``sign`` takes the signs of the input gradients, the saliency maps of paper B
    (Eq. 1), else the gradients themselves. ``top_n`` takes the classes with the largest
    logits alone, the largest first; None takes all, in their order.
    ``channel_reduction="max"`` takes the maximum over the channels, the first axis of a
    sample, as the published code does. For ``logit_scale`` see `class_cotangent`.
    """

    sign: bool = True
    top_n: int | None = None
    channel_reduction: str | None = None
    logit_scale: float | None = None


def most_samples(shape: Sequence[int], maps: Maps, n_classes: int) -> int:
    """Return how many samples of a shape have maps and matrices that memory holds."""
    n_maps = maps.top_n or n_classes
    # Gradients, scaled ones and unit vectors; matrices and copies of them.
    return max(1, HELD // (3 * n_maps * math.prod(shape) + 6 * n_maps**2))


def class_cosines(
    logits: Tensor, x: Tensor, maps: Maps, *, vectorized: bool | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the cosine similarities between the maps of all classes.

    The logits are in the graph of the inputs x (n_samples, *input_shape), a leaf.
    Returns the cosines (n_samples, n_maps, n_maps) in [-1, 1] (paper B, Eq. 2) and the
    position of the predicted class among the maps (n_samples,). The cosine with a map
    that is zero everywhere, its own included, is defined as 0: it points nowhere.

    Cost: per class, one backward pass to the input (one less for all of up to 32
    classes without ``logit_scale``). No gradient of a parameter is computed. With
    ``vectorized`` the backward passes of several classes run as one; None does so on a
    GPU, which small batches leave idle.
    """
    if vectorized is None:
        vectorized = x.device.type == "cuda"
    classes = _mapped_classes(logits, maps.top_n)
    gradients = _class_gradients(x, logits, classes, maps, vectorized)
    # The sign of NaN is 0, which would look like a gradient that vanishes.
    values = check_finite_gradients(gradients)
    if maps.sign:
        values = values.sign_()
    return _cosines(values, maps), _predicted_position(classes, logits)


def recorded_cosines(logits: Tensor, x: Tensor, maps: Maps) -> tuple[Tensor, Tensor]:
    """Compute what `class_cosines` does, for autograd to differentiate by x.

    The inputs x (n_samples, *input_shape) are in the graph of the logits. Cost: one
    backward pass to the input per class, and as many again when the result is
    differentiated. Signs have no derivative: with ``maps.sign`` it is that of the
    cosines of the gradients themselves.
    """
    classes = _mapped_classes(logits, maps.top_n)
    gradients = []
    for column in classes.T:
        cotangent = class_cotangent(logits, column, logit_scale=maps.logit_scale)
        (gradient,) = torch.autograd.grad(
            logits, x, cotangent, create_graph=True, materialize_grads=True
        )
        gradients.append(gradient)
    values = torch.stack(gradients, dim=1)
    matrices = _cosines(values, maps)
    if maps.sign:
        signs = values.detach().sign()
        # The values of the signs, with the derivative of the gradients.
        matrices = matrices + (_cosines(signs, maps) - matrices).detach()
    return matrices, _predicted_position(classes, logits)


def _cosines(values: Tensor, maps: Maps) -> Tensor:
    """Return the cosines (n_samples, n_maps, n_maps) of (n_samples, n_maps, ...)."""
    if maps.channel_reduction == "max":
        values = values.amax(dim=2)
    units = unit(values.flatten(2).flatten(0, 1)).unflatten(0, values.shape[:2])
    return (units @ units.transpose(1, 2)).clamp(-1, 1)


def _mapped_classes(logits: Tensor, top_n: int | None) -> Tensor:
    """Return the classes (n_samples, n_maps) of each sample's maps."""
    if top_n is None:
        every = torch.arange(logits.shape[1], device=logits.device)
        return every.expand(len(logits), -1)
    return logits.detach().topk(top_n, dim=1).indices


def _predicted_position(classes: Tensor, logits: Tensor) -> Tensor:
    """Return the index of the predicted class among the classes (n_samples, n_maps)."""
    return classes.eq(logits.argmax(dim=1, keepdim=True)).int().argmax(dim=1)


def _class_gradients(
    leaf: Tensor, logits: Tensor, classes: Tensor, maps: Maps, vectorized: bool
) -> Tensor:
    """Return positive multiples (n_samples, n_maps, ...) of each class's gradient."""
    if classes.shape[1] == logits.shape[1] <= _FEW_CLASSES and maps.logit_scale is None:
        return _mixed(leaf, logits, vectorized)
    cotangents = (
        class_cotangent(logits.detach(), column, logit_scale=maps.logit_scale)
        for column in classes.T
    )
    return _in_steps(leaf, logits, cotangents, vectorized)


def _mixed(leaf: Tensor, logits: Tensor, vectorized: bool) -> Tensor:
    """Return the gradients of all classes, with one backward pass less than classes.

    Cotangents whose entries sum to 0 are mixtures of the differences e_j - e_k to the
    predicted class k. So are their gradients.
    """
    n_samples, n = logits.shape
    rows = logits.detach().repeat_interleave(n, dim=0)
    every = torch.arange(n, device=logits.device)
    cotangents = class_cotangent(rows, every.repeat(n_samples)).view(n_samples, n, n)
    predicted = logits.detach().argmax(dim=1)[:, None, None]
    others = every[None, :-1, None] + (every[None, :-1, None] >= predicted)
    differences = torch.zeros_like(cotangents[:, :-1]).scatter(2, others, 1)
    differences.scatter_(2, predicted.expand_as(others), -1)
    pulled = _in_steps(leaf, logits, iter(differences.unbind(dim=1)), vectorized)
    weights = cotangents.gather(2, others[:, None, :, 0].expand(-1, n, -1))
    mixtures = at_least_float32(weights) @ at_least_float32(pulled.flatten(2))
    return mixtures.view(n_samples, n, *leaf.shape[1:])


def _in_steps(
    leaf: Tensor, logits: Tensor, cotangents: Iterator[Tensor], vectorized: bool
) -> Tensor:
    """Return gradients (n_samples, n_maps, ...) for cotangents, several at a time."""
    step = max(1, _VECTORIZED // len(logits)) if vectorized else 1
    gradients: list[Tensor] = []
    while together := list(islice(cotangents, step)):
        gradients += _pulled_back(leaf, logits, together)
    return torch.stack(gradients, dim=1)


def _pulled_back(
    leaf: Tensor, logits: Tensor, cotangents: Sequence[Tensor]
) -> Sequence[Tensor]:
    """Return the gradients at the leaf, computed together if torch can do so."""
    if len(cotangents) > 1:
        try:
            return _vectorized(leaf, logits, torch.stack(list(cotangents)))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            # Some operation cannot be vectorized. An operation that cannot be
            # differentiated at all raises again below.
            return [_pulled_back(leaf, logits, [one])[0] for one in cotangents]
    (gradient,) = torch.autograd.grad(
        logits, leaf, cotangents[0], retain_graph=True, materialize_grads=True
    )
    return [gradient]


def _vectorized(leaf: Tensor, logits: Tensor, cotangents: Tensor) -> Sequence[Tensor]:
    with warnings.catch_warnings():
        # Torch warns of operations that it loops over inside, which is no loss here.
        warnings.simplefilter("ignore", UserWarning)
        options = {"retain_graph": True, "is_grads_batched": True, "allow_unused": True}
        (gradients,) = torch.autograd.grad(logits, leaf, cotangents, **options)
    if gradients is None:
        return [torch.zeros_like(leaf) for _ in cotangents]
    return gradients.unbind()


def cosine_statistics(matrices: Tensor, predicted: Tensor) -> Tensor:
    """Summarise cosine matrices by the ten statistics (n_samples, 10) of paper B.

    The pairs i < j fall into two sets: S1 without the predicted class, S2 with it (Sec.
    4.2.3). Of S1, then S2: mean, maximum, minimum, standard deviation (population) and
    energy (sum of squares). ``matrices`` (n_samples, n_classes, n_classes) are of 3 or
    more classes, because S1 is empty otherwise; ``predicted`` is (n_samples,).
    """
    rows, columns = upper_pairs(matrices)
    pairs = matrices[:, rows, columns]
    has_predicted = (rows == predicted[:, None]) | (columns == predicted[:, None])
    # Every sample has the same number of pairs in each set, so both can be reshaped.
    sets = (pairs[~has_predicted], pairs[has_predicted])
    return torch.cat([_statistics(s.reshape(len(pairs), -1)) for s in sets], dim=1)


def upper_pairs(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices (i, j), i < j, of the entries above the diagonal."""
    n_classes = matrices.shape[1]
    pairs = torch.triu_indices(n_classes, n_classes, 1, device=matrices.device)
    return pairs[0], pairs[1]


def _statistics(values: Tensor) -> Tensor:
    """Return `STATISTICS` of each row."""
    largest, smallest = values.amax(dim=1), values.amin(dim=1)
    std, energy = values.std(dim=1, correction=0), values.square().sum(dim=1)
    return torch.stack([values.mean(dim=1), largest, smallest, std, energy], dim=1)
