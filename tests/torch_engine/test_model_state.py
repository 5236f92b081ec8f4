"""A model is reached, held still, and left as it was."""

import random
import threading
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from networks import BatchNormNet, images, layer_activations, seeded
from numpy.testing import assert_allclose
from torch import nn

from skgrad import ConfoundingGradientTransformer, CosineSimilarityMatrixTransformer
from skgrad.torch_engine import model_state
from skgrad.torch_engine.model_state import (
    as_logits,
    check_device,
    frozen,
    model_device,
    model_dtype,
    on_device,
)
from skgrad.torch_engine.restoring import SharedSetting, torch_seeded


def test_as_logits_accepts_the_three_forms():
    logits = torch.zeros(2, 3)

    class Output:
        def __init__(self):
            self.logits = logits

    named = namedtuple("Named", "loss logits")(None, logits)
    for output in (logits, (logits, None), [logits], Output(), (Output(), 1), named):
        assert as_logits(output, 2) is logits


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
        torch.rand(3)
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
    net.register_buffer("turned", torch.arange(6.0).reshape(2, 3).T)
    with torch.inference_mode():
        net.register_buffer("inference", torch.ones(2))
    kept = dict(net._buffers)
    with frozen(net):
        net.nothing = torch.ones(1)
        net.nan = torch.ones(3)
        net.sparse.mul_(2)
        net.turned.mul_(2)
        with torch.inference_mode():
            net.inference.mul_(2)
        net.register_buffer("new", torch.ones(1))
        net.conv.register_buffer("new", torch.ones(1))
    assert net._buffers.keys() == kept.keys()
    assert all(net._buffers[name] is kept[name] for name in kept)
    assert net.nan.isnan().all()
    assert torch.equal(net.sparse.to_dense(), torch.eye(2))
    assert torch.equal(net.turned, torch.arange(6.0).reshape(2, 3).T)
    assert torch.equal(net.inference, torch.ones(2))
    assert not net.conv._buffers


def test_frozen_restores_modes_and_flags_that_the_model_changes():
    net = BatchNormNet()
    net.drop.eval()
    net.head.bias.requires_grad_(False)
    with frozen(net, parameter_gradients=True):
        net.train().requires_grad_(False)
    assert [name for name, part in net.named_modules() if not part.training] == ["drop"]
    kept = [name for name, p in net.named_parameters() if not p.requires_grad]
    assert kept == ["head.bias"]


def test_frozen_leaves_buffers_that_nothing_was_written_to():
    net = nn.BatchNorm1d(2)
    loss = (net.running_var * torch.ones(2, requires_grad=True)).sum()
    with frozen(net):
        net(torch.ones(2, 2))
    loss.backward()  # would raise, had the buffer been written to


def test_models_without_values_are_rejected():
    net = BatchNormNet()
    net.to("meta")
    rejected = pytest.raises(ValueError, match=r"is on the meta.*load_state_dict")
    with rejected, frozen(net):
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
def test_unknown_device_is_rejected(device):
    with pytest.raises(ValueError, match="device must be None") as caught:
        check_device(device)
    # Of a backend that torch knows and has not, it writes pages.
    assert len(str(caught.value)) < 500


def test_seeding_is_undone_and_waits_for_other_threads():
    before = torch.get_rng_state()
    with torch_seeded(0, torch.device("cpu")):
        expected = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), before)

    def draw(_):
        with torch_seeded(0, torch.device("cpu")):
            numbers = []
            for _ in range(4):
                time.sleep(random.uniform(0, 0.002))
                numbers.append(torch.rand(()))
        return torch.stack(numbers)

    with ThreadPoolExecutor(4) as pool:
        for numbers in pool.map(draw, range(8)):
            assert torch.equal(numbers, expected)
    assert torch.equal(torch.get_rng_state(), before)


class Sleeping(nn.Linear):
    """Notes how many threads are inside of its forward pass at once."""

    inside, most = 0, 0

    def __init__(self):
        super().__init__(2, 2)

    def forward(self, x):
        assert not self.training
        Sleeping.inside += 1
        Sleeping.most = max(Sleeping.most, Sleeping.inside)
        time.sleep(0.05)
        Sleeping.inside -= 1
        return super().forward(x)


def score_in_threads(nets):
    """Run each net in a thread of its own; return how many ran at once."""
    Sleeping.most = 0
    start = threading.Barrier(len(nets))

    def run(net):
        start.wait()
        with frozen(net):
            return net(torch.ones(1, 2))

    with ThreadPoolExecutor(len(nets)) as pool:
        list(pool.map(run, nets))
    return Sleeping.most


def test_threads_on_different_networks_run_at_once():
    nets = [Sleeping() for _ in range(4)]
    before = torch.get_rng_state()
    assert score_in_threads(nets) == 4
    assert all(net.training for net in nets)
    assert torch.equal(torch.get_rng_state(), before)


def test_threads_on_one_network_take_turns():
    net = Sleeping()
    assert score_in_threads([net] * 3) == 1
    # A wrapper, and another network that begins with the same layers.
    nets = [net, nn.Sequential(nn.Flatten(), net), nn.Sequential(net, nn.Linear(2, 2))]
    assert score_in_threads(nets) == 1
    assert all(part.training for other in nets for part in other.modules())
    assert net.training


def test_settings_of_the_process_end_with_their_last_user():
    made = []

    @contextmanager
    def make():
        made.append("on")
        yield
        made.append("off")

    setting = SharedSetting(make)
    with setting:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(setting.__enter__).result()
        assert made == ["on"]
    assert made == ["on"]
    setting.__exit__()
    assert made == ["on", "off"]


class Padded(nn.Module):
    """A transformer's encoder over series in which 0 is padding."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        padding = (x == 0).all(dim=2)
        return self.head(self.encoder(x, src_key_padding_mask=padding)[:, 0])


def test_encoder_with_a_padding_mask():
    net, x = seeded(Padded), torch.rand(4, 5, 4)
    x[1, 3:] = x[2, 1:] = 0
    layers = [
        f"encoder.layers.{n}.{part}" for n in "01" for part in ("linear2", "norm2")
    ]
    found = []
    for gradients in (False, True):
        with frozen(net, parameter_gradients=gradients):
            assert not torch.backends.mha.get_fastpath_enabled()
            found.append(layer_activations(net, x, [*layers, "head"], pooling="mean"))
    assert torch.backends.mha.get_fastpath_enabled()
    for without, with_gradients in zip(*found, strict=True):
        torch.testing.assert_close(without, with_gradients)


class Hybrid(nn.Module):
    """Tokens of an image behind a normalisation."""

    def __init__(self, norm):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 2), norm
        self.tokens, self.head = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x):
        tokens = self.norm(self.conv(x)).flatten(2).mT
        return self.head(self.tokens(tokens).tanh().mean(dim=1))


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_gradients_of_one_image_behind_a_normalisation(kind):
    net = seeded(lambda: Hybrid(kind(4, affine=True)), dtype=torch.float64).eval()
    X = images(3, (2, 4, 4))
    for family in (
        ConfoundingGradientTransformer(net),
        CosineSimilarityMatrixTransformer(net, sign=False, output="upper"),
    ):
        together = family.fit_transform(X)
        alone = family.set_params(batch_size=1).transform(X)
        # An instance normalisation takes away the bias before it, whose norm is noise.
        assert_allclose(alone, together, rtol=1e-9, atol=1e-30)
