"""Saliency maps, cosine matrices and their statistics against paper B's equations."""

from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from networks import AnyWidth, LeNet, images, lenet_and_images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad.torch_engine.cosines import (
    HELD,
    Maps,
    class_cosines,
    cosine_statistics,
    most_samples,
)
from skgrad.torch_engine.cotangents import class_cotangent
from skgrad.torch_engine.input_gradients import input_gradient
from skgrad.torch_engine.model_state import frozen
from skgrad.torch_engine.network_pass import NetworkPass, Wanted


def run_of(module, x, **options):
    return NetworkPass(module, x, Wanted(inputs=True, n_backward=1), **options)


def cosines_of(module, x, maps):
    with frozen(module):
        matrices, predicted = run_of(module, x).cosines(maps)
    return matrices.numpy(), predicted.numpy()


def vectorized_cosines(module, x, maps):
    leaf = x.clone().requires_grad_()
    return class_cosines(module(leaf.clone()), leaf, maps, vectorized=True)[0]


def matrices_of(module, x, **maps):
    return cosines_of(module, x, Maps(**maps))[0]


def by_definition(module, x, *, sign, channel_reduction=None):
    """Eq. 1 and 2 written out, with torch's cross-entropy and numpy's cosines."""
    matrices = []
    for sample in x:
        maps = []
        for label in range(module(sample[None]).shape[1]):
            leaf = sample[None].clone().requires_grad_()
            loss = nn.functional.cross_entropy(module(leaf), torch.tensor([label]))
            gradient = torch.autograd.grad(loss, leaf)[0].numpy()[0]
            gradient = np.sign(gradient) if sign else gradient
            reduced = gradient.max(axis=0) if channel_reduction == "max" else gradient
            maps.append(reduced.ravel() / np.linalg.norm(reduced))
        matrices.append([[a @ b for b in maps] for a in maps])
    return np.array(matrices)


@pytest.mark.parametrize("channel_reduction", [None, "max"])
@pytest.mark.parametrize("sign", [True, False])
def test_against_definition(sign, channel_reduction):
    make, shape = (LeNet, (1, 28, 28)) if not channel_reduction else INPUTS["images"]
    net = seeded(make, dtype=torch.float64).eval()
    x = torch.from_numpy(images(4, shape)).double()
    maps = {"sign": sign, "channel_reduction": channel_reduction}
    assert_allclose(
        matrices_of(net, x, **maps), by_definition(net, x, **maps), atol=1e-9
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


def test_zero_map_has_cosine_zero():
    net = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        net.weight.zero_()
    for sign in (True, False):
        assert (matrices_of(net, torch.ones(1, 2), sign=sign) == 0).all()


def test_tiny_maps_do_not_underflow():
    net = seeded(lambda: nn.Linear(4, 3))
    x = torch.rand(2, 4)
    with torch.no_grad():
        net.weight.mul_(1e-30)
    tiny = matrices_of(net, x, sign=False)
    exact = matrices_of(net.double(), x.double(), sign=False)
    assert_allclose(tiny, exact, atol=1e-5)


INPUTS = {
    "rows": (lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)), (6,)),
    "series": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(15, 4)
        ),
        (2, 7),
    ),
    "images": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(36, 4)
        ),
        (3, 5, 5),
    ),
}


@pytest.mark.parametrize(
    ("kind", "scale"), [("rows", 1.0), ("rows", 1e3), ("series", 1.0), ("images", 1e3)]
)
def test_formula_at_logits_of_any_size(kind, scale):
    # At 1e3 the definition itself has lost p - e_k; only the other classes are left.
    make, shape = INPUTS[kind]
    net = seeded(make, dtype=torch.float64)
    x = torch.from_numpy(images(3, shape)).double()
    if scale == 1e3:
        with torch.no_grad():
            net[-1].weight.mul_(1e4)
            assert net(x).abs().amax() > 1e3
    matrices, predicted = cosines_of(net, x, Maps(sign=False))
    exact = by_jacobian(net, x)
    assert_allclose(matrices, exact, atol=1e-9)
    assert_array_equal(predicted, net(x).argmax(dim=1))


def by_jacobian(module, x):
    """Eq. 1 and 2 unsigned, from the Jacobian and p - e_i in extended precision."""
    matrices = []
    for sample in x:
        jacobian = torch.autograd.functional.jacobian(
            lambda one: module(one[None])[0], sample
        )
        jacobian = jacobian.flatten(1).numpy().astype(np.longdouble)
        z = module(sample[None])[0].detach().numpy().astype(np.longdouble)
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        maps = []
        for label in range(len(z)):
            weights = p.copy()
            weights[label] = -np.delete(p, label).sum()
            maps.append(weights @ jacobian / np.abs(weights).max())
        unit = [m / np.sqrt((m**2).sum()) for m in maps]
        matrices.append([[a @ b for b in unit] for a in unit])
    return np.array(matrices, dtype=float)


