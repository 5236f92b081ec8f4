"""Every rule against autograd sample by sample, on small layers in float64."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Readout, check_against_loop, seeded
from numpy.testing import assert_allclose
from torch import nn
from torch.nn import functional as F  # noqa: N812

from skgrad.torch_engine import convolution_norms
from skgrad.torch_engine.convolution_norms import convolution_weight
from skgrad.torch_engine.gradient_norms import outer_norms
from skgrad.torch_engine.gradient_recorder import Recorder
from skgrad.torch_engine.model_state import frozen

LAYERS = {
    "linear, one row": ("linear", partial(nn.Linear, 4, 5), (4,)),
    "linear, rows": ("linear", partial(nn.Linear, 4, 5), (3, 4)),
    "linear, many rows": ("linear", partial(nn.Linear, 2, 3), (2, 9, 2)),
    "conv1d": ("conv1d", partial(nn.Conv1d, 2, 3, 3, stride=2, padding=1), (2, 9)),
    "conv1d, dilated, grouped": (
        "conv1d",
        partial(nn.Conv1d, 4, 6, 3, dilation=2, groups=2),
        (4, 9),
    ),
    "conv1d, same": ("conv1d", partial(nn.Conv1d, 2, 3, 4, padding="same"), (2, 7)),
    "conv1d, valid": ("conv1d", partial(nn.Conv1d, 2, 3, 4, padding="valid"), (2, 7)),
    "conv2d": ("conv2d", partial(nn.Conv2d, 2, 3, 3, padding=1), (2, 5, 6)),
    "conv2d, uneven": (
        "conv2d",
        partial(nn.Conv2d, 2, 3, (3, 2), stride=(1, 3), padding=(2, 0)),
        (2, 5, 8),
    ),
    "conv2d, 1 x 1": ("conv2d", partial(nn.Conv2d, 2, 3, 1), (2, 4, 4)),
    "conv2d, 1 x 1, stride": ("conv2d", partial(nn.Conv2d, 2, 3, 1, 2), (2, 5, 5)),
    "conv2d, depthwise": (
        "conv2d",
        partial(nn.Conv2d, 4, 4, 3, groups=4, padding=1),
        (4, 5, 5),
    ),
    "conv2d, circular": (
        "conv2d",
        partial(nn.Conv2d, 2, 3, 3, padding=1, padding_mode="circular"),
        (2, 5, 5),
    ),
    "conv2d, reflect, same": (
        "conv2d",
        partial(nn.Conv2d, 2, 3, 4, padding="same", padding_mode="reflect"),
        (2, 6, 6),
    ),
    "conv2d, wide, few positions": (
        "conv2d",
        partial(nn.Conv2d, 16, 16, 3, padding=1),
        (16, 3, 3),
    ),
    "conv3d": ("conv3d", partial(nn.Conv3d, 2, 3, 2, stride=2), (2, 4, 5, 4)),
    "conv_transpose1d": (
        "conv_transpose1d",
        partial(nn.ConvTranspose1d, 2, 3, 3, stride=2, padding=1, output_padding=1),
        (2, 5),
    ),
    "conv_transpose2d": (
        "conv_transpose2d",
        partial(nn.ConvTranspose2d, 4, 6, 3, stride=2, groups=2),
        (4, 3, 4),
    ),
    "conv_transpose2d, dilated": (
        "conv_transpose2d",
        partial(nn.ConvTranspose2d, 2, 3, 3, dilation=3, output_padding=2),
        (2, 4, 4),
    ),
    "conv_transpose3d": (
        "conv_transpose3d",
        partial(nn.ConvTranspose3d, 2, 2, 2, padding=1),
        (2, 3, 3, 3),
    ),
    "batch_norm, rows": ("batch_norm", partial(nn.BatchNorm1d, 4), (4,)),
    "batch_norm": ("batch_norm", partial(nn.BatchNorm2d, 4), (4, 3, 5)),
    "layer_norm": ("layer_norm", partial(nn.LayerNorm, 5), (4, 5)),
    "layer_norm, two axes": ("layer_norm", partial(nn.LayerNorm, (4, 5)), (3, 4, 5)),
    "group_norm": ("group_norm", partial(nn.GroupNorm, 2, 4), (4, 3, 5)),
    "group_norm, rows": ("group_norm", partial(nn.GroupNorm, 2, 4), (4,)),
    "instance_norm": (
        "instance_norm",
        partial(nn.InstanceNorm2d, 3, affine=True),
        (3, 4, 5),
    ),
    "instance_norm, tracking": (
        "instance_norm",
        partial(nn.InstanceNorm1d, 3, affine=True, track_running_stats=True),
        (3, 5),
    ),
    "rms_norm": ("rms_norm", partial(nn.RMSNorm, 5), (4, 5)),
    "rms_norm, eps": ("rms_norm", partial(nn.RMSNorm, (4, 5), eps=0.1), (4, 5)),
    "prelu, one": ("prelu", nn.PReLU, (4, 5)),
    "prelu, one, row": ("prelu", nn.PReLU, (4,)),
    "prelu, channels": ("prelu", partial(nn.PReLU, 4), (4, 3, 3)),
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
    rule, make, shape = LAYERS[name]
    net = unsettle(seeded(lambda: Readout(make(), nn.Tanh())))
    check_against_loop(net, draw(shape), rule)


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
    for settings_ in ({"max_norm": 0.5}, {"scale_grad_by_freq": True}):
        net = seeded(partial(Net, **settings_))
        check_against_loop(net, x, {"table.weight": "autograd", **head})


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


def test_expanded_parameter_is_not_written_to():
    class Net(nn.Module):
        """Writes into an expanded parameter; with one sample nothing forbids it."""

        def __init__(self):
            super().__init__()
            self.start = nn.Parameter(torch.rand(1, 3))

        def forward(self, x):
            return self.start.expand(len(x), -1).mul_(2) + x

    net = Net()
    before = net.start.detach().clone()
    with (
        frozen(net, parameter_gradients=True),
        Recorder([net.start], before.device, create_graph=False),
    ):
        net(torch.rand(1, 3))
    assert torch.equal(net.start, before)


class Attention(nn.Module):
    """Attention over a series, with every option."""

    def __init__(self, *, mask=None, weights=False, cross=False, **settings):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, **settings)
        self.lift = nn.Linear(3, 3)
        self.mask, self.weights, self.cross = mask, weights, cross

    def forward(self, x):
        lifted = self.lift(x[..., 4:])
        query, other = x[..., :4], lifted
        if not self.attention.batch_first:
            query, other = query.transpose(0, 1), other.transpose(0, 1)
        key = other if self.cross else query
        hidden = None
        if self.mask == "padding":
            hidden = torch.zeros(x.shape[:2], dtype=torch.bool)
            hidden[:, -1] = True
        causal = None
        if self.mask == "causal":
            causal = nn.Transformer.generate_square_subsequent_mask(
                x.shape[1], dtype=x.dtype
            )
        y, shares = self.attention(
            *(query, key, key),
            key_padding_mask=hidden,
            attn_mask=causal,
            need_weights=self.weights,
        )
        if not self.attention.batch_first:
            y = y.transpose(0, 1)
        y = y.mean(dim=1)[:, :3] + lifted.mean(dim=1) * 0.1
        return y if shares is None else y + shares.square().mean(dim=(1, 2))[:, None]


@pytest.mark.parametrize(
    "settings_",
    [
        {"batch_first": True},
        {},
        {"mask": "padding"},
        {"mask": "causal", "batch_first": True},
        {"weights": True},
        {"cross": True, "kdim": 3, "vdim": 3},
        {"add_zero_attn": True, "bias": False},
        {"add_bias_kv": True},
    ],
    ids=str,
)
def test_attention(settings_):
    net = unsettle(seeded(partial(Attention, **settings_)))
    # bias_k and bias_v are no linear layer's.
    routes = {
        name: "autograd" if name.split(".")[-1] in ("bias_k", "bias_v") else "linear"
        for name, _ in net.named_parameters()
    }
    check_against_loop(net, draw((5, 7)), routes)


def test_attention_of_different_inputs_shares_one_weight():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x.flip(1), x.tanh())[0].mean(dim=1)[:, :3]

    check_against_loop(unsettle(seeded(Net)), draw((5, 4)), "linear")


def test_transformer_encoder():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.encoder(x).mean(dim=1))

    net = unsettle(seeded(Net))
    rules = {
        name: "layer_norm" if "norm" in name else "linear"
        for name, _ in net.named_parameters()
    }
    check_against_loop(net, draw((5, 4)), rules)


def direct_norms(x, gradient, shape, **settings_):
    """Return the squared norms from torch's weight gradients, one per sample."""
    weight_of = getattr(nn.grad, f"conv{len(shape) - 2}d_weight")
    return torch.stack(
        [
            weight_of(one, shape, g, **settings_).square().sum()
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


@pytest.mark.parametrize("worthwhile", [0, 4, float("inf")])
@settings(max_examples=60, deadline=None)
@given(drawn=convolutions(), seed=st.integers(0, 1000))
def test_convolutions(worthwhile, drawn, seed):
    kernel, stride, padding, dilation, sizes, groups, n_in, n_out = drawn
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, n_in, *sizes, generator=generator, dtype=torch.float64)
    shape = (n_out, n_in // groups, *kernel)
    settings_ = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    convolve = getattr(F, f"conv{len(kernel)}d")
    output = convolve(x, torch.zeros(shape, dtype=torch.float64), None, **settings_)
    gradient = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        # By Gram matrices wherever possible, by the cheaper way, by weights.
        patch.setattr(convolution_norms, "_WORTHWHILE", worthwhile)
        norms = convolution_weight(x, gradient, kernel_size=kernel, **settings_)
    exact = direct_norms(x, gradient, shape, **settings_)
    assert_allclose(norms, exact, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("t", [1, 2, 30])
def test_outer_norms_in_chunks(t, monkeypatch):
    monkeypatch.setattr("skgrad.torch_engine.gradient_norms.CHUNK", 50)
    x, gradient = draw((4, t), 7), draw((6, t), 7)
    exact = (gradient @ x.transpose(1, 2)).square().sum(dim=(1, 2))
    assert_allclose(outer_norms(x, gradient), exact, rtol=1e-9)


@st.composite
def networks(draw):
    """Draw a small network for images of 2 channels, and the rules that it needs."""
    layers, rules, channels = [], [], 2
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(
            st.sampled_from(
                ["conv2d", "batch_norm", "group_norm", "instance_norm", "prelu", "skip"]
            )
        )
        if kind == "conv2d":
            groups = draw(st.sampled_from([1, 2]))
            wanted = 2 * draw(st.integers(1, 3))
            kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
            layers.append(nn.Conv2d(channels, wanted, kernel, stride, 1, groups=groups))
            channels = wanted
        elif kind == "batch_norm":
            layers.append(nn.BatchNorm2d(channels))
        elif kind == "group_norm":
            layers.append(nn.GroupNorm(1, channels))
        elif kind == "instance_norm":
            layers.append(nn.InstanceNorm2d(channels, affine=True))
        elif kind == "prelu":
            layers.append(nn.PReLU(channels))
        else:
            inner = nn.Conv2d(channels, channels, 3, padding=1)
            layers.append(Skip(inner))
            kind = "conv2d"
        rules += [kind] * len(list(layers[-1].parameters()))
        # Two normalisations in a row would leave the first almost no gradient.
        bends = [nn.Tanh(), nn.SiLU(inplace=True)]
        if kind in ("conv2d", "prelu"):
            # ReLU would leave none to some samples, whose order then is not sure.
            bends += [nn.LeakyReLU(0.2, inplace=True), nn.Identity()]
        layers.append(draw(st.sampled_from(bends)))
    return Readout(*layers), rules


class Skip(nn.Module):
    """A layer with a residual sum around it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) + x


@settings(max_examples=60, deadline=None)
@given(drawn=networks(), seed=st.integers(0, 1000), size=st.integers(3, 6))
def test_random_architectures(drawn, seed, size):
    net, rules = drawn
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(4, 2, size, size, generator=generator)
    names = [name for name, _ in net.named_parameters()]
    routes = dict(zip(names, rules, strict=True))
    check_against_loop(net, x, routes, dtypes=[torch.float64])
