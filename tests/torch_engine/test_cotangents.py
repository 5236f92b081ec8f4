"""Losses differentiated at the logits, against torch and against more digits."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn import functional as F  # noqa: N812

from skgrad.torch_engine.cotangents import (
    LABELS,
    LOSSES,
    class_cotangent,
    label_cotangents,
    label_targets,
    squared_error_cotangent,
)

OWN = [0.1, 0.7, 0.0, 1.0]


def by_torch(logits, target, loss):
    """Differentiate torch's own losses, each averaged over classes for one sample."""
    leaf = logits.clone().requires_grad_()
    if loss == "bce":
        value = F.binary_cross_entropy_with_logits(leaf, target, reduction="none")
        value = value.mean(dim=1)
    elif loss == "bce_softmax":
        p = torch.softmax(leaf, dim=1)
        value = F.binary_cross_entropy(p, target, reduction="none").mean(dim=1)
    else:
        value = -(target * torch.log_softmax(leaf, dim=1)).sum(dim=1)
    return torch.autograd.grad(value.sum(), leaf)[0]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("label", [*LABELS, OWN], ids=str)
def test_against_torch(loss, label):
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(5, 4, generator=generator, dtype=torch.float64)
    cotangents = list(label_cotangents(logits, label, loss))
    targets = label_targets(logits, label)
    assert len(cotangents) == len(targets) == (4 if label == "each" else 1)
    for cotangent, target in zip(cotangents, targets, strict=True):
        assert cotangent.dtype == torch.float64
        assert_allclose(cotangent, by_torch(logits, target, loss), atol=1e-14)


def test_targets():
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0]])

    def written_out(label):
        return [target.tolist() for target in label_targets(logits, label)]

    assert written_out("all") == [[[1, 1, 1], [1, 1, 1]]]
    assert written_out("none") == [[[0, 0, 0], [0, 0, 0]]]
    assert_allclose(written_out("uniform"), np.full((1, 2, 3), 1 / 3), rtol=1e-6)
    assert written_out("predicted") == [[[0, 1, 0], [1, 0, 0]]]
    assert written_out("complement") == [[[1, 0, 1], [0, 1, 1]]]
    assert written_out("each") == [[row, row] for row in np.eye(3).tolist()]
    assert written_out([1, 0, 1]) == [[[1, 0, 1], [1, 0, 1]]]


def softmax_of(z):
    """Return probabilities in extended precision, which holds exp(-1e3)."""
    z = z.numpy().astype(np.longdouble)
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()


def in_extended_precision(logits, target, loss):
    """Compute the same with numpy's long double, which holds exp(-1e3)."""
    z, y = logits.numpy()[0].astype(np.longdouble), target.numpy()[0]
    own = np.eye(len(z), dtype=bool)
    if loss == "bce":
        return ((1 - y) / (1 + np.exp(-z)) - y / (1 + np.exp(z))) / len(z)
    p = softmax_of(logits[0])
    q = np.array([p[~row].sum() for row in own])  # 1 - p
    if loss == "cross_entropy":
        return p * np.array([y[~row].sum() for row in own]) - y * q
    # Each class j pulls at its own logit with -(y_j q_j - (1 - y_j) p_j), and at
    # every other k with p_k (y_j - (1 - y_j) p_j / q_j).
    return np.array(
        [
            (1 - y[k]) * p[k]
            - y[k] * q[k]
            + sum(
                p[k] * (y[j] - (1 - y[j]) * p[j] / q[j])
                for j in range(len(z))
                if j != k
            )
            for k in range(len(z))
        ]
    ) / len(z)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("label", [*LABELS, OWN], ids=str)
@pytest.mark.parametrize("scale", [60.0, 500.0])
def test_saturated_logits_keep_their_digits(loss, label, scale):
    logits = scale * torch.tensor([[1.0, -0.3, 0.2, 0.9]], dtype=torch.float64)
    targets = label_targets(logits, label)
    for cotangent, target in zip(
        label_cotangents(logits, label, loss), targets, strict=True
    ):
        exact = in_extended_precision(logits, target, loss).astype(float)
        # Entries that hardly matter beside the largest need not have all digits.
        assert_allclose(cotangent[0], exact, rtol=1e-9, atol=1e-14 * abs(exact).max())


def test_the_papers_gradient_does_not_round_to_zero():
    # sigmoid(60) - 1 rounds to 0 in float64 too; the gradient is -sigmoid(-60) / C.
    (cotangent,) = label_cotangents(torch.tensor([[60.0, 500.0]]), "all", "bce")
    assert_allclose(cotangent, [[-np.exp(-60) / 2, -np.exp(-500) / 2]], rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_class_cotangent_is_parallel_to_p_minus_e(scale, dtype):
    logits = scale * torch.tensor([[1.0, -0.3, 0.2, 0.9]], dtype=dtype)
    p = softmax_of(logits[0])
    for label in range(4):
        others = np.delete(p, label)
        exact = p.copy()
        exact[label] = -others.sum()
        exact /= others.max()
        cotangent = class_cotangent(logits, torch.tensor([label])).numpy()[0]
        rtol = 1e-4 if dtype == torch.float32 else 1e-12
        tiny = torch.finfo(dtype).tiny
        assert_allclose(cotangent, exact.astype(float), rtol=rtol, atol=tiny)


@pytest.mark.parametrize("sign", [1, -1])
def test_rescaled_logits_are_differentiated_through_the_maximum(sign):
    generator = torch.Generator().manual_seed(0)
    logits = sign * torch.randn(6, 4, generator=generator, dtype=torch.float64)
    classes = torch.tensor([0, 1, 2, 3, 0, 1])
    leaf = logits.clone().requires_grad_()
    rescaled = 10 * leaf / leaf.abs().amax(dim=1, keepdim=True)
    loss = F.cross_entropy(rescaled, classes, reduction="sum")
    (exact,) = torch.autograd.grad(loss, leaf)
    cotangent = class_cotangent(logits, classes, logit_scale=10.0)
    factor = (cotangent * exact).sum(dim=1) / exact.square().sum(dim=1)
    assert (factor > 0).all()
    assert_allclose(cotangent, factor[:, None] * exact, atol=1e-12)


def test_rescaling_zero_logits_leaves_them():
    zeros, classes = torch.zeros(1, 3), torch.tensor([1])
    assert_allclose(
        class_cotangent(zeros, classes, logit_scale=10.0), [[1.0, -2.0, 1.0]]
    )


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_squared_error_cotangent_is_parallel_to_the_gradient(scale, dtype):
    logits = scale * torch.tensor([[1.0, -0.3, 0.2, 0.9]], dtype=dtype)
    p = softmax_of(logits[0])
    for label in range(4):
        d = p.copy()
        d[label] = -np.delete(p, label).sum()
        # p_k (d_k - sum_j p_j d_j), with 1 = sum_j p_j taken into the difference.
        exact = p * (p * (d[:, None] - d)).sum(axis=1)
        cotangent = squared_error_cotangent(logits, torch.tensor([label])).numpy()[0]
        exact, cotangent = (v / np.abs(v).max() for v in (exact, cotangent))
        atol = 1e-6 if dtype == torch.float32 else 1e-12
        assert_allclose(cotangent, exact.astype(float), atol=atol)
