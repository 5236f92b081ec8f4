"""The axes of samples and channels in the outputs of layers, network by network.

Each is small and has random weights. What must be found is written down by hand.
"""

from functools import partial

import families
import pytest
import torch
from networks import Recurrent, layer_activations, seeded
from torch import nn

from skgrad.torch_engine.layer_axes import main_tensor
from skgrad.torch_engine.layer_outputs import find_outputs, pooled_output
from skgrad.torch_engine.layers import candidate_layers, spread_layers
from skgrad.torch_engine.model_state import frozen
from skgrad.torch_engine.network_pass import NetworkPass, Wanted
from skgrad.torch_engine.probe import Probe


class Sequences(nn.Module):
    """Embeds sequences, calls a part on them, and classifies their mean."""

    def __init__(self, part, *, batch_first):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.part = part
        self.head = nn.Linear(8, 4)
        self.batch_first = batch_first

    def forward(self, x):
        x = self.embed(x if self.batch_first else x.transpose(0, 1))
        x = main_tensor(self.part(x))
        return self.head(x.mean(dim=int(self.batch_first)))


def transformer(batch_first):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
    return Sequences(
        nn.TransformerEncoder(layer, 2, enable_nested_tensor=False),
        batch_first=batch_first,
    )


def recurrent(kind, batch_first, **options):
    part = kind(8, 8 if not options else 4, batch_first=batch_first, **options)
    return Sequences(part, batch_first=batch_first)


class OfArgument(nn.Module):
    """Give the inputs to a model by name."""

    def __init__(self, model, name):
        super().__init__()
        self.model = model
        self.name = name

    def forward(self, x):
        return self.model(**{self.name: x})


def of_argument(make, name):
    return OfArgument(make(), name)


# Network, shape of a sample, and the axes of samples and channels by layer. Sizes are
# chosen so that axes are equally long where that is possible.
NETWORKS = {
    "vit": (
        families.vit,
        (3, 16, 16),
        {
            "conv_proj": (0, 1),
            "encoder.layers.encoder_layer_0": (0, 2),
            "encoder.layers.encoder_layer_1.self_attention": (0, 2),
            "encoder": (0, 2),
        },
    ),
    "swin": (
        families.swin,
        (3, 32, 32),
        {
            "features.0.0": (0, 1),
            "features.1.0": (0, 3),
            "features.2": (0, 3),
            "permute": (0, 1),
        },
    ),
    "convnext": (
        families.convnext,
        (3, 32, 32),
        {
            "features.0.1": (0, 1),
            "features.1.0": (0, 1),
            "features.1.0.block.5": (0, 3),
            "features.2": (0, 1),
        },
    ),
    "efficientnet": (
        families.efficientnet,
        (3, 16, 16),
        {"features.1.0": (0, 1), "features.1.0.block.1": (0, 1), "features.3": (0, 1)},
    ),
    "densenet": (families.densenet, (3, 32, 32), {"features.denseblock1": (0, 1)}),
    "resnet": (families.resnet, (3, 32, 32), {"conv1": (0, 1), "layer2.0": (0, 1)}),
    "transformer": (
        partial(transformer, True),
        (8, 3),
        {"embed": (0, 2), "part.layers.0": (0, 2), "part": (0, 2)},
    ),
    "transformer, sequences first": (
        partial(transformer, False),
        (3, 3),
        {"embed": (1, 2), "part.layers.0": (1, 2), "part.layers.1.norm1": (1, 2)},
    ),
    "lstm": (partial(recurrent, nn.LSTM, True), (8, 3), {"part": (0, 2)}),
    "gru": (partial(recurrent, nn.GRU, False), (8, 3), {"part": (1, 2)}),
    "rnn of both directions": (
        partial(recurrent, nn.RNN, True, bidirectional=True, num_layers=2),
        (5, 3),
        {"part": (0, 2)},
    ),
    "albert": (
        partial(of_argument, families.albert, "input_ids"),
        None,
        {"model.albert.encoder": (0, 2)},
    ),
    "bert": (
        partial(of_argument, families.bert, "input_ids"),
        None,
        {
            "model.bert.embeddings": (0, 2),
            "model.bert.encoder.layer.0": (0, 2),
            "model.bert.encoder": (0, 2),
        },
    ),
    "transformers' vit": (
        partial(of_argument, families.hf_vit, "pixel_values"),
        (3, 16, 16),
        {"model.vit.embeddings": (0, 2), "model.vit.layers.1": (0, 2)},
    ),
    "transformers' convnext": (
        partial(of_argument, families.hf_convnext, "pixel_values"),
        (3, 32, 32),
        {
            "model.convnext.embeddings": (0, 1),
            "model.convnext.encoder.stages.0.layers.0.pwconv2": (0, 3),
            "model.convnext.encoder.stages.0.layers.0.layernorm": (0, 3),
            "model.convnext.encoder.stages.0": (0, 1),
        },
    ),
    "timm's vit": (
        families.timm_vit,
        (3, 32, 32),
        {"patch_embed": (0, 2), "blocks.0": (0, 2)},
    ),
    "timm's swin": (
        families.timm_swin,
        (3, 32, 32),
        {"layers.0.blocks.0": (0, 3), "layers.1": (0, 3)},
    ),
}


