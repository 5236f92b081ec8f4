"""Positions that do not count: padding that a mask leaves out, and packed sequences."""

import numpy as np
import pytest
import torch
from networks import MaskedText, layer_names, seeded
from numpy.testing import assert_allclose
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from skgrad import LayerActivationTransformer, NetworkFeatures
from skgrad.feature_extraction import (
    GradientNorms,
    LayerActivations,
    SaliencyCosines,
)

DRAW = np.random.default_rng(0)
LENGTHS = np.array([8, 3, 5, 1, 2, 7])
IDS = DRAW.integers(1, 50, size=(6, 8))
MASK = (np.arange(8) < LENGTHS[:, None]).astype(np.int64)
TOKENS = {"input_ids": IDS, "attention_mask": MASK}
POOLINGS = {
    "mean": lambda states: states.mean(axis=0),
    "max": lambda states: states.max(axis=0),
    "first": lambda states: states[0],
    "last": lambda states: states[-1],
}


def padded(length, *, left=False):
    """Pad the sequences to a length, with other tokens at the padding."""
    ids = DRAW.integers(1, 50, size=(6, length))
    mask = np.zeros((6, length), dtype=np.int64)
    for row, n in enumerate(LENGTHS):
        place = slice(length - n, length) if left else slice(n)
        ids[row, place], mask[row, place] = IDS[row, :n], 1
    return {"input_ids": ids, "attention_mask": mask}


class Encoder(nn.Module):
    """Two layers of attention to the tokens that the mask leaves."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, input_ids, attention_mask):
        states = self.embedding(input_ids)
        states = self.encoder(states, src_key_padding_mask=attention_mask == 0)
        mask = attention_mask[..., None]
        return self.head((states * mask).sum(dim=1) / mask.sum(dim=1))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("left", [False, True])
def test_padding_does_not_count(pooling, left):
    net = seeded(MaskedText, dtype=torch.float64)
    table = net.embedding.weight.detach().numpy()
    by_hand = POOLINGS[pooling]
    expected = [by_hand(table[i[:n]]) for i, n in zip(IDS, LENGTHS, strict=True)]
    X = padded(11, left=left)
    ids, mask = X.values()
    for given in (X, X | {"attention_mask": mask > 0}, (ids, mask)):
        transformer = LayerActivationTransformer(net, "embedding", pooling=pooling)
        assert_allclose(transformer.fit_transform(given), expected, rtol=1e-12)


def test_features_do_not_depend_on_the_padding():
    net = seeded(Encoder, dtype=torch.float64)
    features = NetworkFeatures(
        net,
        [
            ("norms", GradientNorms(log=True)),
            ("cosines", SaliencyCosines(output="upper")),
            *((p, LayerActivations(pooling=p)) for p in POOLINGS),
        ],
    )
    short = np.asarray(features.fit_transform(padded(8)))
    assert layer_names(features.families_["mean"]) == [
        "encoder.layers.0",
        "encoder.layers.1",
        "logits",
    ]
    for long in (padded(16), padded(16, left=True)):
        assert_allclose(features.transform(long), short, rtol=1e-6, atol=1e-6)
    alone = {key: values[3:4] for key, values in padded(20).items()}
    assert_allclose(features.transform(alone), short[3:4], rtol=1e-6, atol=1e-6)


def test_without_a_mask_every_position_counts():
    net = seeded(MaskedText, dtype=torch.float64)
    table = net.embedding.weight.detach().numpy()
    transformer = LayerActivationTransformer(net, "embedding")
    found = transformer.fit_transform({"input_ids": IDS})
    assert_allclose(found, table[IDS].mean(axis=1))
    # Nor is one left out of a sample that has none.
    nothing = {"input_ids": IDS[:3], "attention_mask": np.zeros((3, 8))}
    net.forward = lambda input_ids, attention_mask: MaskedText.forward(net, input_ids)
    found = transformer.fit_transform(nothing)
    assert_allclose(found, table[IDS[:3]].mean(axis=1))


class Large(nn.Module):
    """An embedding whose values add up to more than half precision holds."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 4)
        self.head = nn.Linear(4, 3)
        nn.init.constant_(self.embedding.weight, 60000.0)

    def forward(self, input_ids, attention_mask):
        return self.head(self.embedding(input_ids)[:, 0] / 60000)


