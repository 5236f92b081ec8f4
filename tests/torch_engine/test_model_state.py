"""The model is reached, held still, and left as it was."""

import gc
from collections import namedtuple
from contextlib import suppress

import pytest
import torch
from networks import BatchNormNet
from torch import nn

from skgrad.torch_engine import model_state
from skgrad.torch_engine.model_state import (
    as_logits,
    check_device,
    frozen,
    model_device,
    model_dtype,
    on_device,
    unwrap_model,
)


def test_as_logits_accepts_the_three_forms():
    logits = torch.zeros(2, 3)

    class Output:
        def __init__(self):
            self.logits = logits

    named = namedtuple("Named", "loss logits")(None, logits)
    for output in (logits, (logits, None), [logits], Output(), (Output(), 1), named):
        assert as_logits(output, 2) is logits


@pytest.mark.parametrize(
    ("output", "came"),
    [
        (None, "it returned a NoneType"),
        ("text", "it returned a str"),
        ((), "it returned a tuple"),
        (torch.zeros(2), r"a torch.float32 tensor of shape \(2,\)"),
        (torch.zeros(1, 3), r"shape \(1, 3\)"),
        (torch.zeros(2, 1), r"shape \(2, 1\)"),
        (torch.zeros(2, 3, 4), r"shape \(2, 3, 4\)"),
        (torch.zeros(2, 3, dtype=torch.long), "a torch.int64 tensor"),
    ],
)
def test_what_is_no_logits_is_refused(output, came):
    with pytest.raises(ValueError, match=f"model must return logits.*{came}.*Wrap"):
        as_logits(output, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="model returned NaN or infinite logits"):
        as_logits(torch.tensor([[0.0, value]]), 1)


@pytest.mark.parametrize("model", ["resnet18", None, 3, nn.Linear])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module.*got"):
        unwrap_model(model)


def test_unfitted_skorch_net_is_refused():
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(nn.Linear, module__in_features=2, module__out_features=2)
    with pytest.raises(ValueError, match="this skorch net has no module_ yet"):
        unwrap_model(net)
    assert unwrap_model(net.initialize()) is net.module_


def test_frozen_restores_what_it_and_the_model_change():
    net = BatchNormNet()
    net.drop.eval()
    net.head.bias.requires_grad_(False)
    modes = [part.training for part in net.modules()]
    calls, mean = net.calls, net.norm.running_mean.clone()
    rng = torch.get_rng_state()
    with frozen(net, parameter_gradients=True):
        assert not any(part.training for part in net.modules())
        assert all(p.requires_grad for p in net.parameters())
        net(torch.rand(2, 2, 4, 4))
        net.norm.running_mean += 1
        net.calls = torch.ones((), dtype=torch.long)
    assert [part.training for part in net.modules()] == modes
    assert not net.head.bias.requires_grad
    assert net.head.weight.requires_grad
    assert net.calls is calls
    assert net.calls == 0
    assert torch.equal(net.norm.running_mean, mean)
    assert torch.equal(torch.get_rng_state(), rng)


def test_frozen_restores_buffers_of_any_kind():
    net = BatchNormNet()
    net.register_buffer("nan", torch.tensor([float("nan")]))
    net.register_buffer("nothing", None)
    net.register_buffer("sparse", torch.eye(2).to_sparse())
    kept = dict(net._buffers)
    with frozen(net):
        net.nan.resize_(3)
        net.register_buffer("new", torch.ones(1))
    assert net._buffers.keys() == kept.keys()
    assert all(net._buffers[name] is kept[name] for name in kept)
    assert net.nan.shape == (1,)
    assert net.nan.isnan().all()


def test_models_that_autograd_cannot_use_are_refused():
    with (
        pytest.raises(ValueError, match=r"model must be initialised.*'weight' has no"),
        frozen(nn.LazyLinear(2)),
    ):
        pass
    with torch.inference_mode():
        net = nn.Linear(2, 2)
    with (
        pytest.raises(
            ValueError, match=r"must not be made under torch\.inference_mode"
        ),
        frozen(net),
    ):
        pass


