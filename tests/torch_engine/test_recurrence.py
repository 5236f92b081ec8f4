"""Gradient norms of recurrent layers, step by step against torch's own functions."""

import weakref
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
from torch.nn.utils.rnn import pack_padded_sequence

from skgrad.torch_engine.cotangents import label_cotangents
from skgrad.torch_engine.gradient_recorder import Recorder
from skgrad.torch_engine.model_state import frozen

ALL_ONES = partial(label_cotangents, label="all", loss="bce")
KINDS = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "tanh": nn.RNN,
    "relu": partial(nn.RNN, nonlinearity="relu"),
}
OPTIONS = {
    "plain": {},
    "without biases": {"bias": False},
    "samples first": {"batch_first": True},
    "two layers": {"num_layers": 2, "dropout": 0.5},
    "both ways": {"num_layers": 2, "bidirectional": True},
}


class Series(nn.Module):
    """A recurrent layer over series (n_samples, n_times, 3), and a head over all of it.

    ``between`` takes the layer and the series, by default with times first.
    """

    def __init__(self, kind, between=None, **options):
        super().__init__()
        self.rnn = kind(3, 4, **options)
        self.head = nn.LazyLinear(3)
        self.between = between

    def forward(self, x):
        if self.between is not None:
            return self.head(self.between(self.rnn, x))
        x = x if self.rnn.batch_first else x.transpose(0, 1)
        outputs, ends = self.rnn(x)
        ends = ends if isinstance(ends, tuple) else (ends,)
        by_times = outputs if self.rnn.batch_first else outputs.transpose(0, 1)
        ends = [end.transpose(0, 1).flatten(1) for end in ends]
        return self.head(torch.cat([by_times.flatten(1), *ends], dim=1))


def series(kind, between=None, **options):
    def make():
        net = Series(kind, between, **options)
        net(torch.rand(2, 5, 3))
        return net

    return seeded(make).double().eval()


def draw(n_samples=4):
    return torch.randn(n_samples, 5, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_norms_by_the_rule_of_linear_layers(kind, options):
    check_against_loop(series(kind, **options), draw(), "linear")


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_steps_return_what_torch_returns(kind, options):
    net, x = series(kind, **options), draw().double()
    recorder = Recorder(net.parameters(), x.device)
    recorder.expect(net, [x])
    with recorder:
        logits = net(x)
    # A use for what comes from the input, one for the states, and one of the head.
    n_layers = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    assert len(recorder.uses) == 2 * n_layers + 1
    torch.testing.assert_close(logits, net(x), rtol=1e-12, atol=1e-14)


def test_states_to_start_from():
    def begun(rnn, x):
        start = x[:, 0] @ x.new_ones(3, 4).cumsum(dim=0)
        return rnn(x.transpose(0, 1), (start[None], start[None].sin()))[0][-1]

    check_against_loop(series(nn.LSTM, begun), draw(), "linear")


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_last_time_of_both_directions(kind):
    # Backwards, that is the first step, from a state of zeros.
    def last(rnn, x):
        return rnn(x)[0][:, -1]

    net, x = series(kind, last, batch_first=True, bidirectional=True), draw()
    norms = check_against_loop(net, x, "linear")
    backwards = [n for n, _ in net.named_parameters()].index("rnn.weight_hh_l0_reverse")
    assert (norms[:, backwards] == 0).all()


def test_learned_states_to_start_from():
    def begun(net, x):
        start = net.start.expand(-1, len(x), -1)
        return net.head(net.rnn(x.transpose(0, 1), start)[0][-1])

    def make():
        return Between(begun, rnn=nn.GRU(3, 4), start=torch.rand(1, 1, 4))

    net = seeded(make)
    ruled = [n for n, _ in net.named_parameters() if not n.startswith("step")]
    check_against_loop(net, draw(), ruled)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tied_biases_go_through_autograd(dtype):
    net = series(nn.RNN)
    net.rnn.bias_hh_l0 = net.rnn.bias_ih_l0
    net, x = net.to(dtype), draw().to(dtype)
    routes = routes_of(net, x)
    assert routes["rnn.bias_ih_l0"] == "autograd"
    assert_allclose(gradient_norms(net, x, ALL_ONES), looped_norms(net, x), rtol=0.05)


def test_graph_is_freed_without_a_backward_pass():
    net, x = series(nn.LSTM), draw().double()
    recorder = Recorder(net.parameters(), x.device)
    recorder.expect(net, [x])
    with recorder:
        outputs = net.rnn(x.transpose(0, 1))[0]
    # The graph holds the taps, and those the uses.
    use = weakref.ref(recorder.uses[-1])
    del recorder
    assert use() is not None
    del outputs
    assert use() is None


def packed(rnn, x):
    lengths = torch.full((len(x),), 4)
    return rnn(pack_padded_sequence(x, lengths, batch_first=True))[1][-1]


def twice(rnn, x):
    return rnn(x.transpose(0, 1))[0][-1] + rnn(x.flip(1).transpose(0, 1))[0][-1]


def projected(rnn, x):
    return rnn(x.transpose(0, 1))[0][-1]


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")
@pytest.mark.parametrize(
    ("kind", "between", "options"),
    [
        (nn.GRU, packed, {}),
        (nn.LSTM, projected, {"proj_size": 2}),
        (nn.GRU, twice, {}),
    ],
)
def test_others_go_through_autograd(kind, between, options):
    net = series(kind, between, **options)
    check_against_loop(net, draw(), ["head.weight", "head.bias"])


def test_norms_can_be_differentiated():
    net, x = series(nn.LSTM), draw().double()
    with frozen(net, parameter_gradients=True):
        routes = parameter_routes(net, x, ALL_ONES)
        slopes = []
        for known in (routes, {}):
            leaf = x.clone().requires_grad_(True)
            norms = squared_gradient_norms(
                net, leaf, ALL_ONES, known, create_graph=True
            )
            slopes += torch.autograd.grad(norms.log().sum(), leaf)
    assert_allclose(slopes[0], slopes[1], rtol=1e-9, atol=1e-12)
