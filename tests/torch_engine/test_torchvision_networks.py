"""Gradient norms of well-known architectures against autograd sample by sample."""

import pytest
import torch
from networks import check_against_loop, seeded
from torchvision import models

NETWORKS = {
    "resnet18": (models.resnet18, {}),
    "densenet121": (models.densenet121, {}),
    "mobilenet_v3_small": (models.mobilenet_v3_small, {}),
    "efficientnet_b0": (models.efficientnet_b0, {}),
    "convnext_tiny": (models.convnext_tiny, {}),
    "swin_t": (models.swin_t, {}),
    "vit": (
        models.VisionTransformer,
        {
            "image_size": 32,
            "patch_size": 8,
            "num_layers": 2,
            "num_heads": 4,
            "hidden_dim": 32,
            "mlp_dim": 64,
        },
    ),
}
FAST = "resnet18", "vit"


def settled(name):
    """Return a network in which activations and gradients are alive, and two inputs.

    No ReLU is so close to its kink that float32 switches it, whatever the order of the
    images in memory.
    """
    make, settings = NETWORKS[name]
    net = seeded(lambda: make(num_classes=10, **settings))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of dropout
        for parameter in net.parameters():  # some are 0 at first
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.01 * noise)
        # Running statistics as in training: else activations and gradients die out.
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.5
        net.train()(torch.rand(16, 3, 32, 32, generator=generator))
    return net, torch.rand(2, 3, 32, 32, generator=generator)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in FAST else pytest.mark.slow) for n in NETWORKS],
)
def test_against_autograd(name):
    net, x = settled(name)
    norms = check_against_loop(net, x, [n for n, _ in net.named_parameters()])
    assert (norms > 0).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NETWORKS)
def test_against_autograd_on_cuda(name):
    net, x = settled(name)
    ruled = [n for n, _ in net.named_parameters()]
    # Without TF32, which keeps three digits only.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        check_against_loop(net.cuda(), x.cuda(), ruled)