@pytest.mark.parametrize("sign", [True, False])
def test_top_classes_are_those_of_the_whole_matrix(sign):
    net, x = lenet_and_images(4)
    whole, predicted = cosines_of(net, x, Maps(sign=sign))
    top, first = cosines_of(net, x, Maps(sign=sign, top_n=3))
    order = net(x).argsort(dim=1, descending=True)[:, :3].numpy()
    assert_array_equal(first, 0)
    assert_array_equal(order[:, 0], predicted)
    for matrix, part, classes in zip(whole, top, order, strict=True):
        assert_allclose(part, matrix[np.ix_(classes, classes)], atol=1e-12)


def test_rescaled_logits_against_a_network_that_rescales():
    class Rescaled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            z = self.inner(x)
            return 10 * z / z.abs().amax(dim=1, keepdim=True)

    net, x = lenet_and_images(3)
    scaled = matrices_of(net, x, sign=False, logit_scale=10.0)
    assert_allclose(scaled, matrices_of(Rescaled(net), x, sign=False), atol=1e-9)
    assert abs(scaled - matrices_of(net, x, sign=False)).max() > 1e-3


def test_samples_that_memory_holds():
    # Four gradients of 784 entries, scaled, as unit vectors, and matrices.
    per_sample = 3 * 4 * 784 + 6 * 16
    assert most_samples((1, 28, 28), Maps(top_n=4), 10) == HELD // per_sample
    assert most_samples((3, 10_000, 10_000), Maps(), 1000) == 1


def test_vectorized_backward_passes_give_the_same():
    net, x = lenet_and_images(3)
    for maps in (Maps(), Maps(sign=False, top_n=4, logit_scale=10.0)):
        looped, _ = cosines_of(net, x, maps)
        assert_allclose(vectorized_cosines(net, x, maps), looped, atol=1e-9)


def test_operation_that_cannot_be_vectorized_is_looped_over():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, gradient):
            (x,) = ctx.saved_tensors
            # Leaves torch, where no vectorized tensor can follow.
            return torch.from_numpy(3 * x.numpy() ** 2 * gradient.numpy())

    class Net(nn.Linear):
        def forward(self, x):
            return super().forward(Cube.apply(x))

    net = seeded(lambda: Net(4, 3), dtype=torch.float64)
    x = torch.rand(3, 4, dtype=torch.float64)
    looped, _ = cosines_of(net, x, Maps())
    assert_allclose(vectorized_cosines(net, x, Maps()), looped, atol=1e-12)


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


def test_input_gradient_is_that_of_the_given_class():
    net = AnyWidth()
    x = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(net(leaf), torch.tensor([2]))
    (expected,) = torch.autograd.grad(loss, leaf)
    with frozen(net):
        towards_last = partial(class_cotangent, classes=torch.tensor([2]))
        gradient, _ = input_gradient(net, x, towards_last)
    factor = gradient / expected
    assert (factor > 0).all()
    assert_allclose(factor, factor[0, 0].expand_as(factor), rtol=1e-9)


def test_infinite_gradients():
    class Root(nn.Linear):
        def forward(self, x):
            return super().forward(x.sqrt())

    with pytest.raises(ValueError, match="NaN or infinite gradients"):
        cosines_of(Root(2, 3), torch.zeros(1, 2), Maps())


OPTIONS = [{}, {"top_n": 2}, {"channel_reduction": "max"}, {"logit_scale": 10.0}]


def recorded(net, leaf, **options):
    return run_of(net, leaf, create_graph=True).cosines(Maps(**options))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_cosines_in_the_graph(options):
    make, shape = INPUTS["images"]
    net = seeded(make, dtype=torch.float64)
    x = torch.from_numpy(images(3, shape)).double()
    with frozen(net):
        for sign in (True, False):
            exact, position = run_of(net, x).cosines(Maps(sign=sign, **options))
            with torch.enable_grad():
                leaf = x.clone().requires_grad_(True)
                found, predicted = recorded(net, leaf, sign=sign, **options)
            assert_allclose(found.detach(), exact, atol=1e-12)
            assert_array_equal(predicted, position)
        with torch.enable_grad():
            leaf = x.clone().requires_grad_(True)
            assert torch.autograd.gradcheck(
                lambda x: recorded(net, x, sign=False, **options)[0],
                leaf,
                fast_mode=True,
            )
            # Signs have the derivative of the gradients.
            slopes = [
                torch.autograd.grad(
                    recorded(net, leaf, sign=sign, **options)[0].sum(), leaf
                )[0]
                for sign in (True, False)
            ]
    assert_allclose(*slopes, atol=1e-12)
