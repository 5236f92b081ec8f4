"""Small networks that the tests share, and the gradient norms of any."""

from collections import Counter
from functools import partial
from hashlib import blake2b
from pathlib import Path

import torch
from torch import nn

from skgrad.torch_engine.cotangents import label_cotangents
from skgrad.torch_engine.gradient_routes import find_routes
from skgrad.torch_engine.model_state import frozen
from skgrad.torch_engine.network_pass import NetworkPass, Wanted
from skgrad.torch_engine.parameter_gradients import gradient_parameters
from skgrad.torch_engine.pooling import LayerOutput
from skgrad.torch_engine.probe import Probe


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


class AnyWidthDropout(AnyWidth):
    """That for rows with dropout."""

    def __init__(self):
        super().__init__()
        self.bend = nn.Sequential(self.bend, nn.Dropout(0.5))


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


class Recording(nn.Module):
    """A small image network that writes down each sample that passes through it.

    Into a file, so that those of other processes count, and the network stays as it
    is: with a counter inside it would be another one after each call.
    """

    def __init__(self, path):
        super().__init__()
        self.path = str(path)
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        rows = [row.tobytes() for row in x.detach().cpu().numpy()]
        with open(self.path, "ab") as file:
            file.write(b"".join(blake2b(row, digest_size=8).digest() for row in rows))
        return self.head(self.conv(x).relu().mean(dim=(2, 3)))

    def seen(self):
        """Return how often each sample came since the last question."""
        content = Path(self.path).read_bytes() if Path(self.path).exists() else b""
        Path(self.path).write_bytes(b"")
        return Counter(content[i : i + 8] for i in range(0, len(content), 8))


class Recurrent(nn.Module):
    """A recurrent network for series of three values at a time."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.conv = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.conv(self.gru(x)[0][:, -1]).tanh())


class Unrolled(Recurrent):
    """That with a cell, whose weights are used once for each time."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRUCell(3, 4)

    def forward(self, x):
        state = None
        for step in x.unbind(1):
            state = self.gru(step, state)
        return self.head(self.conv(state).tanh())


class MaskedText(nn.Module):
    """A network for token ids and their mask."""

    def __init__(self, n_tokens=1000):
        super().__init__()
        self.embedding = nn.Embedding(n_tokens, 5)
        self.hidden = nn.Linear(5, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, input_ids, attention_mask=None):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        mask = attention_mask[..., None]
        tokens = (self.embedding(input_ids) * mask).sum(dim=1) / mask.sum(dim=1)
        return self.head(self.hidden(tokens).tanh())


class OfOneTensor(nn.Module):
    """A network of ids and mask, for one tensor of floats that holds both."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        ids, mask = x.chunk(2, dim=1)
        return self.net(ids.long(), mask)


class RowsAndKinds(nn.Module):
    """A network of a row of floats, and whole numbers from 0 to 3."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 6)
        self.linear, self.head = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x, kinds):
        return self.head((self.linear(x) + self.embedding(kinds).sum(1)[:, :1]).tanh())


def two_classes():
    """Make a network with logits (x0 - x1, 0): class 0 where x0 is larger."""
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
        net.bias.zero_()
    return net


