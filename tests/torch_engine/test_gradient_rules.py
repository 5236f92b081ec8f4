"""Every rule against autograd sample by sample, on small layers in float64."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import (
    Between,
    Readout,
    check_against_loop,
    routes_of,
    seeded,
)
from numpy.testing import assert_allclose
from torch import nn
from torch.nn import functional as F  # noqa: N812

from skgrad.torch_engine import convolution_norms
from skgrad.torch_engine.convolution_norms import convolution_weight
from skgrad.torch_engine.cotangents import label_cotangents
from skgrad.torch_engine.gradient_norms import outer_norms

ALL_ONES = partial(label_cotangents, label="all", loss="bce")

# By name, whose first word is the rule: the layer, and the shape of a sample.
LAYERS = {
    "linear, one row": (lambda: nn.Linear(4, 5), (4,)),
    "linear, rows": (lambda: nn.Linear(4, 5), (3, 4)),
    "linear, many rows": (lambda: nn.Linear(2, 3), (2, 9, 2)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1), (2, 9)),
    "conv1d, groups": (lambda: nn.Conv1d(4, 6, 3, dilation=2, groups=2), (4, 9)),
    "conv1d, same": (lambda: nn.Conv1d(2, 3, 4, padding="same"), (2, 7)),
    "conv1d, valid": (lambda: nn.Conv1d(2, 3, 4, padding="valid"), (2, 7)),
    "conv2d": (lambda: nn.Conv2d(2, 3, (3, 2), (1, 3), padding=(2, 0)), (2, 5, 8)),
    "conv2d, 1 x 1": (lambda: nn.Conv2d(2, 3, 1), (2, 4, 4)),
    "conv2d, 1 x 1, stride": (lambda: nn.Conv2d(2, 3, 1, 2), (2, 5, 5)),
    "conv2d, depthwise": (
        lambda: nn.Conv2d(4, 4, 3, 2, dilation=2, groups=4, padding=1),
        (4, 8, 9),
    ),
    "conv2d, circular": (
        lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"),
        (2, 5, 5),
    ),
    "conv2d, few positions": (lambda: nn.Conv2d(16, 16, 3, padding=1), (16, 3, 3)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2, stride=2), (2, 4, 5, 4)),
    "conv_transpose1d": (
        lambda: nn.ConvTranspose1d(2, 3, 3, 2, padding=1, output_padding=1),
        (2, 5),
    ),
    "conv_transpose2d": (
        lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2),
        (4, 3, 4),
    ),
    "conv_transpose2d, dilated": (
        lambda: nn.ConvTranspose2d(2, 3, 3, dilation=3, output_padding=1),
        (2, 4, 4),
    ),
    "conv_transpose3d": (lambda: nn.ConvTranspose3d(2, 2, 2, padding=1), (2, 3, 3, 3)),
    "batch_norm, rows": (lambda: nn.BatchNorm1d(4), (4,)),
    "batch_norm": (lambda: nn.BatchNorm2d(4, eps=0.1), (4, 3, 5)),
    "layer_norm": (lambda: nn.LayerNorm(5, eps=0.1), (4, 5)),
    "layer_norm, two axes": (lambda: nn.LayerNorm((4, 5)), (3, 4, 5)),
    "group_norm": (lambda: nn.GroupNorm(2, 4, eps=0.1), (4, 3, 5)),
    "group_norm, rows": (lambda: nn.GroupNorm(2, 4), (4,)),
    "instance_norm": (lambda: nn.InstanceNorm2d(3, 0.1, affine=True), (3, 4, 5)),
    "instance_norm, tracking": (
        lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True),
        (3, 5),
    ),
    "rms_norm": (lambda: nn.RMSNorm(5), (4, 5)),
    "rms_norm, eps": (lambda: nn.RMSNorm((4, 5), eps=0.1), (4, 5)),
    "prelu, one": (nn.PReLU, (4, 5)),
    "prelu, channels": (lambda: nn.PReLU(4), (4, 3, 3)),
}


def unsettle(net):
    """Move parameters and running statistics away from what they start from."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in [*net.parameters(), *net.buffers()]:
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.add_(noise.to(tensor.dtype))
    return net


