"""Parameters that no rule may claim, and numbers that a rule must not lose."""

import gc
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from networks import (
    Between,
    LeNet,
    check_against_loop,
    gradient_norms,
    images,
    looped_norms,
    routes_of,
    seeded,
)
from numpy.testing import assert_allclose
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from skgrad import ConfoundingGradientTransformer
from skgrad.torch_engine import gradient_norms as gradient_norms_module
from skgrad.torch_engine import gradient_rules
from skgrad.torch_engine.cotangents import label_cotangents
from skgrad.torch_engine.gradient_norms import outer_norms, squares
from skgrad.torch_engine.gradient_recorder import Recorder
from skgrad.torch_engine.gradient_routes import parameter_routes
from skgrad.torch_engine.model_state import frozen
from skgrad.torch_engine.parameter_gradients import squared_gradient_norms

ALL_ONES = partial(label_cotangents, label="all", loss="bce")
HEAD = {"head.weight": "linear", "head.bias": "linear"}
STEP = ("step.weight", "step.bias")


def norms_routed_by(module, probe, x):
    """Return the norms of x, with routes found on other samples."""
    with frozen(module, parameter_gradients=True):
        routes = parameter_routes(module, probe, ALL_ONES)
    return gradient_norms(module, x, ALL_ONES, routes), routes


@pytest.mark.parametrize("n_fit", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_reversed_batch_is_noticed_with_any_number_of_samples(n_fit, dtype):
    class Net(Between):
        def forward(self, x):
            return self.head(self.step(x.flip(0)).tanh().flip(0))

    net = seeded(Net, dtype=dtype)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    transformer = ConfoundingGradientTransformer(net).fit(x[:n_fit])
    assert transformer.routes_ == {
        "step.weight": "autograd",
        "step.bias": "autograd",
        **HEAD,
    }
    alone = np.vstack([transformer.transform(one) for one in x.split(1)])
    assert_allclose(transformer.transform(x), alone, rtol=0.05)


def looked_up(x, order):
    return x[order]


def stacked(x, order):
    return torch.stack([x[i] for i in order.tolist()])


def selected(x, order):
    return x.index_select(0, order)


def multiplied(x, order):
    return F.one_hot(order, len(x)).to(x.dtype) @ x


def copied(x, order):
    return torch.zeros_like(x).index_copy_(0, order.argsort(), x)


@pytest.mark.parametrize("move", [looked_up, stacked, selected, multiplied, copied])
@pytest.mark.parametrize("n_samples", [2, 3, 6])
def test_samples_sorted_by_their_values(move, n_samples):
    class Net(Between):
        def forward(self, x):
            order = (x != 0).sum(dim=1).argsort(stable=True)
            return self.head(move(self.step(move(x, order)).tanh(), order.argsort()))

    net = seeded(Net, dtype=torch.float64)
    probe = torch.randn(3, 4, dtype=torch.float64)  # nothing to sort in it
    x = torch.randn(n_samples, 4, dtype=torch.float64)
    for row in range(1, n_samples):
        x[row, : min(row, 3)] = 0
    norms, routes = norms_routed_by(net, probe, x)
    assert len(routes) == 4
    assert_allclose(norms, looped_norms(net, x), rtol=1e-9)


def test_order_is_not_checked_without_need():
    backwards = []

    def count(module, inputs, output):
        output.register_hook(lambda gradient: backwards.append(len(gradient)))

    net = seeded(LeNet)
    x = torch.from_numpy(images(4, (1, 28, 28)))
    with frozen(net, parameter_gradients=True):
        routes = parameter_routes(net, x, ALL_ONES)
    net.register_forward_hook(count)
    gradient_norms(net, x, ALL_ONES, routes)
    assert len(routes) == 10
    assert backwards == [4]


@pytest.mark.parametrize("n_samples", [2, 3, 8])
def test_rows_sorted_across_samples(n_samples):
    class Net(Between):
        """Sorts the steps of all series together."""

        def forward(self, x):
            rows = x.reshape(-1, 4)
            order = (rows == 0).any(dim=1).int().argsort(stable=True)
            rows = self.step(rows[order]).tanh()[order.argsort()]
            return self.head(rows.view(x.shape).mean(dim=1))

    net = seeded(Net, dtype=torch.float64)
    x = torch.randn(n_samples, 20, 4, dtype=torch.float64)
    probe = x.clone()
    x[0, 3, 1] = 0
    norms, routes = norms_routed_by(net, probe, x)
    assert len(routes) == 4
    assert_allclose(norms, looped_norms(net, x), rtol=1e-9)


def test_order_is_checked_for_every_loss():
    class Net(nn.Module):
        """Only the last logit, far below the others, sees the sorted layer."""

        def __init__(self):
            super().__init__()
            self.step = nn.Linear(4, 1)

        def forward(self, x):
            order = (x != 0).sum(dim=1).argsort(stable=True)
            last = self.step(x[order])[order.argsort()] - 200
            return torch.cat([x[:, :2], last], dim=1)

    net = seeded(Net)
    probe, x = torch.randn(3, 4), torch.randn(4, 4)
    x[2, 0] = x[3, :2] = 0
    each = partial(label_cotangents, label="each", loss="bce")
    with frozen(net, parameter_gradients=True):
        routes = parameter_routes(net, probe, ALL_ONES)
        assert len(routes) == 2
        norms = squared_gradient_norms(net, x, each, routes)
        exact = squared_gradient_norms(net, x, each, {})
    assert_allclose(norms, exact, rtol=1e-4)


def test_model_that_differentiates_itself():
    class Net(Between):
        """Adds a gradient of its own step, from the third sample on."""

        def forward(self, x):
            x = x.detach().requires_grad_()
            y = self.step(x).tanh()
            (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
            return self.head(y + slope)

    check_against_loop(
        seeded(Net),
        torch.randn(4, 4),
        {"step.weight": "autograd", "step.bias": "autograd", **HEAD},
    )


def test_hook_of_the_user_on_a_parameter():
    net = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)))
    factor = 1
    net.double()[0].weight.register_hook(lambda gradient: factor * gradient)
    x = torch.randn(4, 4, dtype=torch.float64)
    # Without effect while the routes are found.
    norms, routes = norms_routed_by(net, x, x)
    assert sorted(routes) == ["0.bias", "2.bias", "2.weight"]
    factor = 2
    doubled = gradient_norms(net, x, ALL_ONES, routes)
    assert_allclose(doubled[:, 0], 4 * norms[:, 0])