def mirror(n_classes, factor=1.0):
    """Make a network whose logits are its inputs, times a factor."""
    net = nn.Linear(n_classes, n_classes, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(factor * torch.eye(n_classes))
    return net


def seeded(make, *, seed=0, dtype=torch.float32):
    """Make a network with weights that depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make().to(dtype)


def images(n_samples, shape, *, seed=0):
    """Draw float32 images in [0, 1] as a numpy array."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n_samples, *shape, generator=generator).numpy()


def lenet_and_images(n_samples, dtype=torch.float64):
    """Make LeNet in evaluation mode, and images for it."""
    x = torch.from_numpy(images(n_samples, (1, 28, 28))).to(dtype)
    return seeded(LeNet, dtype=dtype).eval(), x


class Readout(nn.Sequential):
    """Layers in a row, whose output is summed up to three logits."""

    def forward(self, x):
        outputs = super().forward(x).flatten(1)
        width = outputs.shape[1]
        # Weights that differ from entry to entry, so that gradients do.
        weights = torch.arange(3 * width, dtype=x.dtype, device=x.device).cos()
        return outputs.tanh() @ weights.view(width, 3)


class Between(nn.Module):
    """A linear layer "step", a "head", more parts, and a forward pass through them."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.step = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)
        self.run = forward
        for name, part in parts.items():
            is_module = isinstance(part, nn.Module)
            setattr(self, name, part if is_module else nn.Parameter(part))

    def forward(self, x):
        return self.run(self, x)


def parameter_routes(module, x, cotangents):
    """Return the routes that fit finds."""
    return find_routes(Probe(module, x, norms=True), cotangents)


def squared_gradient_norms(
    module, x, cotangents, routes, *, channels_last=False, **options
):
    """Return the squared gradient norms of every parameter, from one pass."""
    wanted = Wanted(routes=routes, n_backward=1, channels_last=channels_last)
    run = NetworkPass(module, x, wanted, **options)
    return run.gradient_norms(cotangents, routes)


def layer_names(estimator):
    """Return the names of the layers that a fitted estimator looks at."""
    return [layer.name for layer in estimator.layers_]


def layer_activations(module, x, layers, *, pooling, head=None, **options):
    """Return the pooled outputs of layers, from one pass."""
    heads = {"penultimate": head}
    outputs = tuple(LayerOutput(name, pooling, heads.get(name)) for name in layers)
    return NetworkPass(module, x, Wanted(outputs), **options).outputs(outputs)


def gradient_norms(module, x, cotangents, routes=None):
    """Return the squared gradient norms of every parameter, for one loss."""
    with frozen(module, parameter_gradients=True):
        last = False
        if routes is None:
            probe = Probe(module, x, norms=True)
            routes, last = find_routes(probe, cotangents), probe.channels_last
        norms = squared_gradient_norms(
            module, x, cotangents, routes, channels_last=last
        )
        return norms[:, 0]


def looped_norms(module, x, label="all"):
    """Return the same for the paper's loss, by autograd sample by sample."""
    cotangents = partial(label_cotangents, label=label, loss="bce")
    return gradient_norms(module, x, cotangents, routes={})


def routes_of(module, x):
    """Return how the norms of each parameter are computed."""
    cotangents = partial(label_cotangents, label="all", loss="bce")
    with frozen(module, parameter_gradients=True):
        routes = parameter_routes(module, x, cotangents)
    return {
        name: routes[name].rule if name in routes else "autograd"
        for name in gradient_parameters(module)
    }


def check_against_loop(net, x, routes, *, dtypes=(torch.float64, torch.float32)):
    """Compare the norms with autograd's sample by sample, and the routes taken.

    ``routes`` is the rule of every parameter, a dict of rules by parameter, or the
    list of those parameters that must have some rule.
    """
    exact = looped_norms(net.double().eval(), x.double() if is_real(x) else x)
    cotangents = partial(label_cotangents, label="all", loss="bce")
    for dtype in dtypes:
        net, x = net.to(dtype), x.to(dtype) if is_real(x) else x
        taken = routes_of(net, x)
        if isinstance(routes, list):
            ruled = [name for name, rule in taken.items() if rule != "autograd"]
            assert ruled == routes
        else:
            every = dict.fromkeys(taken, routes) if isinstance(routes, str) else routes
            vanishing = (exact == 0).any(dim=0).tolist()
            for name, zero in zip(taken, vanishing, strict=True):
                # Where a gradient vanishes the order of samples cannot be seen.
                assert taken[name] == every[name] or (
                    zero and taken[name] == "autograd"
                )
        norms = gradient_norms(net, x, cotangents)
        # A gradient that is zero but for rounding has no digits to agree in.
        rounding = torch.finfo(dtype).eps
        noise = 1e6 * rounding**2 * exact.amax(dim=1, keepdim=True)
        rtol = 1e-9 if dtype == torch.float64 else 1e-4
        assert ((norms - exact).abs() <= rtol * exact + noise).all()
    net.double()
    return norms


def is_real(x):
    return x.is_floating_point()