def draw(shape, n_samples=4):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(n_samples, *shape, generator=generator, dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", LAYERS)
def test_rule_against_autograd(name):
    make, shape = LAYERS[name]
    net = unsettle(seeded(lambda: Readout(make(), nn.Tanh())))
    check_against_loop(net, draw(shape), name.partition(",")[0])


def test_embedding():
    class Net(nn.Module):
        def __init__(self, **settings):
            super().__init__()
            self.table = nn.Embedding(6, 4, **settings)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.table(x).mean(dim=1).tanh())

    # Indices that repeat within a sample and across samples, and the padding.
    x = torch.tensor([[0, 1, 1, 5], [5, 5, 5, 5], [2, 3, 4, 0], [0, 0, 1, 2]])
    head = {"head.weight": "linear", "head.bias": "linear"}
    norms = check_against_loop(
        seeded(partial(Net, padding_idx=0)), x, {"table.weight": "embedding", **head}
    )
    assert (norms[:, 0] > 0).all()
    for options in ({"max_norm": 0.5}, {"scale_grad_by_freq": True}):
        net = seeded(partial(Net, **options))
        check_against_loop(net, x, {"table.weight": "autograd", **head})
        # Also where no index repeats, so that the rule would be right by chance.
        distinct = torch.arange(6).view(3, 2)
        assert routes_of(net, distinct)["table.weight"] == "autograd"


class Broadcast(nn.Module):
    """Parameters added, multiplied and expanded, as transformers use them."""

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.rand(1, 1, 4))
        self.places = nn.Parameter(torch.rand(1, 6, 4))
        self.scale = nn.Parameter(torch.rand(4))
        self.column = nn.Parameter(torch.rand(6, 1))
        self.number = nn.Parameter(torch.rand(()))
        self.shift = nn.Parameter(torch.rand(4))
        self.masked = nn.Parameter(torch.rand(4))
        self.mask = torch.tensor([1.0, 0.0, 1.0, 1.0])

    def forward(self, x):
        token = self.token.expand(len(x), -1, -1)
        x = torch.cat([token, x], dim=1) + self.places
        x = self.scale * x.tanh() - self.shift
        x = F.leaky_relu_(torch.mul(x, self.column))
        x = x * (self.masked * self.mask.to(x.dtype))
        return (x.tanh() * self.number).sum(dim=1)[:, :3]


def test_parameters_that_are_broadcast():
    routes = {
        "token": "expand",
        "places": "sum",
        "scale": "product",
        "column": "product",
        "number": "product",
        "shift": "sum",
        "masked": "autograd",  # its product has no samples in it
    }
    check_against_loop(seeded(Broadcast), draw((5, 4)), routes)


def looked_up(net, x):
    # Once for all samples, as positions are.
    return net.step(x + net.table(torch.arange(x.shape[1]))[None]).tanh()


def biased(net, x):
    scores = net.relative[net.index].view(5, 5, 2).permute(2, 0, 1)
    heads = x.unflatten(-1, (2, 2)).transpose(1, 2)
    y = F.scaled_dot_product_attention(heads, heads, heads, scores.contiguous())
    return net.step(y.transpose(1, 2).flatten(2)).tanh()


def adapted(net, x):
    weight = net.step.weight + net.up @ net.down
    return F.linear(x, weight, net.step.bias).tanh()


def scaled(net, x):
    y = x.clone()
    y += net.shift
    y = net.step(y) / net.size.exp()
    masked = torch.where(x[..., :1] > 0, y, net.fill.tanh())
    return torch.addcmul(net.shift_after, net.size_after, masked).tanh()


def joined(net, x):
    token = (net.token * 2).repeat(len(x), 1, 1)
    return net.step(torch.cat([token, x + net.places[1:]], dim=1)).tanh()


def transposed(net, x):
    rows = torch.addmm(net.bias, x.reshape(-1, 4), net.weight * net.size)
    return net.step(rows.view(x.shape) @ net.turn).tanh()


def taken_twice(net, x):
    # In one call, what is made of a parameter and the parameter itself.
    weight = net.scale * net.step.weight * net.step.bias
    return F.linear(x, weight, net.step.bias).tanh()