def test_half_precision_does_not_overflow():
    net = seeded(Large, dtype=torch.float16)
    found = LayerActivationTransformer(net, "embedding").fit_transform(TOKENS)
    assert_allclose(found, 60000.0, rtol=1e-3)


class Latents(nn.Module):
    """Eight positions, however many tokens there are."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 4)
        self.pool = nn.AdaptiveAvgPool1d(8)
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, input_ids, attention_mask):
        latents = self.norm(self.pool(self.embedding(input_ids).mT).mT)
        return self.head(latents.mean(dim=1))


def test_as_many_positions_as_tokens_that_are_none():
    net = seeded(Latents)
    transformer = LayerActivationTransformer(net, "norm")
    embedded = net.embedding(torch.as_tensor(IDS)).mT
    expected = net.norm(net.pool(embedded).mT).mean(dim=1).detach()
    assert_allclose(transformer.fit_transform(TOKENS), expected, rtol=1e-5, atol=1e-6)
    assert transformer.transform(padded(10)).shape == (6, 4)


class OfEvenLength(Latents):
    """That for texts of an even number of tokens."""

    def forward(self, input_ids, attention_mask):
        return super().forward(input_ids.unflatten(1, (-1, 2)).flatten(1), None)


def test_positions_that_are_tokens_in_fit_alone():
    transformer = LayerActivationTransformer(seeded(OfEvenLength), "norm").fit(TOKENS)
    with pytest.raises(ValueError, match=r"'norm'.*now 8 positions come for 10 tokens"):
        transformer.transform(padded(10))
    # Where they are no tokens in fit, all of them count.
    transformer.fit(padded(10))
    assert_allclose(transformer.transform(padded(8)).shape, (6, 4))


# Packed sequences


class Packed(nn.Module):
    """A recurrent network over sequences without their padding, whose tokens are 0."""

    def __init__(self, kind=nn.LSTM, *, sort=False):
        super().__init__()
        self.embedding = nn.Embedding(50, 4)
        self.rnn = kind(4, 3, batch_first=True, bidirectional=True)
        self.head, self.sort = nn.Linear(6, 2), sort

    def forward(self, x):
        lengths = (x > 0).sum(dim=1)
        states = self.embedding(x)
        if self.sort:
            lengths, order = lengths.sort(descending=True)
            states = states[order]
        packed = pack_padded_sequence(
            states, lengths, batch_first=True, enforce_sorted=self.sort
        )
        _, last = self.rnn(packed)
        last = last[0] if isinstance(last, tuple) else last
        logits = self.head(torch.cat([last[0], last[1]], dim=1))
        return logits[order.argsort()] if self.sort else logits


SEQUENCES = pad_sequence(
    [torch.from_numpy(i[:n]) for i, n in zip(IDS, LENGTHS, strict=True)],
    batch_first=True,
)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_packed_sequences_are_pooled_over_their_times(kind, pooling):
    net = seeded(lambda: Packed(kind), dtype=torch.float64)
    transformer = LayerActivationTransformer(net, "rnn", pooling=pooling, batch_size=2)
    found = transformer.fit_transform(SEQUENCES)
    for row, n in enumerate(LENGTHS):
        with torch.no_grad():
            states, last = net.rnn(net.embedding(SEQUENCES[row : row + 1, :n]))
        expected = POOLINGS[pooling](states[0].numpy())
        if pooling == "last":  # of both directions
            last = last[0] if isinstance(last, tuple) else last
            expected = last[:, 0].flatten()
        assert_allclose(found[row], expected, rtol=1e-9)


def test_packed_sequences_are_layers_by_default():
    found = LayerActivationTransformer(seeded(Packed)).fit(SEQUENCES)
    assert layer_names(found) == ["embedding", "rnn", "logits"]


def test_sorted_sequences_have_lost_their_rows():
    net = seeded(lambda: Packed(sort=True))
    shortest_first = SEQUENCES[LENGTHS.argsort()]
    found = LayerActivationTransformer(net).fit(shortest_first)
    assert layer_names(found) == ["embedding", "logits"]
    with pytest.raises(ValueError, match=r"'rnn'.*enforce_sorted=False"):
        LayerActivationTransformer(net, "rnn").fit(shortest_first)
    # Its rows are in the order of lengths, too.
    with pytest.raises(ValueError, match=r"'head'.*that of X in the same place"):
        LayerActivationTransformer(net, "head").fit(shortest_first)
