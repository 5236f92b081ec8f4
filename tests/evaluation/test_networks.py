"""The papers' networks: their shapes, their sizes, their parts."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from skgrad.evaluation import CifarResNet, ECGNetwork, LeNet, MNISTNetwork

NETWORKS = [
    (LeNet, (1, 28, 28), 10),
    (MNISTNetwork, (1, 28, 28), 10),
    (CifarResNet, (3, 32, 32), 10),
    (ECGNetwork, (1, 140), 5),
]


@pytest.mark.parametrize(("make", "shape", "n_classes"), NETWORKS)
def test_logits_of_each_input_alone(make, shape, n_classes):
    model = make().eval()
    X = torch.rand(3, *shape)
    logits = model(X)
    assert logits.shape == (3, n_classes)
    assert make(n_classes=4)(X).shape == (3, 4)
    assert_allclose(model(X[1:2]).detach(), logits[1:2].detach(), atol=1e-5)


@pytest.mark.parametrize(("make", "shape", "n_classes"), NETWORKS)
def test_networks_pickle(make, shape, n_classes):
    model = make().eval()
    again = pickle.loads(pickle.dumps(model))
    X = torch.rand(2, *shape)
    assert torch.equal(again(X), model(X))


@pytest.mark.parametrize(
    ("depth", "n_parameters"),
    # He et al., table 6: 0.27 and 0.85 million; counted: convolutions, two numbers per
    # normalised channel, and 64 x 10 + 10.
    [(20, 269_722), (56, 853_018)],
)
def test_resnets_have_their_published_size(depth, n_parameters):
    model = CifarResNet(depth)
    assert sum(p.numel() for p in model.parameters()) == n_parameters
    layers = [m for m in model.modules() if getattr(m, "weight", None) is not None]
    assert sum(layer.weight.ndim > 1 for layer in layers) == depth


def test_resnet_weights_have_the_public_names():
    names = {name.rsplit(".", 1)[0] for name in CifarResNet(8).state_dict()}
    blocks = [
        f"layer{stage}.0.{part}"
        for stage in (1, 2, 3)
        for part in ("conv1", "bn1", "conv2", "bn2")
    ]
    assert names == {"conv1", "bn1", *blocks, "linear"}


def test_shortcut_skips_pixels_and_pads_channels():
    block = CifarResNet(8).eval().layer2[0]
    torch.nn.init.zeros_(block.conv2.weight)
    X = torch.rand(2, 16, 6, 6)
    # The convolved part is 0, so only the shortcut is left: 8 + 16 + 8 channels.
    out = block(X)
    assert torch.equal(out[:, 8:24], X[:, :, ::2, ::2])
    assert out[:, :8].abs().sum() == out[:, 24:].abs().sum() == 0


def test_resnet_normalises_inside():
    model = CifarResNet(8).eval()
    seen = []
    model.conv1.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    X = torch.rand(2, 3, 32, 32)
    model(X)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (X.numpy().transpose(0, 2, 3, 1) - mean) / std
    assert_allclose(seen[0].numpy().transpose(0, 2, 3, 1), expected, atol=1e-5)


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_depth_must_fit_the_plan(depth):
    with pytest.raises(ValueError, match=r"depth must be 6 n \+ 2"):
        CifarResNet(depth)


def test_paper_networks_have_the_layers_that_the_papers_say():
    def widths(model, kinds):
        return [
            getattr(m, "out_channels", getattr(m, "out_features", None))
            for m in model.modules()
            if isinstance(m, kinds)
        ]

    linear = torch.nn.Linear
    assert len(widths(LeNet(), torch.nn.Conv2d)) == 2
    assert len(widths(LeNet(), linear)) == 3
    assert set(widths(MNISTNetwork(), torch.nn.Conv2d)) == {32, 64, 128}
    assert len(widths(MNISTNetwork(), torch.nn.Conv2d)) == 4
    assert widths(MNISTNetwork(), linear) == [100, 10]
    assert widths(ECGNetwork(), torch.nn.Conv1d) == [128, 256, 128]
    assert widths(ECGNetwork(), linear) == [5]


def test_series_without_a_channel_axis():
    model, X = ECGNetwork().eval(), torch.randn(3, 140)
    assert torch.equal(model(X), model(X[:, None]))
