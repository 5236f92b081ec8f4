"""Networks of the papers' experiments, for [0, 1] images and for series."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import max_pool2d, pad
from torchvision.models.resnet import BasicBlock, ResNet

# ImageNet's statistics: the ones that the public CIFAR weights were trained with.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# CIFAR-10's own, by which ResNet-18 was trained.
_CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
_CIFAR_STD = (0.2470, 0.2435, 0.2616)


class LeNet(nn.Module):
    """Paper C's network for MNIST: two convolutions and three linear layers.

    Parameters
    ----------
    n_classes : int, default=10
        Number of classes.

    Notes
    -----
    Paper C says no more than that. Kernels of 5 x 5 pixels and the linear layers'
    widths are those of the network of 1998; rectifiers, maximum pooling, more channels
    and dropout are today's.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner (1998). Gradient-based learning applied to document
    recognition. Proceedings of the IEEE 86(11).
    """

    def __init__(self, n_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5, padding=2)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * 5 * 5, 120)
        self.drop = nn.Dropout(0.5)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, n_classes)

    def forward(self, x):
        """Compute the logits.

        Parameters
        ----------
        x : Tensor of shape (n_samples, 1, 28, 28)
            Images in [0, 1].

        Returns
        -------
        Tensor of shape (n_samples, n_classes)
            The logits.
        """
        x = max_pool2d(torch.relu(self.conv1(x)), 2)
        x = max_pool2d(torch.relu(self.conv2(x)), 2)
        x = self.drop(torch.relu(self.fc1(x.flatten(1))))
        return self.fc3(torch.relu(self.fc2(x)))


class MNISTNetwork(nn.Module):
    """Paper B's network for MNIST: four convolutions and two linear layers.

    Parameters
    ----------
    n_classes : int, default=10
        Number of classes.

    Notes
    -----
    The paper gives four convolutions three widths, "32, 64, and 128"; here the last
    two have 128. It names neither kernels nor pooling: 3 x 3 pixels, and a maximum
    over 2 x 2 after the first, second and fourth.

    References
    ----------
    Paper B, section 4.2.1.
    """

    def __init__(self, n_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 128, 3, padding=1)
        self.conv4 = nn.Conv2d(128, 128, 3, padding=1)
        self.fc1 = nn.Linear(128 * 3 * 3, 100)
        self.fc2 = nn.Linear(100, n_classes)

    def forward(self, x):
        """Compute the logits.

        Parameters
        ----------
        x : Tensor of shape (n_samples, 1, 28, 28)
            Images in [0, 1].

        Returns
        -------
        Tensor of shape (n_samples, n_classes)
            The logits.
        """
        x = max_pool2d(torch.relu(self.conv1(x)), 2)
        x = max_pool2d(torch.relu(self.conv2(x)), 2)
        x = torch.relu(self.conv3(x))
        x = max_pool2d(torch.relu(self.conv4(x)), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class ECGNetwork(nn.Module):
    """Paper B's network for heartbeats: three 1-D convolutions and a linear layer.

    Parameters
    ----------
    n_classes : int, default=5
        Number of classes: 5 in ECG5000.

    Notes
    -----
    The paper gives the widths 128, 256 and 128 with batch normalisation. Its kernels
    are not named; 7, 5 and 3 points and the average over time before the linear layer
    follow the fully convolutional network usual for such series (which has 8, 5, 3).

    References
    ----------
    Paper B, section 4.2.1.

    Wang, Yan, Oates (2017). Time series classification from scratch with deep neural
    networks. IJCNN.
    """

    def __init__(self, n_classes=5):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 128, 7, padding=3)
        self.norm1 = nn.BatchNorm1d(128)
        self.conv2 = nn.Conv1d(128, 256, 5, padding=2)
        self.norm2 = nn.BatchNorm1d(256)
        self.conv3 = nn.Conv1d(256, 128, 3, padding=1)
        self.norm3 = nn.BatchNorm1d(128)
        self.fc = nn.Linear(128, n_classes)

    def forward(self, x):
        """Compute the logits.

        Parameters
        ----------
        x : Tensor of shape (n_samples, 1, n_points) or (n_samples, n_points)
            Series of one variable.

        Returns
        -------
        Tensor of shape (n_samples, n_classes)
            The logits.
        """
        x = x[:, None] if x.ndim == 2 else x
        x = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.norm2(self.conv2(x)))
        x = torch.relu(self.norm3(self.conv3(x)))
        return self.fc(x.mean(2))


class CifarResNet(nn.Module):
    """Residual network of He et al. for 32 x 32 colour images.

    Parameters
    ----------
    depth : int, default=20
        Number of layers with weights, 6 n + 2: such as 20 or 56 (paper B's).
    n_classes : int, default=10
        Number of classes.

    Notes
    -----
    Shortcuts have no parameters: where the width grows, they skip pixels and fill
    channels with zeros (option A). Images are normalised inside `forward`, so inputs
    stay in [0, 1] and attacks keep their bounds. The names of the weights are those of
    the public CIFAR ResNets.

    References
    ----------
    He, Zhang, Ren, Sun (2016). Deep residual learning for image recognition. CVPR,
    section 4.2.
    """

    def __init__(self, depth=20, n_classes=10):
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(
                f"depth must be 6 n + 2 with n >= 1, such as 20 or 56; got {depth!r}."
            )
        n_blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, n_blocks)
        self.layer2 = _stage(16, 32, n_blocks)
        self.layer3 = _stage(32, 64, n_blocks)
        self.linear = nn.Linear(64, n_classes)

    def forward(self, x):
        """Compute the logits.

        Parameters
        ----------
        x : Tensor of shape (n_samples, 3, 32, 32)
            Images in [0, 1].

        Returns
        -------
        Tensor of shape (n_samples, n_classes)
            The logits.
        """
        x = _normalised(x, _MEAN, _STD)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class CifarResNet18(ResNet):
    """ResNet-18 with a stem for 32 x 32 colour images, paper A's network.

    Parameters
    ----------
    n_classes : int, default=10
        Number of classes.

    Notes
    -----
    torchvision's network, its first convolution of 3 x 3 pixels without stride and
    without the pooling after it. Images are normalised inside `forward`, so inputs
    stay in [0, 1] and attacks keep their bounds.

    References
    ----------
    He, Zhang, Ren, Sun (2016). Deep residual learning for image recognition. CVPR.
    """

    def __init__(self, n_classes=10):
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=n_classes)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.maxpool = nn.Identity()

    def forward(self, x):
        """Compute the logits.

        Parameters
        ----------
        x : Tensor of shape (n_samples, 3, 32, 32)
            Images in [0, 1].

        Returns
        -------
        Tensor of shape (n_samples, n_classes)
            The logits.
        """
        return super().forward(_normalised(x, _CIFAR_MEAN, _CIFAR_STD))


def _normalised(x, mean, std):
    """Return images in [0, 1] as a network was trained to take them."""
    mean, std = x.new_tensor([mean, std])
    return (x - mean[:, None, None]) / std[:, None, None]


class _Block(nn.Module):
    """Two convolutions beside a shortcut without parameters."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.stride = n_out // n_in
        self.conv1 = nn.Conv2d(n_in, n_out, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.n_padded = (n_out - n_in) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = pad(shortcut, (0, 0, 0, 0, self.n_padded, self.n_padded))
        return torch.relu(y + shortcut)


def _stage(n_in, n_out, n_blocks):
    """Stack blocks, of which the first widens."""
    widths = [n_in] + [n_out] * n_blocks
    return nn.Sequential(*(_Block(a, b) for a, b in pairwise(widths)))
