"""Networks of several inputs and of whole numbers, against one tensor of floats."""

import re
from collections import UserDict
from functools import partial

import numpy as np
import pytest
import torch
from entry_points import HALVES
from networks import MaskedText, OfOneTensor, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, TensorDataset
from wrong_inputs import Stream, Yields

import skgrad
from skgrad import (
    LODA,
    ConformalDetector,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
    MostDiscriminativeLayer,
    NetworkFeatures,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad.feature_extraction import (
    GradientNorms,
    LayerActivations,
    SaliencyCosines,
)

N_SAMPLES, LENGTH = 24, 6
DRAW = np.random.default_rng(0)
IDS = DRAW.integers(1000, size=(N_SAMPLES, LENGTH))
LENGTHS = DRAW.integers(1, LENGTH + 1, size=N_SAMPLES)
LENGTHS[:3] = LENGTH
MASK = (np.arange(LENGTH) < LENGTHS[:, None]).astype(np.int64)
FLOATS = np.concatenate([IDS, MASK], axis=1).astype(np.float64)
NET = seeded(MaskedText, dtype=torch.float64).eval()


def item(i):
    return {"input_ids": torch.tensor(IDS[i]), "attention_mask": MASK[i], "label": 3}


def padded(items):
    """Make a batch of sequences without padding, as long as its longest."""
    sequences = [torch.tensor(IDS[i, : LENGTHS[i]]) for i in items]
    masks = [torch.ones_like(one) for one in sequences]
    pad = partial(pad_sequence, batch_first=True)
    return {"input_ids": pad(sequences), "attention_mask": pad(masks)}


def batch_encoding():
    transformers = pytest.importorskip("transformers")
    return transformers.BatchEncoding({"input_ids": IDS, "attention_mask": MASK})


TENSORS = torch.from_numpy(IDS), torch.from_numpy(MASK)
BY_NAME = {"input_ids": IDS, "attention_mask": MASK}
KINDS = {
    "dict": lambda: BY_NAME,
    "dict of lists": lambda: {"input_ids": IDS.tolist(), "attention_mask": TENSORS[1]},
    "dict with labels": lambda: BY_NAME | {"labels": np.zeros(N_SAMPLES)},
    "mapping": lambda: UserDict(BY_NAME),
    "BatchEncoding": batch_encoding,
    "tuple": lambda: (IDS, MASK),
    "tuple, truth values": lambda: (TENSORS[0], TENSORS[1].bool()),
    "Dataset of dicts": lambda: Yields(N_SAMPLES, item),
    "Dataset of (dict, y)": lambda: Yields(N_SAMPLES, lambda i: (item(i), MASK[0])),
    "Dataset of tuples": lambda: TensorDataset(*TENSORS),
    "Dataset of tuples and y": lambda: TensorDataset(*TENSORS, torch.zeros(N_SAMPLES)),
    "Dataset of ((x1, x2), y)": lambda: Yields(
        N_SAMPLES, lambda i: ((IDS[i], MASK[i]), MASK[i])
    ),
    "stream": lambda: Stream(lambda: map(item, range(N_SAMPLES))),
    "DataLoader of dicts": lambda: DataLoader(Yields(N_SAMPLES, item), batch_size=5),
    "DataLoader of tuples": lambda: DataLoader(TensorDataset(*TENSORS), batch_size=5),
    "DataLoader, padded": lambda: DataLoader(
        range(N_SAMPLES), batch_size=5, collate_fn=padded
    ),
}
FAMILIES = [
    ("gradients", GradientNorms(log=True)),
    ("layers", LayerActivations(["hidden", "logits"])),
    ("cosines", SaliencyCosines(output="upper")),
]


def features_of(net, families=FAMILIES, **options):
    return NetworkFeatures(net, families, batch_size=7, **options)


REFERENCE = features_of(
    OfOneTensor(NET),
    [FAMILIES[0], ("layers", LayerActivations(["net.hidden", "logits"]))],
).fit_transform(FLOATS)


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_one_tensor(kind):
    X = KINDS[kind]()
    transformer = features_of(NET)
    features = np.asarray(transformer.fit_transform(X))
    width = REFERENCE.shape[1]
    assert_allclose(features[:, :width], REFERENCE, rtol=1e-9)
    # The cosines are those at the embedded tokens.
    assert_allclose(features[:, width:], embedded_cosines(), rtol=0, atol=1e-6)
    assert_array_equal(transformer.transform(X), features)
    assert transformer.integer_inputs_


def embedded_cosines():
    """Compute the cosines between signs of gradients at the embedding, one by one."""
    rows = []
    for ids, mask in zip(*TENSORS, strict=True):
        tokens = NET.embedding(ids).detach()[None].requires_grad_()
        mask = mask[None, :, None]
        mean = (tokens * mask).sum(dim=1) / mask.sum(dim=1)
        logits = NET.head(NET.hidden(mean).tanh())
        # The loss towards a class has the softmax less its one-hot label as cotangent.
        errors = logits.softmax(dim=1) - torch.eye(3, dtype=torch.float64)
        signs = torch.stack(
            [
                torch.autograd.grad(logits, tokens, e[None], retain_graph=True)[0]
                .sign()
                .flatten()
                for e in errors.detach()
            ]
        )
        units = nn.functional.normalize(signs, dim=1)
        rows.append([units[i] @ units[j] for i, j in ((0, 1), (0, 2), (1, 2))])
    return rows


def test_networks_of_hugging_face():
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 1000, "hidden_size": 8, "intermediate_size": 8}
    options = {"num_hidden_layers": 1, "num_attention_heads": 2, **sizes}
    config = transformers.BertConfig(num_labels=3, **options)
    net = transformers.BertForSequenceClassification(config).double()
    # The first token counts with a mask and without.
    layers = LayerActivations(pooling="first")
    families = [("gradients", GradientNorms(log=True)), ("layers", layers)]
    features = features_of(net, families).fit_transform(batch_encoding())
    expected = features_of(OfOneTensor(net), families).fit_transform(FLOATS)
    assert_allclose(features, expected, rtol=1e-6)


