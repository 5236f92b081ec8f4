"""What a network is known by."""

import copy

import pytest
import torch
from networks import AnyWidth, BatchNormNet, seeded, two_classes
from torch import nn

from skgrad.torch_engine.fingerprint import network_identity


def test_it_is_the_same_in_every_version():
    assert network_identity(two_classes()) == {
        "class": "Linear",
        "n_parameters": 6,
        "fingerprint": "2ad4e4e7476b268070c73f8c45c28d1c",
    }


def test_only_content_counts():
    net = seeded(BatchNormNet)
    before = network_identity(net)
    twin = copy.deepcopy(net).eval().requires_grad_(False)
    twin.conv.weight.grad = torch.ones_like(twin.conv.weight)
    assert network_identity(twin) == before
    strided = copy.deepcopy(net).to(memory_format=torch.channels_last)
    assert network_identity(strided) == before
    assert net.training


CHANGES = {
    "buffer": lambda net: net.norm.running_mean.add_(1),
    "weight": lambda net: net.head.weight.data[0].mul_(2),
    "dtype": lambda net: net.double(),
    "layer": lambda net: setattr(net, "drop", nn.Identity()),
    "empty buffer": lambda net: net.register_buffer("more", torch.zeros(0)),
    "buffer that is not saved": lambda net: net.register_buffer(
        "mean", torch.ones(1), persistent=False
    ),
    "stride": lambda net: setattr(net.conv, "stride", (2, 2)),
    "epsilon": lambda net: setattr(net.norm, "eps", 0.1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_counts(change):
    net = seeded(BatchNormNet)
    before = network_identity(net)
    change(net)
    assert network_identity(net) != before


def test_tensors_of_all_kinds():
    net = AnyWidth().to(torch.bfloat16)
    net.register_buffer("complex", torch.ones(2, dtype=torch.complex64).conj())
    net.register_buffer("sparse", torch.eye(3).to_sparse())
    net.register_buffer("scalar", torch.tensor(True))
    assert network_identity(net) == network_identity(copy.deepcopy(net))
    other = copy.deepcopy(net)
    other.complex = torch.full((2,), 1j, dtype=torch.complex64)
    assert network_identity(other) != network_identity(net)


def test_wrappers_and_what_a_layer_remembers_do_not_count():
    net = seeded(BatchNormNet)
    before = network_identity(net)
    assert network_identity(nn.DataParallel(net)) == before
    assert network_identity(torch.compile(net, backend="eager")) == before
    net.size = (3, 4)
    assert network_identity(net) == before


def test_a_network_without_shape_or_values_is_rejected():
    with pytest.raises(ValueError, match="model must be initialised"):
        network_identity(nn.LazyLinear(3))
    with pytest.raises(ValueError, match="is on the meta device"):
        network_identity(nn.Linear(2, 3, device="meta"))
