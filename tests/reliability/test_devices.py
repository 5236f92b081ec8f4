"""Everything runs where the network lies, and only results come back."""

import numpy as np
import pytest
import torch
from entry_points import ENTRY_POINTS, FAMILIES, IMAGES, network
from families import FAMILIES as NETWORKS
from numpy.testing import assert_allclose
from pretended_device import device, moved

from skgrad import GuardedClassifier, NetworkFeatures
from skgrad.feature_extraction import (
    GradientNorms,
    LayerActivations,
    SaliencyCosines,
    Stability,
)


def test_devices_do_not_mix(monkeypatch):
    net = moved(network().eval())
    X = torch.from_numpy(IMAGES[:2])
    with device(monkeypatch) as entered:
        with pytest.raises(RuntimeError, match="two devices"):
            net(X)
        logits = net(X.to("meta"))
        with pytest.raises(RuntimeError, match="two devices"):
            logits + torch.ones(3)
        with pytest.raises(TypeError, match="use cpu"):
            logits.detach().numpy()
        assert entered.copied == []
        assert_allclose(logits.detach().cpu(), network().eval()(X).detach())
    assert entered.copied == [(2, 3)]


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_entry_points_on_another_device(name, monkeypatch):
    expected = ENTRY_POINTS[name](network(), IMAGES)
    net = moved(network())
    with device(monkeypatch):
        found = ENTRY_POINTS[name](net, IMAGES)
    # Sums of squares have another order there.
    assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_features_alone_come_back(monkeypatch):
    net = moved(network())
    with device(monkeypatch) as entered:
        features = NetworkFeatures(net, FAMILIES, batch_size=8).fit(IMAGES)
        entered.copied.clear()
        width = features.transform(IMAGES).shape[1]
        assert entered.copied == [(8, width)] * 3
        before = entered.read
        features.transform(IMAGES[:8])
        # Checks of values, not of each sample or parameter: a GPU waits for each.
        assert entered.read - before <= 12


def test_a_guard_copies_one_row_per_input(monkeypatch):
    guard = GuardedClassifier(moved(network()), target_fpr=0.5, random_state=0)
    with device(monkeypatch) as entered:
        guard.fit(IMAGES)
        entered.copied.clear()
        guard.judge(IMAGES[:5])
    assert [shape[0] for shape in entered.copied] == [5]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_on_another_device(name, monkeypatch):
    family = NETWORKS[name]
    net, _ = family.networks()
    if not isinstance(net, torch.nn.Module) or family.fails:
        pytest.skip("not a plain network")
    families = [
        ("norms", GradientNorms()),
        ("cosines", SaliencyCosines(output="upper")),
        ("layers", LayerActivations(["penultimate", "logits"])),
        ("stability", Stability(random_state=0)),
    ]
    expected = NetworkFeatures(net, families).fit_transform(family.X)
    moved(net)
    with device(monkeypatch):
        found = NetworkFeatures(net, families).fit_transform(family.X)
    assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-3, atol=1e-5)