def made(name):
    """Return a network in evaluation mode, inputs and what must be found."""
    make, shape, expected = NETWORKS[name]
    net = seeded(make).eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if shape is None:
            return net, torch.randint(5, 50, (4, 8)), expected
        return net, torch.randn(4, *shape), expected


def returned(net, x, layers):
    """Return what layers return, by forward hooks."""
    outputs = {}
    hooks = [
        net.get_submodule(name).register_forward_hook(
            lambda *call, name=name: outputs.update({name: main_tensor(call[2])})
        )
        for name in layers
    ]
    net(x)
    for hook in hooks:
        hook.remove()
    return outputs


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_are_found(name):
    net, x, expected = made(name)
    with frozen(net):
        probe = Probe(net, x, layers=list(expected))
        outputs = find_outputs(probe, list(expected), "mean")
        columns = NetworkPass(net, x, Wanted(outputs)).outputs(outputs)
        maps = returned(net, x, expected)
    assert {o.layer: (o.samples, o.channels) for o in outputs} == expected
    for output, found in zip(outputs, columns, strict=True):
        kept = expected[output.layer]
        positions = [
            axis for axis in range(maps[output.layer].ndim) if axis not in kept
        ]
        by_hand = maps[output.layer].mean(dim=positions)
        by_hand = by_hand if kept[0] < kept[1] else by_hand.T
        torch.testing.assert_close(found, by_hand)
        torch.testing.assert_close(pooled_output(probe, output), by_hand[:3])


def test_channels_of_convolutions_are_taken_as_they_were():
    net, x, _ = made("resnet")
    with frozen(net):
        found = layer_activations(net, x, ["conv1", "layer3.0.conv2"], pooling="mean")
        probe = Probe(net, x, layers=["conv1", "layer3.0.conv2"])
        outputs = find_outputs(probe, ["conv1", "layer3.0.conv2"], "mean")
        same = NetworkPass(net, x, Wanted(outputs)).outputs(outputs)
        maps = returned(net, x, ["conv1", "layer3.0.conv2"])
    for one, other, output in zip(found, same, maps.values(), strict=True):
        assert torch.equal(one, output.mean(dim=(2, 3)))
        assert torch.equal(one, other)


def test_axes_of_a_single_sample_are_found():
    net, x, expected = made("transformer, sequences first")
    with frozen(net):
        outputs = find_outputs(
            Probe(net, x[:1], layers=[*expected]), [*expected], "mean"
        )
    assert {o.layer: (o.samples, o.channels) for o in outputs} == expected


def test_axes_are_found_without_writing_to_the_model():
    net, x, _ = made("convnext")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    versions = [parameter._version for parameter in net.parameters()]
    with frozen(net):
        find_outputs(Probe(net, x, layers=["features.1.0"]), ["features.1.0"], "mean")
    assert [parameter._version for parameter in net.parameters()] == versions
    assert all(torch.equal(before[name], t) for name, t in net.state_dict().items())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("batch_first", [True, False])
