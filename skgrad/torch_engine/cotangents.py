"""Losses against chosen labels, differentiated at the logits (papers A and B)."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .scaling import widest_float

LABELS = ("all", "none", "uniform", "predicted", "complement", "each")
LOSSES = ("bce", "bce_softmax", "cross_entropy")


def label_cotangents(
    logits: Tensor, label: str | Sequence[float], loss: str
) -> Iterator[Tensor]:
    """Yield dJ/dz (n_samples, n_classes) of the loss J between logits z and label y.

    With p the softmax of z, sigma the logistic function and C classes, the loss is

    - "bce": -1/C sum_j y_j log sigma(z_j) + (1 - y_j) log(1 - sigma(z_j)), the
      binary cross-entropy of the logits (paper A, Eq. 1);
    - "bce_softmax": the same with p_j in place of sigma(z_j);
    - "cross_entropy": -sum_j y_j log p_j.

    For ``label`` see `label_targets`: "each" yields one for each class, others one.
    They are functions of the logits for autograd, in float64 (float32 where the device
    has no float64). Neither sigma(z) - 1 nor p - 1 is formed as such, so that saturated
    logits cost no digits.
    """
    logits = logits.to(widest_float(logits.device))
    for target in label_targets(logits, label):
        yield _DERIVATIVES[loss](logits, target)


def label_targets(logits: Tensor, label: str | Sequence[float]) -> list[Tensor]:
    """Return the targets (n_samples, n_classes) of a label.

    The label is "all" (ones, paper A), "none" (zeros), "uniform" (1 / n_classes),
    "predicted" (1 for the predicted class alone), "complement" (1 for all others),
    "each" (n_classes targets: 1 for one class alone, for each class in turn), or the
    entries themselves.
    """
    n_classes = logits.shape[1]
    ones = torch.ones_like(logits)
    if not isinstance(label, str):
        entries = torch.as_tensor(label, dtype=logits.dtype, device=logits.device)
        return [entries.expand_as(logits)]
    if label in ("all", "none"):
        return [ones if label == "all" else 0 * ones]
    if label == "uniform":
        return [ones / n_classes]
    if label == "each":
        identity = torch.eye(n_classes, dtype=logits.dtype, device=logits.device)
        return [row.expand_as(logits) for row in identity]
    predicted = _one_hot(logits, logits.argmax(dim=1)).to(logits.dtype)
    return [predicted if label == "predicted" else 1 - predicted]


def _bce(logits: Tensor, target: Tensor) -> Tensor:
    # (sigmoid(z) - y) / C, whose difference rounds to 0 for y = 1 and large z.
    upward = (1 - target) * torch.sigmoid(logits)
    downward = target * torch.sigmoid(-logits)
    return (upward - downward) / logits.shape[1]


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    # p sum(y) - y, split into the own class's y (1 - p) and the others'.
    log_p, log_q = _log_probabilities(logits)
    others = target.sum(dim=1, keepdim=True) - target
    return others * log_p.exp() - target * log_q.exp()


def _bce_softmax(logits: Tensor, target: Tensor) -> Tensor:
    # With odds r = p / (1 - p), C dJ/dz_k = (1 - y_k) p_k - y_k (1 - p_k)
    # + p_k sum_{j != k} (y_j - (1 - y_j) r_j). Only the likeliest class t can have odds
    # above 1. They may overflow while p_k r_t does not, so t is computed apart.
    log_p, log_q = _log_probabilities(logits)
    p, q, odds = log_p.exp(), log_q.exp(), (log_p - log_q).exp()
    top = _one_hot(logits, logits.argmax(dim=1))
    pulls = (target - (1 - target) * odds).masked_fill(top, 0)
    others = p * (pulls.sum(dim=1, keepdim=True) - pulls)
    y_top = target[top][:, None]
    odds_top = (log_p - log_q)[top][:, None]
    from_top = y_top * p - (1 - y_top) * (log_p + odds_top).exp()
    others = others + from_top.masked_fill(top, 0)
    return ((1 - target) * p - target * q + others) / logits.shape[1]


def _log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p and log(1 - p) of the softmax, both with full precision."""
    log_p = torch.log_softmax(logits, dim=1)
    top = logits.argmax(dim=1, keepdim=True)
    # 1 - p of the likeliest class is the sum of the others; any other p is <= 1/2.
    rest = log_p.scatter(1, top, -torch.inf).logsumexp(dim=1, keepdim=True)
    log_q = torch.log1p(-log_p.exp().scatter(1, top, 0)).scatter(1, top, rest)
    return log_p, log_q