def test_frozen_restores_after_an_interrupt():
    net = BatchNormNet()

    def interrupted():
        with frozen(net):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert net.norm.training
    assert all(p.requires_grad for p in net.parameters())


def test_frozen_takes_off_hooks_that_an_interrupt_left():
    net = BatchNormNet()
    own = net.norm.register_forward_hook(lambda *_: None)
    hooks = dict(net.norm._forward_hooks)
    with frozen(net):
        net.norm.register_forward_hook(lambda *_: None, always_call=True)
        net.register_forward_pre_hook(lambda *_: None)
    assert dict(net.norm._forward_hooks) == hooks
    assert not net.norm._forward_hooks_always_called
    assert not net._forward_pre_hooks
    own.remove()  # goes by the very dict
    assert not net.norm._forward_hooks


class PreparesItself(nn.Linear):
    """Notes in a list that the first pass, which makes a table, was made."""

    def __init__(self):
        super().__init__(2, 2)
        self.passes, self.seen, self.known = [], {}, {1}

    def forward(self, x):
        if not self.passes:
            self.table = torch.ones(2)
        self.passes.append(x)
        self.seen["last"] = x
        self.known.add(2)
        return super().forward(x * self.table)


def test_frozen_restores_what_lists_and_dicts_hold():
    net = PreparesItself()
    kept = net.passes, net.seen, net.known
    for _ in range(2):
        with frozen(net):
            net(torch.ones(1, 2))
        assert (net.passes, net.seen, net.known) == ([], {}, {1})
    assert net.passes is kept[0]
    assert net.seen is kept[1]
    assert net.known is kept[2]


def test_models_without_values_are_refused():
    net = BatchNormNet()
    net.to("meta")
    refused = pytest.raises(ValueError, match=r"is on the meta.*load_state_dict")
    with refused, frozen(net):
        pass


def test_frozen_decides_about_autograd_whatever_the_caller_does():
    net = nn.Linear(2, 2)
    with torch.inference_mode(), frozen(net, parameter_gradients=True):
        assert net(torch.ones(1, 2)).requires_grad
    with torch.enable_grad(), frozen(net):
        assert not net(torch.ones(1, 2)).requires_grad


def test_device_and_dtype():
    net = nn.Linear(2, 2).double()
    assert model_dtype(net) == torch.float64
    assert model_dtype(nn.ReLU()) == torch.float32
    assert model_device(nn.ReLU()) == torch.device("cpu")
    assert on_device(net, None) is net
    assert on_device(net, "cpu") is net


def test_another_device_gets_a_copy(monkeypatch):
    net = nn.Linear(2, 2)
    monkeypatch.setattr(model_state, "model_device", lambda _: torch.device("cuda:7"))
    with torch.inference_mode():
        copied = on_device(net, "cpu")
    assert copied is not net
    assert torch.equal(copied.weight, net.weight)
    assert not copied.weight.is_inference()


@pytest.mark.parametrize("device", ["gpu", "cpu:x", 3.5, "meta", "fpga"])
def test_unknown_device_is_refused(device):
    with pytest.raises(ValueError, match="device must be None") as caught:
        check_device(device)
    # Of a backend that torch knows and has not, it writes pages.
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_interrupt_while_a_buffer_is_restored_keeps_the_grad_mode(mode, monkeypatch):
    net, leave, calls = nn.BatchNorm1d(2), mode.__exit__, []

    def struck_once(self, *error):
        calls.append(self)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return leave(self, *error)

    # Whichever mode the restoring enters, it is struck when it leaves that.
    with suppress(KeyboardInterrupt), frozen(net):
        net.running_mean += 1
        monkeypatch.setattr(mode, "__exit__", struck_once)
    # A guard that was not left puts back what it found when it is freed.
    calls.clear()
    gc.collect()
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert net.running_mean.tolist() == [0, 0]