MADE = {
    looked_up: ({"table": nn.Embedding(5, 4)}, {"table.weight": "expand"}),
    biased: ({"relative": torch.rand(9, 2)}, {"relative": "expand"}),
    adapted: (
        {"up": torch.rand(4, 2), "down": torch.rand(2, 4)},
        {"up": "linear", "down": "linear"},
    ),
    scaled: (
        {
            **{"shift": torch.rand(4), "size": torch.rand(4), "fill": torch.rand(4)},
            **{"shift_after": torch.rand(4), "size_after": torch.rand(5, 4)},
        },
        dict.fromkeys(("shift", "size", "fill", "shift_after", "size_after"), "expand"),
    ),
    joined: (
        {"token": torch.rand(1, 1, 4), "places": torch.rand(6, 4)},
        {"token": "expand", "places": "expand"},
    ),
    transposed: (
        {
            **{"bias": torch.rand(4), "weight": torch.rand(4, 4)},
            **{"size": torch.rand(4), "turn": torch.rand(4, 4)},
        },
        dict.fromkeys(("bias", "weight", "size", "turn"), "linear"),
    ),
    taken_twice: ({"scale": torch.rand(1)}, {"scale": "linear"}),
}


@pytest.mark.parametrize("forward", MADE, ids=lambda forward: forward.__name__)
def test_what_is_made_of_parameters(forward):
    parts, routes = MADE[forward]

    def make():
        net = Between(lambda net, x: net.head(forward(net, x).mean(dim=1)), **parts)
        net.register_buffer("index", torch.arange(25) % 9)
        return net

    linear = ("step.weight", "step.bias", "head.weight", "head.bias")
    check_against_loop(
        seeded(make), draw((5, 4)), dict.fromkeys(linear, "linear") | routes
    )


class Attention(nn.Module):
    """Attention over a series whose samples have 7 features."""

    def __init__(self, *, causal=False, weights=False, key=None, **settings):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, **settings)
        self.lift = nn.Linear(3, 3)
        self.causal, self.weights, self.key = causal, weights, key

    def forward(self, x):
        query, lifted = x[..., :4], self.lift(x[..., 4:])
        key = {"lifted": lifted, "tanh": query.tanh()}.get(self.key, query)
        mask = None
        if self.causal:
            mask = nn.Transformer.generate_square_subsequent_mask(
                x.shape[1], dtype=x.dtype
            )
        inputs = query, key, query if self.key == "tanh" else key
        if not self.attention.batch_first:
            inputs = (one.transpose(0, 1) for one in inputs)
        y, shares = self.attention(*inputs, attn_mask=mask, need_weights=self.weights)
        if not self.attention.batch_first:
            y = y.transpose(0, 1)
        y = y.mean(dim=1)[:, :3] + lifted.mean(dim=1) * 0.1
        return y if shares is None else y + shares.square().mean(dim=(1, 2))[:, None]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"causal": True, "batch_first": True},
        {"weights": True},
        {"key": "lifted", "kdim": 3, "vdim": 3},
        {"key": "tanh"},
        {"add_zero_attn": True, "bias": False},
        {"add_bias_kv": True},
    ],
    ids=str,
)
def test_attention(options):
    net = unsettle(seeded(partial(Attention, **options)))
    # bias_k and bias_v belong to no linear layer.
    routes = {
        name: "autograd" if name.split(".")[-1] in ("bias_k", "bias_v") else "linear"
        for name, _ in net.named_parameters()
    }
    check_against_loop(net, draw((5, 7)), routes)


def direct_norms(x, gradient, shape, **options):
    """Return the squared norms from torch's weight gradients, one per sample."""
    weight_of = getattr(nn.grad, f"conv{len(shape) - 2}d_weight")
    return torch.stack(
        [
            weight_of(one, shape, g, **options).square().sum()
            for one, g in zip(x.split(1), gradient.split(1), strict=True)
        ]
    )