def test_rule_that_disagrees_with_autograd(monkeypatch):
    def wrong(x, gradient):
        return 1.1 * gradient_norms_module.linear_weight(x, gradient)

    monkeypatch.setattr(gradient_rules, "linear_weight", wrong)
    net = seeded(lambda: nn.Linear(4, 3))
    routes = {"weight": "autograd", "bias": "linear"}
    check_against_loop(net, torch.randn(4, 4), routes)


class Spectral(Between):
    """Multiplies a spectrum, which is complex, with a real parameter."""

    def __init__(self):
        super().__init__()
        self.filter = nn.Parameter(torch.rand(3))

    def forward(self, x):
        return self.head(torch.fft.irfft(torch.fft.rfft(self.step(x)) * self.filter))


class OwnSlope(Between):
    """Differentiates a layer with respect to its own weight."""

    def forward(self, x):
        energy = self.step(x).square().sum(dim=1)
        slopes = [
            torch.autograd.grad(e, self.step.weight, create_graph=True)[0].sum(dim=0)
            for e in energy
        ]
        return self.head(torch.stack(slopes).tanh())


@pytest.mark.parametrize(
    ("make", "routes"),
    [
        (
            Spectral,
            {"filter": "autograd", **dict.fromkeys(STEP, "linear"), **HEAD},
        ),
        (OwnSlope, dict.fromkeys([*STEP, *HEAD], "autograd")),
    ],
)
def test_what_only_autograd_can_do(make, routes):
    net = seeded(make, dtype=torch.float64)
    x = torch.randn(4, 4, dtype=torch.float64)
    assert routes_of(net, x) == routes
    assert_allclose(norms_routed_by(net, x, x)[0], looped_norms(net, x), rtol=1e-9)


def test_checkpoint_that_only_larger_batches_use():
    class Net(Between):
        def forward(self, x):
            def step(x):
                return self.step(x).tanh()

            if len(x) > 3:
                return self.head(checkpoint(step, x, use_reentrant=False))
            return self.head(step(x))

    net = seeded(Net, dtype=torch.float64)
    x = torch.randn(5, 4, dtype=torch.float64)
    norms, routes = norms_routed_by(net, x, x)
    assert len(routes) == 4
    assert_allclose(norms, looped_norms(net, x), rtol=1e-9)


class Vector(nn.Module):
    """A linear function whose weight is a vector."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.rand(4))
        self.head = nn.Linear(1, 3)

    def forward(self, x):
        return self.head(F.linear(x, self.w)[:, None].tanh())


class Empty(Between):
    """A layer for no feature at all."""

    def __init__(self):
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about nothing to initialise
            self.step = nn.Linear(0, 4)

    def forward(self, x):
        return self.head(self.step(x[:, :0]) + x.tanh())


class Strided(nn.Module):
    """A convolution whose stride is a number of numpy's."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.rand(2, 1, 2))
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        maps = F.conv1d(x[:, None], self.w, stride=np.int64(2))
        return self.head(maps.flatten(1).tanh())