RATE = {"target_fpr": 0.5, "random_state": 0}
RECIPES = {
    # Of the embedding, the mean is over the tokens that the mask leaves.
    # Nothing says which entry of a tuple holds tokens, so without changes.
    "recommended": partial(make_recommended_detector, layers="hidden", effort="low"),
    "paper B": make_geometric_gradient_detector,
    "paper C": partial(make_uniform_detector, layers="hidden"),
}


@pytest.mark.parametrize("kind", ["dict", "tuple", "Dataset of dicts"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes(recipe, kind):
    detector = RECIPES[recipe](NET, **RATE).fit(KINDS[kind]())
    scores = detector.score_samples(KINDS[kind]())
    assert_allclose(scores[:4], detector.score_samples(first(4)[kind]), rtol=1e-6)
    if recipe != "paper B":  # lookups have no gradient at the floats
        one = RECIPES[recipe](OfOneTensor(NET), layers="net.hidden", **RATE).fit(FLOATS)
        assert_allclose(scores, one.score_samples(FLOATS), rtol=1e-5)


def first(n):
    """Return the first inputs of some kinds."""
    return {
        "dict": {name: values[:n] for name, values in BY_NAME.items()},
        "tuple": (IDS[:n], MASK[:n]),
        "Dataset of dicts": Yields(n, item),
    }


class Tokens(TransformerMixin, BaseEstimator):
    """A step of others, which gets what the user gave."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return (X["input_ids"], X["attention_mask"]) if hasattr(X, "items") else X


@pytest.mark.parametrize("kind", ["dict", "tuple", "Dataset of tuples", "mapping"])
def test_rows_of_all_entries_are_held_out_together(kind):
    layers = LayerActivationTransformer(NET, "logits")
    detector = ConformalDetector(make_pipeline(Tokens(), layers, LODA()), **HALVES)
    one = ConformalDetector(
        make_pipeline(LayerActivationTransformer(OfOneTensor(NET), "logits"), LODA()),
        **HALVES,
    ).fit(FLOATS)
    X = KINDS[kind]()
    assert_allclose(detector.fit(X).p_values(X), one.p_values(FLOATS))


def test_the_most_discriminative_layer_needs_anomalies():
    y = np.repeat([1, -1], [N_SAMPLES - 5, 5])
    choice = MostDiscriminativeLayer(NET, layers=["hidden"], random_state=0)
    layers = ["net.hidden"]
    one = MostDiscriminativeLayer(OfOneTensor(NET), layers=layers, random_state=0)
    assert (
        choice.fit(BY_NAME, y).aurocs_["hidden"]
        == one.fit(FLOATS, y).aurocs_["net.hidden"]
    )
    for X in (BY_NAME, IDS):
        with pytest.raises(ValueError, match=r"y must label anomalies -1.*name the la"):
            choice.fit(X)


def test_memory_holds_all_entries(tmp_path):
    transformer = features_of(NET, FAMILIES[:1], memory=str(tmp_path)).fit(BY_NAME)
    features = transformer.transform(BY_NAME)
    assert_array_equal(transformer.transform(KINDS["Dataset of dicts"]()), features)
    other = transformer.transform(BY_NAME | {"attention_mask": np.ones_like(MASK)})
    assert np.abs(other - features).max() > 1e-3
    with pytest.raises(ValueError, match=r"X\['input_ids'\].*Pad all of them"):
        transformer.transform(
            DataLoader(range(N_SAMPLES), sampler=LENGTHS.argsort(), collate_fn=padded)
        )


@pytest.mark.parametrize(("kind", "effort"), [("dict", "medium"), ("tuple", "low")])
def test_files_keep_the_shapes(kind, effort, tmp_path):
    X = KINDS[kind]()
    detector = make_recommended_detector(NET, effort=effort, **RATE).fit(X)
    skgrad.save(detector, tmp_path / "detector.skops")
    loaded = skgrad.load(tmp_path / "detector.skops", NET)
    assert loaded[0].input_shape_ == detector[0].input_shape_
    assert_array_equal(loaded.score_samples(X), detector.score_samples(X))


def test_a_dataset_of_dicts_that_varies_is_noticed():
    def noisy(i):
        return {"input_ids": IDS[i], "attention_mask": MASK[i] * torch.rand(1).item()}

    with pytest.warns(UserWarning, match="different values each time it is read"):
        LayerActivationTransformer(NET, "logits").fit(Yields(N_SAMPLES, noisy))


class TwoFloats(nn.Module):
    """A network of two inputs of floats."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 3)

    def forward(self, left, right):
        both = torch.cat([left.flatten(1), right.flatten(1)], dim=1)
        return self.linear(both).tanh()


def test_gradients_at_several_floats_are_side_by_side():
    net = seeded(TwoFloats, dtype=torch.float64)
    rows = images(9, (8,)) - 0.5
    X = {"left": rows[:, :4].reshape(-1, 2, 2), "right": rows[:, 4:].astype(np.float16)}
    given = np.concatenate([rows[:, :4], X["right"]], axis=1)
    options = {"output": "upper", "sign": False}
    cosines = CosineSimilarityMatrixTransformer(net, **options)
    one = CosineSimilarityMatrixTransformer(
        nn.Sequential(net.linear, nn.Tanh()), **options
    )
    assert_allclose(cosines.fit_transform(X), one.fit_transform(given), atol=1e-7)
    assert not cosines.integer_inputs_
    with pytest.raises(ValueError, match="channel_reduction needs samples of floats"):
        cosines.set_params(channel_reduction="max").fit(X)


# Whole numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("casts", [False, True])
def test_token_ids_reach_the_embedding_unchanged(dtype, casts):
    class Text(MaskedText):
        def forward(self, x):
            return super().forward(x.long() if casts else x)

    net, seen = seeded(Text, dtype=dtype), []
    net.embedding.register_forward_pre_hook(lambda layer, x: seen.append(x[0]))
    transformer = LayerActivationTransformer(net, "logits").fit(IDS[:5])
    for given in (IDS, IDS.astype(np.uint16), torch.from_numpy(IDS), IDS.tolist()):
        seen.clear()
        transformer.transform(given)
        assert_array_equal(seen[0], IDS)
    assert transformer.integer_inputs_
    # Numbers that are whole but come as floats, and sequences of another length.
    assert_array_equal(
        transformer.transform(IDS[:, :4].astype(np.float32)),
        transformer.transform(IDS[:, :4]),
    )
    with pytest.raises(ValueError, match="X must hold whole numbers"):
        transformer.transform(IDS + 0.5)
    with pytest.raises(ValueError, match=r"X must be finite.* row 2 of X"):
        transformer.transform(np.where(np.arange(N_SAMPLES) == 2, np.nan, IDS.T).T)


def test_several_inputs_keep_the_kinds_that_fit_saw():
    transformer = LayerActivationTransformer(NET, "logits").fit(BY_NAME)
    floats = {name: entry.astype(np.float32) for name, entry in BY_NAME.items()}
    assert_array_equal(transformer.transform(floats), transformer.transform(BY_NAME))
    whole = r"X\['input_ids'\] must hold whole numbers.* give floats to fit"
    with pytest.raises(ValueError, match=whole):
        transformer.transform(BY_NAME | {"input_ids": IDS + 0.5})
    lacking = np.where(np.arange(N_SAMPLES) == 2, np.nan, IDS.T).T
    with pytest.raises(ValueError, match=r"X\['input_ids'\] must be finite.* row 2 of"):
        transformer.transform(BY_NAME | {"input_ids": lacking})
    net = seeded(TwoFloats, dtype=torch.float64)
    X = {"left": np.arange(20.0).reshape(5, 2, 2), "right": np.ones((5, 4))}
    two = LayerActivationTransformer(net, "logits").fit(X)
    counts = {name: entry.astype(np.int64) for name, entry in X.items()}
    assert_array_equal(two.transform(counts), two.transform(X))
    # Floats may have any values later, also where those of fit were whole.
    between = two.transform({name: entry + 0.5 for name, entry in X.items()})
    assert (between != two.transform(X)).any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_whole_numbers_are_cast_for_networks_of_floats(dtype):
    pixels = (255 * images(5, (4,))).astype(dtype)
    scaled = nn.Sequential(nn.Linear(4, 3))
    scaled.register_forward_pre_hook(lambda layer, x: (x[0] / 255,))
    transformer = CosineSimilarityMatrixTransformer(scaled, output="upper")
    assert_array_equal(
        transformer.fit_transform(pixels),
        transformer.fit_transform(pixels.astype(np.float32)),
    )
    assert not transformer.fit(pixels).integer_inputs_


@pytest.mark.parametrize("casts", [False, True])
def test_integers_that_the_network_cannot_take(casts):
    class Text(MaskedText):
        def forward(self, x):
            return super().forward(x.long() if casts else x)

    transformer = LayerActivationTransformer(seeded(Text), "logits")
    with pytest.raises(ValueError, match=r"cannot take X.*index out of range"):
        transformer.fit(IDS + 1000)


def test_cosines_need_floats_or_an_embedding():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(1000, 3))

        def forward(self, x):
            return self.weight[x].sum(dim=1)

    with pytest.raises(ValueError, match=r"look whole numbers up in a torch\.nn\.Emb"):
        CosineSimilarityMatrixTransformer(Table()).fit(IDS)


# Errors


def entries(**changed):
    return BY_NAME | changed


class OfHuggingFace:
    """What a dataset of Hugging Face looks like."""

    shape = (5, 2)

    def __len__(self):
        return 5

    def with_format(self, kind):
        return self


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (entries(attention_mask=MASK[:5]), "one first axis.*'attention_mask': 5"),
        (entries(attention_mask=MASK * np.nan), r"X\['attention_mask'\] must be fin"),
        (entries(text=["a"] * N_SAMPLES), r"X\['text'\] must be numeric"),
        (entries(attention_mask=[[1], [1, 1]]), r"X\['attention_mask'\].*ragged.*pad_"),
        (entries(attention_mask=MASK[:0]), r"X\['attention_mask'\] must hold at least"),
        (
            entries(other=MASK),
            "cannot take X.*Name the entries as.*other",
        ),
        ({"labels": MASK}, "names of arguments.*'labels'"),
        ({}, "names of arguments"),
        ({1: IDS}, "names of arguments"),
        ([[1, 2], [1, 2, 3]], "ragged list.*pad_sequence.*mask"),
        ([IDS[0], IDS[1, :3]], "ragged list.*pad_sequence.*mask.*collate_fn"),
        (np.array([IDS[0], IDS[1, :3]], dtype=object), "ragged ndarray.*pad_sequence"),
        ([TENSORS[0][0], TENSORS[0][1, :3]], "samples of one shape.*pad_sequence"),
        (TensorDataset(*TENSORS, *TENSORS), "labels y of several numbers"),
        (Yields(5, lambda i: (IDS[i], 1, MASK[i])), "may be inputs or labels.*diction"),
        (
            Yields(5, lambda i: {"input_ids": IDS[i], "x" * (i % 2 + 1): MASK[i]}),
            "the same entries for each sample.*'input_ids'",
        ),
        (
            Yields(5, lambda i: {"input_ids": IDS[i, : i + 1]}),
            r"X\['input_ids'\] must hold samples of one shape.*pad_sequence",
        ),
        (OfHuggingFace(), r"DataLoader\(X.with_format\('torch'\)"),
        (
            Yields(5, lambda i: {"input_ids": "a cat"}),
            r"X\['input_ids'\].*numeric.*str",
        ),
        (
            DataLoader([(IDS, MASK[:5])], batch_size=None),
            "entries with one first axis.*0: 24, 1: 5",
        ),
    ],
)
def test_errors_name_the_entry(X, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        LayerActivationTransformer(NET, "logits").fit(X)
    assert re.search(message, str(caught.value), re.DOTALL), caught.value
    assert len(str(caught.value)) < 700


def test_a_tuple_of_alike_arrays_holds_samples():
    net = seeded(lambda: nn.Bilinear(12, 12, 3), dtype=torch.float64)
    pair = FLOATS, FLOATS[::-1]
    transformer = LayerActivationTransformer(net, "logits")
    with pytest.raises(ValueError, match=r"takes several inputs: give a dictionary"):
        transformer.fit(pair)
    found = transformer.fit_transform({"input1": pair[0], "input2": pair[1]})
    expected = net(*(torch.tensor(one.copy()) for one in pair))
    assert_allclose(found, expected.detach())


@pytest.mark.parametrize(
    ("fitted", "X"),
    [
        ("dict", IDS),
        ("dict", {"input_ids": IDS}),
        ("dict", TensorDataset(*TENSORS)),
        ("dict", entries(attention_mask=MASK[:, 0])),
        ("tuple", IDS),
        ("ids", BY_NAME),
        ("ids", TensorDataset(*TENSORS)),
    ],
)
def test_later_inputs_have_the_entries_of_fit(fitted, X):
    X_fit = {"dict": BY_NAME, "tuple": (IDS, MASK), "ids": IDS}[fitted]
    transformer = LayerActivationTransformer(NET, "logits").fit(X_fit)
    with pytest.raises(ValueError, match=r"X must hold samples of shape.*seen by fit"):
        transformer.transform(X)


def test_errors_say_which_entry_is_missing_and_how_dicts_go_in():
    transformer = LayerActivationTransformer(NET).fit(batch_encoding())
    with pytest.raises(ValueError, match=r"\}\. 'attention_mask' is missing\."):
        transformer.transform({"input_ids": IDS})
    with pytest.raises(TypeError, match="into one dict of arrays"):
        transformer.transform([{"input_ids": IDS[0], "attention_mask": MASK[0]}])