@st.composite
def convolutions(draw):
    """Draw a convolution of one to three axes that has an output."""
    n_axes = draw(st.integers(1, 3))
    axis = st.tuples(
        st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 3)
    )
    axes = draw(st.lists(axis, min_size=n_axes, max_size=n_axes))
    kernel, stride, padding, dilation = (list(t) for t in zip(*axes, strict=True))
    spare = draw(st.lists(st.integers(0, 4), min_size=n_axes, max_size=n_axes))
    sizes = [
        max(1, d * (k - 1) + 1 - 2 * p + extra)
        for (k, _, p, d), extra in zip(axes, spare, strict=True)
    ]
    groups = draw(st.integers(1, 2))
    n_in, n_out = (groups * draw(st.integers(1, 3)) for _ in range(2))
    return kernel, stride, padding, dilation, sizes, groups, n_in, n_out


# Copies for up to so many channels, and Gram matrices that save so much of the rest: by
# copies, by Gram matrices, by weights.
@pytest.mark.parametrize(("few", "worthwhile"), [(64, 4), (0, 0), (0, float("inf"))])
@settings(max_examples=80, deadline=None)
@given(drawn=convolutions(), seed=st.integers(0, 1000))
def test_convolutions(few, worthwhile, drawn, seed):
    kernel, stride, padding, dilation, sizes, groups, n_in, n_out = drawn
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, n_in, *sizes, generator=generator, dtype=torch.float64)
    shape = (n_out, n_in // groups, *kernel)
    options = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    convolve = getattr(F, f"conv{len(kernel)}d")
    output = convolve(x, torch.zeros(shape, dtype=torch.float64), None, **options)
    gradient = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution_norms, "_FEW_CHANNELS", few)
        patch.setattr(convolution_norms, "_WORTHWHILE", worthwhile)
        norms = convolution_weight(x, gradient, kernel_size=kernel, **options)
    exact = direct_norms(x, gradient, shape, **options)
    assert_allclose(norms, exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("stride", "padding"), [(1, 1), (2, 1), (2, 0)])
def test_depthwise_convolutions_of_large_images(stride, padding, order):
    generator = torch.Generator().manual_seed(0)
    options = {
        "stride": (stride, stride),
        "padding": (padding, padding),
        "dilation": (1, 1),
        "groups": 8,
    }
    shape = (8, 1, 3, 3)
    x = torch.randn(3, 8, 100, 100, generator=generator)
    assert x[0].numel() > convolution_norms._LARGE
    output = F.conv2d(x, torch.zeros(shape), None, **options)
    gradient = torch.randn(output.shape, generator=generator)
    exact = direct_norms(x.double(), gradient.double(), shape, **options)
    parts = (tensor.contiguous(memory_format=order) for tensor in (x, gradient))
    norms = convolution_weight(*parts, kernel_size=(3, 3), **options)
    assert_allclose(norms, exact, rtol=1e-5)


@pytest.mark.parametrize("t", [1, 2, 30])
def test_outer_norms_in_chunks(t, monkeypatch):
    monkeypatch.setattr("skgrad.torch_engine.gradient_norms.CHUNK", 50)
    x, gradient = draw((4, t), 7), draw((6, t), 7)
    exact = (gradient @ x.transpose(1, 2)).square().sum(dim=(1, 2))
    assert_allclose(outer_norms(x, gradient), exact, rtol=1e-9)


# Both tiny, both huge, and Gram matrices that leave float32 though the norm does not.
@pytest.mark.parametrize("x_size", [1e-30, 1e-22, 1e-8, 1, 1e18])
@pytest.mark.parametrize("size", [1e-30, 1e-22, 1e-8, 1, 1e18])
def test_outer_norms_of_any_size(x_size, size):
    x, gradient = draw((9, 3), 6), draw((8, 3), 6)
    x[1] *= 1e-6  # one sample far smaller than the others
    x[2, :, 0], gradient[2, :, 1:] = 1e-9 * x[2, :, 0], 0  # seen at one position alone
    # Terms that nearly cancel, and a sample without gradient.
    x[3, :, 1], gradient[3, :, 1] = x[3, :, 0], 1e-4 - gradient[3, :, 0]
    x[3, :, 2], gradient[4] = 0, 0
    x, gradient = (x * x_size).float(), (gradient * size).float()
    exact = (gradient.double() @ x.double().transpose(1, 2)).square().sum(dim=(1, 2))
    assert_allclose(outer_norms(x, gradient), exact, rtol=2e-5)
