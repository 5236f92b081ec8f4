"""Networks with random weights that `engine.py` and others time, and their batches."""

import torch
from torch import nn
from torchvision import models

N_CLASSES = 10


class Recurrent(nn.Module):
    """Two layers of an LSTM over a series, and a linear layer over the last state."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(16, 128, 2, batch_first=True)
        self.head = nn.Linear(128, N_CLASSES)

    def forward(self, x):
        """Return logits of series (n_samples, n_times, 16)."""
        return self.head(self.lstm(x)[0][:, -1])


def tiny():
    """Return a network that is computed at once."""
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, N_CLASSES)]
    return nn.Sequential(*layers, *head)


def resnet18():
    """Return a ResNet-18 with the stem for small images, which keeps their size."""
    net = models.resnet18(num_classes=N_CLASSES)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net


def mlp():
    """Return a perceptron for rows of 30 numbers."""
    layers = [nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, N_CLASSES))


def lenet():
    """Return LeNet-5."""
    layers = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    layers += [nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(84, N_CLASSES))


def vision_transformer(size, patch, width, depth=6):
    """Return a vision transformer with heads of 64 channels."""
    net = models.VisionTransformer(
        size, patch, depth, width // 64, width, 4 * width, num_classes=N_CLASSES
    )
    nn.init.normal_(net.heads.head.weight, std=0.02)  # it starts from 0
    return net


class Text(nn.Module):
    """A BERT of the base size that returns logits alone."""

    def __init__(self):
        super().__init__()
        from transformers import BertConfig, BertForSequenceClassification

        self.bert = BertForSequenceClassification(BertConfig(num_labels=N_CLASSES))

    def forward(self, ids):
        """Return logits of token ids (n_samples, n_tokens)."""
        return self.bert(ids).logits


RESNET_LAYERS = ("layer1", "layer2", "layer3")
BLOCKS = tuple(f"encoder.layers.encoder_layer_{n}" for n in (1, 3, 5))
DENSE = tuple(f"features.denseblock{n}" for n in (1, 2, 3))

# How to make a network, the shape of its inputs, and three layers to watch.
NETWORKS = {
    "tiny": (tiny, (3, 8, 8), ("0", "1", "2")),
    "resnet18": (resnet18, (3, 32, 32), RESNET_LAYERS),
    "resnet50": (models.resnet50, (3, 224, 224), RESNET_LAYERS),
    "mlp": (mlp, (30,), ("0", "1", "2")),
    "lenet": (lenet, (1, 28, 28), ("0", "3", "9")),
    "lstm": (Recurrent, (100, 16), ()),
    "vit_small": (lambda: vision_transformer(64, 8, 192), (3, 64, 64), BLOCKS),
    "vit_small_224": (
        lambda: vision_transformer(224, 16, 384, depth=12),
        (3, 224, 224),
        BLOCKS,
    ),
    "bert": (Text, (128,), ()),
}
# Networks of torchvision, on images of any size.
OF_TORCHVISION = {
    "mobilenet_v3_small": ("features.2", "features.5", "features.8"),
    "efficientnet_b0": ("features.2", "features.4", "features.6"),
    "densenet121": DENSE,
    "convnext_tiny": ("features.1", "features.3", "features.5"),
    "swin_t": (),
    "vgg11_bn": ("features.7", "features.14", "features.21"),
}


def make_network(name):
    """Return a network with random weights, its inputs' shape, and three layers.

    A network of torchvision takes images of 64 pixels, or as many as its name ends in.
    """
    torch.manual_seed(0)
    if name in NETWORKS:
        make, shape, layers = NETWORKS[name]
        return make().eval(), shape, list(layers)
    base = name.removesuffix("_224")
    size = 64 if base == name else 224
    net = getattr(models, base)(num_classes=N_CLASSES).eval()
    return net, (3, size, size), list(OF_TORCHVISION[base])


def draw_batch(name, n_samples, shape):
    """Return random inputs of a network."""
    if name == "bert":
        return torch.randint(1000, (n_samples, *shape))
    return torch.rand(n_samples, *shape)
