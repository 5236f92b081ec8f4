"""A network held over many calls: the same answers, and changes are noticed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from model_state import assert_same_state, state_of
from networks import BatchNormNet, images
from sklearn.base import clone
from torch import nn

import skgrad
from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
)
from skgrad.torch_engine.model_state import frozen

X = images(6, (2, 4, 4)).astype(np.float64)
TRANSFORMERS = (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
)
A_MINUTE = 60  # to fail where threads wait for one another


def in_use():
    """Return a network in the middle of its user's training."""
    torch.manual_seed(0)
    net = BatchNormNet().double()
    net(torch.from_numpy(X)).sum().backward()
    net.drop.eval()
    net.head.bias.requires_grad_(False)
    return net


@pytest.fixture
def net():
    return in_use()


def rows(transformer):
    return np.concatenate([transformer.transform(x[None]) for x in X])


@pytest.mark.parametrize("transformer_class", TRANSFORMERS)
def test_same_features_and_the_same_network_after(transformer_class, net):
    transformer = transformer_class(net).fit(X)
    expected, before = rows(transformer), state_of(net)
    with skgrad.hold(net):
        inside = state_of(net)
        np.testing.assert_array_equal(rows(transformer), expected)
        np.testing.assert_array_equal(rows(clone(transformer).fit(X)), expected)
        # Each call restores all but the modes, also buffers that the model writes.
        assert_same_state(inside, state_of(net))
        assert not any(part.training for part in net.modules())
    assert_same_state(before, state_of(net))


@pytest.mark.parametrize("caller", [torch.no_grad, torch.inference_mode])
def test_errors_end_a_call_or_the_block(net, caller):
    transformer = ConfoundingGradientTransformer(net).fit(X)
    expected, before = rows(transformer), state_of(net)

    def work():
        with caller(), skgrad.hold(net):
            inside = state_of(net)
            with pytest.raises(ValueError, match="X"):
                transformer.transform(X * np.nan)
            hook = net.head.register_forward_hook(interrupt)
            with hook, pytest.raises(ZeroDivisionError):
                transformer.transform(X)
            assert_same_state(inside, state_of(net))
            np.testing.assert_array_equal(rows(transformer), expected)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert_same_state(before, state_of(net))


def interrupt(*_):
    raise ZeroDivisionError


def test_threads_share_a_network_that_is_held(net):
    transformer = ConfoundingGradientTransformer(net).fit(X)
    expected, before = rows(transformer), state_of(net)

    def work(hold_it):
        if not hold_it:
            return rows(transformer)
        with skgrad.hold(net):
            return rows(transformer)

    # The thread that holds the network waits for the others inside of the block.
    with ThreadPoolExecutor(4) as pool, skgrad.hold(net):
        for features in pool.map(work, [False, True] * 3, timeout=A_MINUTE):
            np.testing.assert_array_equal(features, expected)
        assert not net.training
    assert_same_state(before, state_of(net))


def test_blocks_of_two_threads_overlap(net):
    entered, left = threading.Event(), threading.Event()

    def work():
        with skgrad.hold(net):
            entered.set()
            assert left.wait(A_MINUTE)
            assert not net.training

    with ThreadPoolExecutor(1) as pool:
        with skgrad.hold(net):
            other = pool.submit(work)
            assert entered.wait(A_MINUTE)
        left.set()
        other.result(A_MINUTE)
    assert net.training


def test_blocks_are_nested(net):
    with skgrad.hold(net):
        with skgrad.hold(net):
            pass
        assert not net.training
    assert net.training
    assert not net.drop.training


def test_calls_inside_of_calls(net):
    x = torch.from_numpy(X)
    with skgrad.hold(net), frozen(net, parameter_gradients=True):
        net(x)
        with frozen(net):
            assert not any(p.requires_grad for p in net.parameters())
            net(x)
        assert all(p.requires_grad for p in net.parameters())
        assert net.calls == 2  # that of fit, and the outer call's
    assert net.calls == 1


