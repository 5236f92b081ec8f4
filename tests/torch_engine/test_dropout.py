"""Dropout at prediction time: which masks, for whom, and what is left behind."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from networks import BatchNormNet, seeded
from numpy.testing import assert_allclose
from torch import nn

from skgrad.torch_engine.dropout import dropout_layers, shared_dropout
from skgrad.torch_engine.model_state import frozen


def passes_of(net, x, seeds):
    results = []
    with frozen(net):
        for seed in seeds:
            with shared_dropout(net, seed, len(x)):
                results.append(net(x.clone()))
    return torch.stack(results)


KINDS = [
    nn.Dropout(0.3),
    nn.Dropout(0.3, inplace=True),
    nn.Dropout2d(0.3),
    nn.AlphaDropout(0.3),
    nn.FeatureAlphaDropout(0.3),
]


@pytest.mark.parametrize("drop", KINDS, ids=str)
def test_a_sample_alone_is_dropped_as_torch_does(drop):
    x = torch.randn(1, 8, 3, 3, dtype=torch.float64)
    (ours,) = passes_of(drop, x, [7])
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = drop.train()(x.clone())
    assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)
    assert not torch.equal(ours, x)


def test_masks_are_the_same_for_all_samples_and_differ_by_pass():
    x = torch.rand(5, 40, dtype=torch.float64) + 1
    both = passes_of(nn.Dropout(0.5), x, [0, 1])
    dropped = both == 0
    assert (dropped == dropped[:, :1]).all()
    assert (dropped[0] != dropped[1]).any()
    assert_allclose(both[~dropped], (2 * x).expand_as(both)[~dropped])
    assert_allclose(passes_of(nn.Dropout(0.5), x[2:3], [0, 1]), both[:, 2:3])


def test_nothing_but_dropout_is_on_and_nothing_is_left():
    net = seeded(BatchNormNet).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    x = torch.rand(4, 2, 6, 6)
    state = torch.get_rng_state()
    one, other = passes_of(net, x, [0, 1])
    assert not torch.equal(one, other)
    # Batch normalisation in training mode would mix the samples.
    assert_allclose(passes_of(net, x[:1], [0])[0], one[:1], rtol=1e-5, atol=1e-6)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(part.training and not part._forward_hooks for part in net.modules())


class Pausing(nn.Identity):
    """Lets other threads run in the middle of a pass."""

    def forward(self, x):
        time.sleep(0.002)
        return x


def test_threads_on_different_networks_do_not_mix_their_masks():
    nets = [
        nn.Sequential(nn.Dropout(), Pausing(), nn.AlphaDropout(0.3)) for _ in range(4)
    ]
    x = torch.rand(3, 20)
    expected = passes_of(nets[0], x, range(5))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda net: passes_of(net, x, range(5)), nets):
            assert torch.equal(found, expected)


def test_names_of_dropout_that_drops():
    net = nn.Sequential(nn.Dropout(0.0), nn.Linear(2, 2), nn.Sequential(nn.Dropout1d()))
    assert dropout_layers(net) == ["2.0"]


def test_samples_along_another_axis_raise():
    class Turned(nn.Sequential):
        def forward(self, x):
            return super().forward(x.T).T

    with pytest.raises(ValueError, match=r"'0' one row per sample, .* \(5, 3\)"):
        passes_of(Turned(nn.Dropout(0.5)), torch.rand(3, 5), [0])