_DERIVATIVES = dict(zip(LOSSES, (_bce, _bce_softmax, _cross_entropy), strict=True))


def class_cotangent(
    logits: Tensor, classes: Tensor, *, logit_scale: float | None = None
) -> Tensor:
    """Return a positive multiple of the cross-entropy's gradient at the logits.

    The gradient of the cross-entropy towards class i, of each sample's ``classes``
    (n_samples,), is p - e_i, with p the softmax. Where p_i rounds to 1 all its digits
    are lost, and where it is tiny it underflows. Signs and cosines do not change under
    positive scaling, so each row is scaled in log space until its largest entry off i
    is 1: exp(log p_j - max_{j != i} log p_j) for j != i, and minus their sum for i. The
    result is a function of the logits for autograd.

    With ``logit_scale``, the softmax is that of logit_scale * z / max|z|,
    differentiated through the maximum too (the published code of paper B does so with
    10). Logits that are all 0 stay as they are.
    """
    if logit_scale is None:
        return _log_space(logits, classes)
    largest, where = logits.abs().max(dim=1, keepdim=True)
    unit = logits / torch.where(largest == 0, 1, largest)
    inner = _log_space(logit_scale * unit, classes)
    # d(z_j / m) / dz_l = (delta_jl - delta_la sign(z_a) z_j / m) / m with m = |z_a|;
    # the factor logit_scale / m is positive.
    through_maximum = unit.gather(1, where) * (inner * unit).sum(dim=1, keepdim=True)
    return inner.scatter_add(1, where, -through_maximum)


def _log_space(logits: Tensor, classes: Tensor) -> Tensor:
    """Return the multiple of p - e_i whose largest entry off i is 1."""
    own = _one_hot(logits, classes)
    others = logits.masked_fill(own, -torch.inf)
    # log p_j - max log p_j = z_j - max z_j: the softmax denominator cancels.
    weights = torch.exp(others - others.amax(dim=1, keepdim=True))
    return weights - own * weights.sum(dim=1, keepdim=True)


def squared_error_cotangent(logits: Tensor, classes: Tensor) -> Tensor:
    """Return a positive multiple of the squared error's gradient at the logits.

    The squared error between the softmax p and the one-hot e of class i is sum_j d_j^2
    with d = p - e. Its gradient, 2 p_k (d_k - sum_j p_j d_j), loses its digits and
    underflows where the softmax saturates. Let r be the largest probability of the
    classes other than the likeliest one, m. Each row is divided by r, which the p_k
    with k != m are proportional to; and where i = m once more, as then the d_k are
    proportional to r, too. The entry of m follows, as each row sums to 0.
    """
    z = logits.detach().to(widest_float(logits.device))
    top = z.argmax(dim=1, keepdim=True)
    own, is_top = _one_hot(z, classes), _one_hot(z, top[:, 0])
    log_p, log_q = _log_probabilities(z)
    log_r = log_p.masked_fill(is_top, -torch.inf).amax(dim=1, keepdim=True)
    # Where i = m, all d_k are proportional to r. And d_i = p_i - 1 is computed as -q_i,
    # so that nothing cancels.
    log_d = log_r * own.gather(1, top)
    d = torch.where(own, -(log_q - log_d).exp(), (log_p - log_d).exp())
    inner = d - (log_p.exp() * d).sum(dim=1, keepdim=True)
    others = ((log_p - log_r).exp() * inner).masked_fill(is_top, 0)
    return others.scatter(1, top, -others.sum(dim=1, keepdim=True)).to(logits)


def _one_hot(logits: Tensor, classes: Tensor) -> Tensor:
    """Return a mask (n_samples, n_classes), True at the class of each sample."""
    mask = torch.zeros_like(logits, dtype=torch.bool)
    return mask.scatter_(1, classes[:, None], True)