def test_last_states_of_recurrent_layers(kind, batch_first):
    options = {"bidirectional": True, "num_layers": 2}
    net = seeded(partial(recurrent, kind, batch_first, **options)).eval()
    x = torch.randn(4, 5, 3)
    with frozen(net):
        outputs = find_outputs(Probe(net, x, layers=["part"]), ["part"], "last")
        (found,) = NetworkPass(net, x, Wanted(outputs)).outputs(outputs)
        states = returned(net, x, ["part"])["part"]
    states = states if batch_first else states.transpose(0, 1)
    # The second half goes through the sequence from its end.
    torch.testing.assert_close(found[:, :4], states[:, -1, :4])
    torch.testing.assert_close(found[:, 4:], states[:, 0, 4:])


BLOCKS = {
    "vit": ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1"],
    "swin": ["features.1.0", "features.1.1", "features.3.0", "features.3.1"],
    "convnext": ["features.1.0", "features.1.1", "features.3.0"],
    "efficientnet": ["features.1.0", "features.1.1", "features.2.0", "features.2.1"],
    "transformer": ["part.layers.0", "part.layers.1"],
    "transformer, sequences first": ["part.layers.0", "part.layers.1"],
    "lstm": ["embed", "part"],
    "albert": [
        "model.albert.embeddings.word_embeddings",
        "model.albert.embeddings.token_type_embeddings",
        "model.albert.encoder",
        "model.albert.pooler",
    ],
    "bert": ["model.bert.encoder.layer.0", "model.bert.encoder.layer.1"],
    "transformers' vit": ["model.vit.layers.0", "model.vit.layers.1"],
    "transformers' convnext": [
        "model.convnext.encoder.stages.0",
        "model.convnext.encoder.stages.1",
    ],
    "timm's vit": ["blocks.0", "blocks.1"],
    "timm's swin": ["layers.0", "layers.1"],
    # Convolutions without branches are taken one by one, as in the paper.
    "resnet": ["conv1", "layer2.0.conv2", "layer3.0.conv2", "layer4.0.downsample.0"],
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_taken_where_layers_are_parts_of_branches(name):
    net, x, _ = made(name)
    with frozen(net):
        assert spread_layers(Probe(net, x, every=True), 4) == BLOCKS[name]


class Repeated(nn.Module):
    """Calls a block twice, and a layer that stands by itself."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.mix = nn.Linear(8, 8)
        self.encoder = Twice()
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.mix(self.mix(self.embed(x)).tanh())
        return self.head(self.encoder(x).mean(dim=1))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(8, 8), nn.Tanh())

    def forward(self, x):
        return self.block(self.block(x))


def test_blocks_that_are_called_twice_are_taken_as_a_whole():
    net, x = seeded(Repeated).eval(), torch.rand(2, 5, 3)
    with frozen(net):
        assert candidate_layers(Probe(net, x, every=True)) == ["embed", "encoder"]


def test_parts_of_blocks_are_no_blocks_elsewhere():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return x * self.fc(x.mean(dim=(2, 3), keepdim=True)).sigmoid()

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gate = nn.Conv2d(4, 4, 3, padding=1), Gate()

        def forward(self, x):
            return x + self.gate(self.conv(x))

    first = nn.Sequential(nn.Conv2d(2, 4, 3), Gate())
    end = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    net = seeded(lambda: nn.Sequential(first, Block(), Block(), end)).eval()
    with frozen(net):
        probe = Probe(net, torch.rand(2, 2, 6, 6), every=True)
        assert candidate_layers(probe) == ["1", "2"]


def test_gates_of_channels_are_no_candidates():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 4, 3, padding=1)
            self.gate = nn.Conv2d(4, 4, 1)
            self.after = nn.Conv2d(4, 4, 3)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            x = self.conv(x)
            x = self.after(x * self.gate(x.mean(dim=(2, 3), keepdim=True)).sigmoid())
            return self.head(x.amax(dim=(2, 3)))

    net, x = seeded(Gated).eval(), torch.rand(2, 2, 6, 6)
    with frozen(net):
        assert candidate_layers(Probe(net, x, every=True)) == ["conv", "after"]


def test_recurrent_layers_are_candidates():
    net, x = seeded(Recurrent).eval(), torch.rand(2, 5, 3)
    with frozen(net):
        assert candidate_layers(Probe(net, x, every=True)) == ["gru", "conv"]