def test_a_call_walks_through_no_modules():
    class Counting(BatchNormNet):
        n_walks = 0

        def named_modules(self, *args, **kwargs):  # parameters() and modules() ask it
            self.n_walks += 1
            return super().named_modules(*args, **kwargs)

    net = Counting()

    def walks():
        before = net.n_walks
        with frozen(net, parameter_gradients=True):
            net(torch.from_numpy(X).float())
        return net.n_walks - before

    assert walks() > 0
    with skgrad.hold(net):
        assert walks() == 0
    assert walks() > 0


def test_wrappers_parts_and_skorch_nets(net):
    class Net:  # what of skorch's NeuralNet counts
        module_ = net

    wrapper = nn.Sequential(net)
    expected = rows(LayerActivationTransformer(net, "head").fit(X))
    before = state_of(net)
    with skgrad.hold(Net()):
        for model, layer in [(Net(), "head"), (wrapper, "0.head")]:
            features = rows(LayerActivationTransformer(model, layer).fit(X))
            np.testing.assert_array_equal(features, expected)
        with skgrad.hold(wrapper):
            pass
        assert not net.training
    assert_same_state(before, state_of(net))
    with pytest.raises(TypeError, match="model must be"), skgrad.hold("resnet18"):
        pass


def train(net):
    net.train()
    optimizer = torch.optim.SGD([net.conv.weight], lr=0.1)
    net(torch.from_numpy(X)).sum().backward()
    optimizer.step()


def write(net):
    net.norm.running_mean += 1


def replace_layer(net):
    net.head = nn.Linear(4, 3).double()


def replace_parameter(net):
    net.head.bias = nn.Parameter(torch.ones(3).double())


# What others do, and what the warning says of it.
CHANGES = {
    "training": (
        train,
        r"mode of the model,.*buffer 'calls'.*parameter 'conv\.weight'",
    ),
    "weights loaded": (
        lambda net: net.load_state_dict(BatchNormNet().state_dict()),
        r"parameter 'conv\.weight'",
    ),
    "weights assigned": (
        lambda net: setattr(net.conv.weight, "data", torch.ones(4, 2, 3, 3).double()),
        r"parameter 'conv\.weight'",
    ),
    "precision": (lambda net: net.float().double(), r"parameter 'conv\.weight'"),
    "mode": (lambda net: net.norm.train(), "mode of 'norm'"),
    "buffer written": (write, r"buffer 'norm\.running_mean'"),
    "buffer added": (
        lambda net: net.conv.register_buffer("new", torch.ones(1)),
        r"buffer 'conv\.new'",
    ),
    "layer added": (lambda net: net.add_module("new", nn.ReLU()), "module 'new'"),
    "normalisation replaced": (
        lambda net: setattr(net, "norm", nn.BatchNorm2d(4).double()),
        "module 'norm'",
    ),
    "layer replaced": (replace_layer, r"module 'head'; parameter 'head\.weight'"),
    "parameter replaced": (replace_parameter, r"held it: parameter 'head\.bias'\. "),
    "parameter removed": (lambda net: delattr(net.head, "bias"), r"'head\.bias'"),
}


@pytest.mark.parametrize("call_after", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed_and_stays(net, change, call_after):
    make, message = CHANGES[change]
    modes = [(part, part.training) for part in net.modules()]
    warned = pytest.warns(UserWarning, match=rf"model changed .*{message}")
    with warned as caught, skgrad.hold(net):
        make(net)
        changed = {name: t.clone() for name, t in net.state_dict().items()}
        if call_after and change != "parameter removed":
            expected = LayerActivationTransformer(nn.Sequential(net)).fit_transform(X)
            features = LayerActivationTransformer(net).fit_transform(X)
            np.testing.assert_array_equal(features, expected)
    assert caught[0].filename == __file__
    assert [(part, part.training) for part, _ in modes] == modes
    now = net.state_dict()
    assert now.keys() == changed.keys()
    assert all(torch.equal(now[name], changed[name]) for name in changed)


def test_a_change_does_not_hide_an_error(net):
    def work():
        with skgrad.hold(net):
            write(net)
            raise KeyError

    with pytest.warns(UserWarning, match="model changed"), pytest.raises(KeyError):
        work()
