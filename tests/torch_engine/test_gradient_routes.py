"""Parameters whose norms no rule may compute, and precision that rules must keep."""

from functools import partial

import pytest
import torch
from networks import (
    Between,
    check_against_loop,
    gradient_norms,
    looped_norms,
    parameter_routes,
    routes_of,
    seeded,
    squared_gradient_norms,
)
from numpy.testing import assert_allclose
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from skgrad.torch_engine import gradient_rules
from skgrad.torch_engine.cotangents import label_cotangents
from skgrad.torch_engine.gradient_norms import (
    linear_weight,
    outer_norms,
    squares,
    whole_squares,
)
from skgrad.torch_engine.gradient_pass import samples_in_order
from skgrad.torch_engine.model_state import frozen

ALL_ONES = partial(label_cotangents, label="all", loss="bce")
STEP = ("step.weight", "step.bias")
HEAD = {"head.weight": "linear", "head.bias": "linear"}
LINEAR = dict.fromkeys(STEP, "linear") | HEAD
AUTOGRAD = dict.fromkeys(STEP, "autograd") | HEAD


def randn(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def norms_routed_by(module, probe, x):
    """Return the norms of x, with routes found on other samples."""
    with frozen(module, parameter_gradients=True):
        routes = parameter_routes(module, probe, ALL_ONES)
    return gradient_norms(module, x.clone(), ALL_ONES, routes), routes


def check_routed(forward, probe, x):
    """Compare norms with routes of other samples to autograd sample by sample."""
    net = seeded(partial(Between, forward), dtype=torch.float64)
    norms, routes = norms_routed_by(net, probe, x)
    assert len(routes) == 4
    assert_allclose(norms, looped_norms(net, x), rtol=1e-9)


def steps_first(net, x):
    return net.step(x.transpose(0, 1)).tanh().transpose(0, 1)


def rows(net, x):
    return net.step(x.flatten(0, 1)).tanh().unflatten(0, (len(x), -1))


def rows_of_steps(net, x):
    y = net.step(x.transpose(0, 1).flatten(0, 1)).tanh()
    return y.unflatten(0, (-1, len(x))).transpose(0, 1)


def backwards(net, x):
    return net.step(x.flip(0)).tanh().flip(0)


@pytest.mark.parametrize(
    ("turn", "routes"),
    [
        (steps_first, LINEAR),
        (rows, LINEAR),
        (rows_of_steps, AUTOGRAD),
        (backwards, AUTOGRAD),
    ],
)
@pytest.mark.parametrize("n_samples", [1, 2, 3, 5])
def test_axis_of_the_samples(turn, routes, n_samples):
    net = seeded(lambda: Between(lambda net, x: net.head(turn(net, x).mean(dim=1))))
    # As many steps as samples, so that the axes do not differ in length.
    x = randn(n_samples, 5, 4)
    check_against_loop(net, x, routes)
    # Norms in half precision hardly differ where samples are mixed.
    assert routes_of(net.bfloat16(), x.bfloat16()) == routes


MOVES = {
    "lookup": lambda x, order: x[order],
    "select": lambda x, order: x.index_select(0, order),
    "product": lambda x, order: F.one_hot(order, len(x)).to(x.dtype) @ x,
    "copy": lambda x, order: torch.zeros_like(x).index_copy_(0, order.argsort(), x),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
@pytest.mark.parametrize("n_samples", [2, 6])
def test_samples_sorted_by_their_values(move, n_samples):
    def forward(net, x):
        order = (x != 0).sum(dim=1).argsort(stable=True)
        return net.head(move(net.step(move(x, order)).tanh(), order.argsort()))

    x = randn(n_samples, 4)
    for row in range(1, n_samples):
        x[row, : min(row, 3)] = 0
    # There is nothing to sort in the samples that routes are found with.
    check_routed(forward, randn(3, 4), x)


def test_rows_sorted_across_samples():
    def forward(net, x):
        rows = x.reshape(-1, 4)
        order = (rows == 0).any(dim=1).int().argsort(stable=True)
        rows = net.step(rows[order]).tanh()[order.argsort()]
        return net.head(rows.view(x.shape).mean(dim=1))

    x = randn(3, 20, 4)
    x[0, 3, 1] = 0
    check_routed(forward, randn(3, 20, 4), x)


def test_order_that_samples_without_gradient_hide():
    def forward(net, x):
        y = net.step(x.flip(0)).flip(0).tanh()
        return net.head(y * x[:, :1].relu())

    probe = randn(3, 4)
    # The middle of three stays in place, and has the only gradient.
    probe[:, 0] = torch.tensor([-1.0, 1.0, -1.0])
    # The gradient at the output of the head is that of each sample in its place.
    assert set(norms_routed_by(Between(forward).double(), probe, probe)[1]) == {
        "head.weight",
        "head.bias",
    }


def test_norm_of_two_uses_that_inputs_of_0_hide():
    # One weight projects query and key. Where both are 0 so is the norm of either use,
    # and nothing shows that the gradients must be added first.
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, vdim=3, batch_first=True)
            self.attention.k_proj_weight = self.attention.q_proj_weight
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            seen = x[..., :4].relu()
            return self.head(self.attention(seen, seen, x[..., 4:])[0].mean(dim=1))

    net, probe, x = seeded(Tied).double(), randn(3, 5, 7), randn(4, 5, 7)
    nn.init.normal_(net.attention.in_proj_bias)
    probe[..., :4] = -1
    norms, routed = norms_routed_by(net, probe, x)
    assert "attention.q_proj_weight" not in routed
    assert_allclose(norms, looped_norms(net, x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_neighbours_in_each_others_place(dtype):
    scales = torch.linspace(1, 2, 2_000, dtype=torch.float64)
    norms, grown = {"a": torch.ones_like(scales)}, scales.square()
    assert samples_in_order(norms, {"a": grown}, scales, dtype) == {"a"}
    grown[7:9] = grown[7:9].flip(0)
    assert samples_in_order(norms, {"a": grown}, scales, dtype) == set()


def test_norms_that_are_rounding_have_no_order():
    scales = torch.linspace(1, 2, 4, dtype=torch.float64)
    norms = {"a": torch.ones_like(scales), "key bias": 1e-18 * torch.rand(4).double()}
    again = {"a": scales.square(), "key bias": 1e-18 * torch.rand(4).double()}
    assert samples_in_order(norms, again, scales, torch.float32) == {*norms}
    again["key bias"] *= 1e9
    assert samples_in_order(norms, again, scales, torch.float32) == {"a"}


def masked_by_shape(net, x):
    mask = x.new_zeros(x.shape[1], 4)
    mask[1:, 2:] = 1
    mask = mask.masked_fill(mask.unsqueeze(0) != 0, -1.0)[0]
    net.calls += 1
    return net.step(x + mask).tanh().mean(dim=1)


def padded(net, x):
    padding = (x == 0).all(dim=2)
    y = net.step(x).tanh()
    if not padding.all():
        y = y.masked_fill(padding[:, :, None], 0.0)
    return y.sum(dim=1) / (~padding).sum(dim=1, keepdim=True)


def of_ids(net, x):
    ids = (x[:, :, 0] > 0).long()
    return net.step(net.table(ids + 1 * (ids == 0))).tanh().mean(dim=1)


def packed(net, x):
    # As many rows as samples, of which some have more and some have none.
    chosen = x.masked_select(x[:, :, :1] > 0).view(-1, 4)
    y = torch.zeros_like(x).masked_scatter(x[:, :, :1] > 0, net.step(chosen).tanh())
    return y.mean(dim=1)


def read(net, x):
    y = net.step(x).tanh().mean(dim=1)
    return y if x.max().item() < 100 else y.clamp(max=100)


@pytest.mark.parametrize(
    ("forward", "checked"),
    [
        (masked_by_shape, False),
        (padded, False),
        (of_ids, False),
        (packed, True),
        (read, True),
    ],
)
def test_when_the_order_of_samples_is_checked(forward, checked):
    net = seeded(
        lambda: Between(
            lambda net, x: net.head(forward(net, x)), table=nn.Embedding(3, 4)
        ),
        dtype=torch.float64,
    )
    net.register_buffer("calls", torch.zeros((), dtype=torch.long))
    probe, passes = randn(3, 4, 4), []
    x = probe[[0, 1, 2, 2]]
    x[:, :, 0] = torch.tensor([[1, 1, 0, 0], [1, -1, 1, -1], [0] * 4, [1, 1, -1, 1]])
    x[2, 1:] = 0
    with frozen(net, parameter_gradients=True):
        probe[:, 0, 0] = 1
        routes = parameter_routes(net, probe, ALL_ONES)
        net.head.register_full_backward_hook(lambda *_: passes.append(1))
        norms = squared_gradient_norms(net, x, ALL_ONES, routes)[:, 0]
        assert (len(passes) > 1) == checked
    assert_allclose(norms, looped_norms(net, x), rtol=1e-9, atol=1e-15)


def test_parameters_that_others_change_keep_their_gradients():
    def hooked(net, x):
        weight = net.step.weight * net.scale
        weight.register_hook(lambda gradient: 3 * gradient)
        return net.head(F.linear(x, weight, net.step.bias).tanh())

    net = seeded(partial(Between, hooked, scale=torch.rand(1)))
    routes = AUTOGRAD | {"scale": "autograd"}
    check_against_loop(net, randn(4, 4), routes)
    hook = net.scale.register_hook(lambda gradient: 2 * gradient)
    check_against_loop(net, randn(4, 4), routes)
    hook.remove()


def test_order_is_checked_for_every_loss():
    def forward(net, x):
        # Only the last logit, far below the others, sees the sorted layer.
        order = (x != 0).sum(dim=1).argsort(stable=True)
        last = net.step(x[order])[order.argsort(), :1] - 200
        return torch.cat([x[:, :2], last], dim=1)

    net, x = seeded(partial(Between, forward), dtype=torch.float64), randn(4, 4)
    x[2, 0] = x[3, :2] = 0
    each = partial(label_cotangents, label="each", loss="bce")
    with frozen(net, parameter_gradients=True):
        routes = parameter_routes(net, randn(3, 4), ALL_ONES)
        assert set(routes) == set(STEP)
        norms = squared_gradient_norms(net, x, each, routes)
        exact = squared_gradient_norms(net, x, each, {})
    assert_allclose(norms, exact, rtol=1e-9)


def test_hook_of_the_user_on_a_parameter():
    net = seeded(lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)))
    factor = 1
    net.double()[0].weight.register_hook(lambda gradient: factor * gradient)
    x = randn(4, 4)
    # The hook has no effect while the routes are found.
    norms, routes = norms_routed_by(net, x, x)
    assert sorted(routes) == ["0.bias", "2.bias", "2.weight"]
    factor = 2
    doubled = gradient_norms(net, x, ALL_ONES, routes)
    assert_allclose(doubled[:, 0], 4 * norms[:, 0])


@pytest.mark.parametrize("factor", [1.1, 0.99])
def test_rule_that_disagrees_with_autograd(factor, monkeypatch):
    wrong = lambda x, gradient: factor * linear_weight(x, gradient)  # noqa: E731
    monkeypatch.setattr(gradient_rules, "linear_weight", wrong)
    routes = {"weight": "autograd", "bias": "linear"}
    check_against_loop(seeded(lambda: nn.Linear(4, 3)), randn(4, 4), routes)


def spectral(net, x):
    # A complex spectrum times a real parameter.
    return net.head(torch.fft.irfft(torch.fft.rfft(net.step(x)) * net.filter))


def slope_of_its_input(net, x):
    x = x.detach().requires_grad_()
    y = net.step(x).tanh()
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    return net.head(y + slope)


def slope_alone(net, x):
    # The output itself is thrown away.
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(net.step(x).tanh().sum(), x, create_graph=True)
    return net.head(slope)


def sparse(net, x):
    return net.head(net.step(x.to_sparse()).tanh())


def checkpointed(net, x):
    y = checkpoint(lambda v: net.step(v).tanh(), x, use_reentrant=False)
    return net.head(y)


def mapped(net, x):
    return net.head(torch.vmap(net.step)(x).tanh())


@pytest.mark.parametrize(
    ("forward", "parts", "routes"),
    [
        (spectral, {"filter": torch.rand(3)}, LINEAR | {"filter": "autograd"}),
        (slope_of_its_input, {}, AUTOGRAD),
        (slope_alone, {}, AUTOGRAD),
        (sparse, {}, AUTOGRAD),
        (checkpointed, {}, dict.fromkeys(LINEAR, "autograd")),
        (mapped, {}, dict.fromkeys(LINEAR, "autograd")),
    ],
)
def test_routes_of_unusual_models(forward, parts, routes):
    net = seeded(partial(Between, forward, **parts))
    check_against_loop(net, randn(4, 4), routes, dtypes=[torch.float64])


def checkpointed_if_large(net, x):
    return checkpointed(net, x) if len(x) > 3 else net.head(net.step(x).tanh())


def overwritten_if_large(net, x):
    # Into the input of a layer, where autograd does not need it.
    y = net.step(x)
    if len(x) > 3:
        x.mul_(2)
    return net.head(y.tanh())


def used_again_if_large(net, x):
    y = net.step(x).tanh()
    if len(x) == 1 or len(x) > 3:
        y = torch.where(x[:, :1] > 0, net.step(y), y)
    return net.head(y)


def doubled_if_large(net, x):
    y = net.step(torch.cat([x, x]) if len(x) > 3 else x)
    return net.head(y[: len(x)].tanh())


@pytest.mark.parametrize(
    "forward",
    [
        checkpointed_if_large,
        overwritten_if_large,
        used_again_if_large,
        doubled_if_large,
    ],
)
def test_batches_that_are_computed_otherwise(forward):
    # Routes are found with three samples.
    x = randn(5, 4)
    probe = x.clone()
    probe[:, 0] = -1
    check_routed(forward, probe, x)


GRAM_LAYERS = {
    "linear": (lambda: nn.Linear(64, 70), (4, 64)),
    "conv2d": (lambda: nn.Conv2d(64, 70, 3, padding=1), (64, 2, 2)),
}


@pytest.mark.parametrize("name", GRAM_LAYERS)
@pytest.mark.parametrize(("before", "after"), [(1e-24, 1), (1, 1e-24), (1e22, 1e-22)])
def test_gram_matrices_stay_in_the_range_of_float32(name, before, after):
    make, shape = GRAM_LAYERS[name]

    def scaled():
        return nn.Sequential(make(), Scale(after), nn.Flatten(), Sines())

    x = before * randn(3, *shape)
    exact = looped_norms(seeded(scaled, dtype=torch.float64), x)
    norms, routes = norms_routed_by(seeded(scaled), x.float(), x.float())
    assert routes["0.weight"].rule == name
    assert_allclose(norms[:, 0], exact[:, 0], rtol=1e-3)


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


class Sines(nn.Module):
    def forward(self, x):
        frequencies = torch.arange(1, 4, device=x.device)
        return (frequencies * x.sin().mean(dim=1, keepdim=True)).to(x.dtype)


def test_gram_terms_that_cancel():
    # Positions hardly differ, and gradients sum to 0: what is left of the products is
    # a thousandth of their size.
    generator = torch.Generator().manual_seed(0)
    x = 1 + 1e-3 * torch.randn(4, 64, 6, generator=generator)
    gradient = torch.randn(4, 70, 6, generator=generator)
    gradient -= gradient.mean(dim=2, keepdim=True)
    products = gradient.double() @ x.double().transpose(1, 2)
    exact = products.square().sum(dim=(1, 2))
    assert_allclose(outer_norms(x, gradient), exact, rtol=1e-4)


def test_squares_neither_underflow_nor_overflow():
    vectors = torch.tensor([1e-25, 1.0, 1e25])[:, None].expand(3, 5)
    assert_allclose(squares(vectors), [5e-50, 5.0, 5e50], rtol=1e-6)


def test_squares_of_long_rows_keep_their_digits():
    gradients = torch.randn(2, 2048, 1024, generator=torch.Generator().manual_seed(0))
    exact = gradients.double().square().sum(dim=(1, 2))
    assert_allclose(squares(gradients), exact, rtol=1e-7)
    assert_allclose(whole_squares([*gradients]), exact, rtol=1e-7)


def test_frames_of_films_as_samples_of_a_convolution():
    def forward(net, x):
        y = net.norm(net.conv(x.flatten(0, 1))).tanh().mean(dim=(2, 3))
        return net.head(net.step(y.unflatten(0, x.shape[:2]).mean(dim=1)))

    net = seeded(
        partial(Between, forward, conv=nn.Conv2d(1, 4, 3), norm=nn.BatchNorm2d(4))
    )
    # The gradient of a convolution is no sum over rows that are kept apart.
    routes = LINEAR | {"conv.weight": "autograd", "conv.bias": "autograd"}
    routes |= {"norm.weight": "batch_norm", "norm.bias": "batch_norm"}
    check_against_loop(net, torch.rand(4, 3, 1, 6, 6), routes)


def test_memory_that_runs_out():
    def forward(net, x):
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return net.head(net.step(x).tanh())

    with pytest.raises(torch.OutOfMemoryError):
        routes_of(Between(forward), torch.rand(3, 4))
