"""Small networks that the tests share."""

import torch
from torch import nn


class AnyWidth(nn.Module):
    """A float64 network for rows of any width, as scikit-learn's checks send them."""

    def __init__(self, n_classes=3, n_hidden=4, most=64):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(
            torch.randn(n_hidden, most, generator=generator, dtype=torch.float64)
        )
        self.bend = nn.Tanh()
        self.head = nn.Linear(n_hidden, n_classes, dtype=torch.float64)
        with torch.no_grad():
            for parameter in self.head.parameters():
                parameter.normal_(generator=generator)

    def forward(self, x):
        return self.head(self.bend(x @ self.weight[:, : x.shape[1]].T / 8))


class LeNet(nn.Module):
    """LeNet-5 for images of 28 x 28 pixels, with an in-place activation."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        x = self.relu(self.fc1(x.flatten(1)))
        return self.fc3(self.relu(self.fc2(x)))


class BatchNormNet(nn.Module):
    """A small image network with batch normalisation, dropout and a buffer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.calls += 1
        x = self.norm(self.conv(x)).relu().mean(dim=(2, 3))
        return self.head(self.drop(x))


def seeded(make, *, seed=0, dtype=torch.float32):
    """Make a network with weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().to(dtype)


def images(n_samples, shape, *, seed=0):
    """Draw float32 images in [0, 1] as a numpy array."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n_samples, *shape, generator=generator).numpy()
