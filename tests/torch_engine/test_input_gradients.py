"""Saliency maps, cosine matrices and their statistics against paper B's equations."""

from itertools import combinations

import numpy as np
import pytest
import torch
from networks import AnyWidth, LeNet, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad.torch_engine.input_gradients import (
    class_input_gradients,
    cosine_similarity_matrices,
    cosine_statistics,
    loss_cotangent,
    loss_input_gradient,
)
from skgrad.torch_engine.model_state import frozen


def matrices_of(module, x, *, sign):
    with frozen(module):
        maps, _ = class_input_gradients(module, x)
    return cosine_similarity_matrices(maps, sign=sign).numpy()


def by_definition(module, x, *, sign):
    """Eq. 1 and 2 written out, with torch's cross-entropy and numpy's cosines."""
    matrices = []
    for sample in x:
        maps = []
        for label in range(module(sample[None]).shape[1]):
            leaf = sample[None].clone().requires_grad_()
            loss = nn.functional.cross_entropy(module(leaf), torch.tensor([label]))
            (gradient,) = torch.autograd.grad(loss, leaf)
            flat = gradient.numpy().ravel()
            maps.append(np.sign(flat) if sign else flat)
        unit = [m / np.linalg.norm(m) for m in maps]
        matrices.append([[a @ b for b in unit] for a in unit])
    return np.array(matrices)


@pytest.mark.parametrize("sign", [True, False])
def test_lenet_against_definition(sign):
    net = seeded(LeNet, dtype=torch.float64).eval()
    x = torch.from_numpy(images(4, (1, 28, 28))).double()
    assert_allclose(
        matrices_of(net, x, sign=sign), by_definition(net, x, sign=sign), atol=1e-9
    )


def test_linear_net_by_hand():
    # z = W x with equal logits at x = 0: p = 1/3, and the gradient of class i is
    # mean(rows of W) - row i. Rows (1, 0), (0, 1), (-1, -1) have mean 0, so the maps
    # are minus the rows; their signs have cosines 0, -1/sqrt(2), -1/sqrt(2).
    net = nn.Linear(2, 3, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
    matrix = matrices_of(net, torch.zeros(1, 2).double(), sign=True)[0]
    root = np.sqrt(0.5)
    assert_allclose(
        matrix, [[1, 0, -root], [0, 1, -root], [-root, -root, 1]], atol=1e-14
    )


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cotangent_is_parallel_to_p_minus_e(scale, dtype):
    # Extended precision holds exp(-1e3), which float64 does not.
    logits = scale * torch.tensor([[1.0, -0.3, 0.2, 0.9]], dtype=dtype)
    z = logits.numpy()[0].astype(np.longdouble)
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    for label in range(4):
        others = np.delete(p, label)
        exact = p.copy()
        exact[label] = -others.sum()
        exact /= others.max()
        cotangent = loss_cotangent(logits, torch.tensor([label])).numpy()[0]
        rtol = 1e-4 if dtype == torch.float32 else 1e-12
        tiny = torch.finfo(dtype).tiny
        assert_allclose(cotangent, exact.astype(float), rtol=rtol, atol=tiny)


@pytest.mark.parametrize("sign", [True, False])
def test_saturated_network_has_the_same_geometry(sign):
    # Adding a constant to one logit moves p towards e_k, where the paper's float32
    # gradient vanishes; that of the other classes relative to each other is known.
    net = seeded(LeNet)
    x = torch.from_numpy(images(2, (1, 28, 28)))
    with torch.no_grad():
        net.fc3.weight.mul_(1e3)
    exact = seeded(LeNet, dtype=torch.float64)
    exact.load_state_dict(net.state_dict())
    wide = matrices_of(exact, x.double(), sign=sign)
    narrow = matrices_of(net, x, sign=sign)
    assert_allclose(np.diagonal(wide, axis1=1, axis2=2), 1, atol=1e-12)
    assert_allclose(narrow, wide, atol=0.02 if sign else 1e-3)


def test_zero_map_has_cosine_zero():
    maps = torch.tensor([[[0.0, 0.0], [1.0, 2.0]]])
    for sign in (True, False):
        matrix = cosine_similarity_matrices(maps, sign=sign)[0]
        assert_allclose(matrix, [[0, 0], [0, 1]], atol=1e-6)


def test_tiny_maps_do_not_underflow():
    maps = torch.tensor([[[1e-30, 0.0], [1e-30, 1e-30]]])
    cosine = cosine_similarity_matrices(maps, sign=False)[0, 0, 1]
    assert_allclose(cosine, np.sqrt(0.5), rtol=1e-6)


def test_statistics_pair_by_pair():
    generator = np.random.default_rng(0)
    matrices = generator.uniform(-1, 1, size=(6, 5, 5))
    predicted = np.array([0, 1, 2, 3, 4, 0])
    statistics = cosine_statistics(torch.tensor(matrices), torch.tensor(predicted))
    for row, matrix, k in zip(statistics.numpy(), matrices, predicted, strict=True):
        pairs = list(combinations(range(5), 2))
        s1 = [matrix[i, j] for i, j in pairs if k not in (i, j)]
        s2 = [matrix[i, j] for i, j in pairs if k in (i, j)]
        expected = [
            f(np.array(s))
            for s in (s1, s2)
            for f in (np.mean, np.max, np.min, np.std, lambda v: np.sum(v**2))
        ]
        assert_allclose(row, expected, rtol=1e-12)


def test_loss_input_gradient_is_that_of_the_given_class():
    net = AnyWidth()
    x = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(net(leaf), torch.tensor([2]))
    (expected,) = torch.autograd.grad(loss, leaf)
    with frozen(net):
        gradient = loss_input_gradient(net, x, torch.tensor([2]))
    factor = gradient / expected
    assert (factor > 0).all()
    assert_allclose(factor, factor[0, 0].expand_as(factor), rtol=1e-9)


def test_model_that_writes_into_its_input():
    class InPlace(nn.Linear):
        def forward(self, x):
            return super().forward(x.mul_(2))

    net = seeded(lambda: InPlace(2, 3), dtype=torch.float64)
    x = torch.ones(1, 2).double()
    matrices_of(net, x, sign=True)
    assert_array_equal(x, [[1.0, 1.0]])


def test_logits_that_ignore_the_input_are_refused():
    class Constant(nn.Module):
        def forward(self, x):
            return torch.zeros(len(x), 3)

    with (
        frozen(Constant()),
        pytest.raises(ValueError, match="autograd reach its input"),
    ):
        class_input_gradients(Constant(), torch.ones(1, 2))