class SparseInput(Between):
    """Hands its layer a sparse tensor."""

    def forward(self, x):
        return self.head(self.step(x.to_sparse()).tanh())


@pytest.mark.parametrize(
    ("make", "routes"),
    [
        (Vector, {"w": "autograd", **HEAD}),
        (Empty, {"step.weight": "autograd", "step.bias": "autograd", **HEAD}),
        (Strided, {"w": "conv1d", **HEAD}),
        (SparseInput, {"step.weight": "autograd", "step.bias": "autograd", **HEAD}),
    ],
)
def test_odd_arguments(make, routes):
    check_against_loop(seeded(make), torch.randn(4, 4), routes)


GRAM_LAYERS = {
    "linear": (lambda: nn.Linear(64, 70), (4, 64)),
    "conv2d": (lambda: nn.Conv2d(64, 70, 3, padding=1), (64, 2, 2)),
    "conv_transpose2d": (
        lambda: nn.ConvTranspose2d(64, 70, 3, padding=1),
        (64, 2, 2),
    ),
}


@pytest.mark.parametrize("name", GRAM_LAYERS)
@pytest.mark.parametrize(("before", "after"), [(1e-24, 1), (1, 1e-24), (1e22, 1e-22)])
def test_gram_matrices_stay_in_the_range_of_float32(name, before, after):
    make, shape = GRAM_LAYERS[name]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = make()
            self.head = nn.Linear(1, 3)

        def forward(self, x):
            y = self.layer(before * x) * after
            return self.head(y.flatten(1).sin().mean(dim=1, keepdim=True))

    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    exact = looped_norms(seeded(Net, dtype=torch.float64), x.double())
    norms, routes = norms_routed_by(seeded(Net), x, x)
    assert routes["layer.weight"].rule == name
    assert_allclose(norms[:, 0], exact[:, 0], rtol=1e-3)


def test_gram_terms_that_cancel():
    # Positions that hardly differ, and gradients that sum to 0: what is left of the
    # products is a thousandth of what they are made of.
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4, 64, 6, generator=generator)
    gradient = torch.randn(4, 70, 6, generator=generator)
    gradient -= gradient.mean(dim=2, keepdim=True)
    x = 1 + 1e-3 * noise
    products = gradient.double() @ x.double().transpose(1, 2)
    exact = products.square().sum(dim=(1, 2))
    assert_allclose(outer_norms(x, gradient), exact, rtol=1e-4)


def test_lengths_whose_squares_underflow():
    vectors = torch.full((2, 5), 1e-25)
    vectors[1] = 1.0
    assert_allclose(squares(vectors), [5e-50, 5.0], rtol=1e-6)


def test_frames_of_films_as_samples_of_a_convolution():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)
            self.norm = nn.BatchNorm2d(2)
            self.head = nn.Linear(2, 3)

        def forward(self, x):
            y = self.norm(self.conv(x.flatten(0, 1))).tanh().mean(dim=(2, 3))
            return self.head(y.unflatten(0, x.shape[:2]).mean(dim=1))

    # The gradient of a convolution is not a sum over rows that are kept apart.
    routes = {"conv.weight": "autograd", "conv.bias": "autograd", **HEAD}
    routes |= {"norm.weight": "batch_norm", "norm.bias": "batch_norm"}
    check_against_loop(seeded(Net), torch.rand(4, 3, 1, 6, 6), routes)


def recorders():
    """Return the identities of all recorders alive, as other tests may keep some."""
    return {id(thing) for thing in gc.get_objects() if type(thing) is Recorder}


def test_nothing_of_a_batch_stays_behind():
    class Net(Between):
        def forward(self, x):
            if len(x) > 3:
                self.step(x)
                raise ValueError("too much")
            return self.head(self.step(x).tanh())

    net = seeded(Net)
    gc.collect()
    gc.disable()
    before = recorders()
    try:
        routes = norms_routed_by(net, torch.randn(3, 4), torch.randn(3, 4))[1]
        with pytest.raises(ValueError, match="too much"):
            gradient_norms(net, torch.randn(5, 4), ALL_ONES, routes)
        after = recorders()
    finally:
        gc.enable()
    assert after <= before


def test_nothing_stays_behind_when_the_backward_pass_fails():
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view_as(x)

        @staticmethod
        def backward(ctx, gradient):
            if len(gradient) > 3:
                raise ValueError("too much")
            return gradient

    class Net(Between):
        def forward(self, x):
            return self.head(Fails.apply(self.step(x).tanh()))

    net = seeded(Net)
    routes = norms_routed_by(net, torch.randn(3, 4), torch.randn(3, 4))[1]
    gc.collect()
    before = recorders()
    with pytest.raises(ValueError, match="too much"):
        gradient_norms(net, torch.randn(5, 4), ALL_ONES, routes)
    gc.collect()
    assert recorders() <= before
