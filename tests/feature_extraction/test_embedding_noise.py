"""Noise at the embedding of token ids, against patterns added by hand."""

import pickle
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from networks import MaskedText, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import skgrad
from skgrad import StabilityTransformer, make_recommended_detector
from skgrad.attacks import adaptive_pgd
from skgrad.feature_extraction import NetworkFeatures, SaliencyCosines, Stability

N_TOKENS, WIDTH = 50, 3
DRAW = np.random.default_rng(0)
IDS = DRAW.integers(2, N_TOKENS, size=(24, 7))
LENGTHS = DRAW.integers(3, 8, size=24)
LENGTHS[:3] = 7
MASK = (np.arange(7) < LENGTHS[:, None]).astype(np.int64)
TEXTS = {"input_ids": IDS * MASK, "attention_mask": MASK}
make = partial(StabilityTransformer, random_state=0)


class Sums(nn.Module):
    """Logits that are sums of the vectors of tokens: three classes, three numbers."""

    def __init__(self, **options):
        super().__init__()
        self.words = nn.Embedding(N_TOKENS, WIDTH, **options)

    def forward(self, input_ids, attention_mask=None):
        vectors = self.words(input_ids)
        if attention_mask is not None:
            vectors = vectors * attention_mask[..., None]
        return vectors.sum(dim=1)


NET = seeded(Sums, dtype=torch.float64).eval()
TABLE = NET.words.weight.detach().numpy()


def noise_for(tokens, n_positions=7, table=TABLE, scale=1.0):
    """Draw the noise again, in the units of the vectors of the tokens of fit."""
    pattern = np.random.RandomState(0).standard_normal((n_positions, WIDTH))
    return scale * table[tokens].reshape(-1, WIDTH).std(axis=0) * pattern


def log_odds_of(vectors, *changed):
    """Compute the log-odds of the class of sums of vectors, and of others."""
    classes = np.arange(WIDTH) == vectors.sum(axis=1).argmax(axis=1)[:, None]
    columns = []
    for each in (vectors, *changed):
        logits = each.sum(axis=1)
        others = np.log(np.exp(np.where(classes, -np.inf, logits)).sum(axis=1))
        columns.append(logits[classes] - others)
    return np.stack(columns, axis=1)


def test_by_definition():
    features = make(NET, token_noise_scale=0.5).fit_transform(TEXTS)
    assert features.feature_names.tolist() == ["log_odds_unchanged", "log_odds_noise"]
    vectors = TABLE[IDS] * MASK[..., None]
    # Padding neither counts for the spread nor gets any noise.
    pattern = noise_for(IDS[MASK == 1], scale=0.5) * MASK[..., None]
    assert_allclose(features, log_odds_of(vectors, vectors + pattern), rtol=1e-5)


def test_without_a_mask_every_token_gets_noise():
    features = make(NET).fit_transform(IDS)
    vectors = TABLE[IDS]
    expected = log_odds_of(vectors, vectors + noise_for(IDS))
    assert_allclose(features, expected, rtol=1e-5)


def test_the_number_for_padding_counts_where_there_is_no_mask():
    net = seeded(partial(Sums, padding_idx=0), dtype=torch.float64).eval()
    transformer = make(net).fit(TEXTS["input_ids"])
    features = transformer.transform(TEXTS["input_ids"])
    vectors = net.words(torch.from_numpy(TEXTS["input_ids"])).detach().numpy()
    table = net.words.weight.detach().numpy()
    pattern = noise_for(IDS[MASK == 1], table=table) * MASK[..., None]
    assert_allclose(features, log_odds_of(vectors, vectors + pattern), rtol=1e-5)


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_and_other_samples_do_not_matter(side):
    transformer = make(NET).fit(TEXTS)
    features = transformer.transform(TEXTS)
    pad = (0, 4) if side == "right" else (4, 0)
    longer = {key: np.pad(entry, [(0, 0), pad]) for key, entry in TEXTS.items()}
    assert_allclose(transformer.transform(longer), features, rtol=1e-9)
    for i, length in enumerate(LENGTHS):
        alone = {key: entry[i, None, :length] for key, entry in TEXTS.items()}
        assert_allclose(transformer.transform(alone)[0], features[i], rtol=1e-9)


def test_longer_texts_begin_with_the_same_noise():
    transformer = make(NET).fit(IDS)
    ids = np.concatenate([IDS, IDS, IDS[:, :2]], axis=1)
    vectors, once = TABLE[ids], noise_for(IDS)
    pattern = np.concatenate([once, once, once[:2]])
    expected = log_odds_of(vectors, vectors + pattern)
    assert_allclose(transformer.transform(ids), expected, rtol=1e-5)
    # And so with a mask.
    texts = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    by_name = make(NET).fit({key: entry[:, :7] for key, entry in texts.items()})
    assert_allclose(by_name.transform(texts), expected, rtol=1e-5)


def test_messages_name_noise_among_the_changes_of_token_ids():
    with pytest.raises(ValueError, match=r"'flip' is for images.*Valid are 'noise', "):
        make(NET, "flip").fit(IDS)


class OtherNames(nn.Module):
    """A model whose arguments have names that say nothing."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, left, right):
        return self.model(left, right)


def test_forms_of_several_inputs():
    expected = make(NET).fit_transform(TEXTS)
    tensors = [torch.from_numpy(entry) for entry in TEXTS.values()]
    data = TensorDataset(*tensors)
    for X in (tuple(tensors), data, DataLoader(data, batch_size=5)):
        assert_array_equal(make(NET).fit(X).transform(X), expected)
    # The embedding shows which of these are tokens, though not which is their mask.
    full = TEXTS["input_ids"], np.ones_like(MASK)
    by_name = dict(zip(TEXTS, full, strict=True))
    other = make(OtherNames(NET)).fit(full)
    assert other.changes_ == ["noise"]
    expected = make(NET).fit_transform(by_name)
    assert_allclose(other.transform(full), expected, rtol=1e-9)


class ByHand(Sums):
    """A network that looks tokens up without calling its embedding."""

    def forward(self, input_ids, attention_mask=None):
        return nn.functional.embedding(input_ids, self.words.weight).sum(dim=1)


def test_ids_that_no_embedding_gets_are_masked():
    net = seeded(ByHand).eval()
    assert make(net).fit(TEXTS).changes_ == ["mask"]
    message = (
        "'noise' is for floats or token ids that a torch.nn.Embedding of the model "
        "gets, which .* Valid are 'mask', 'drop', or give a pair"
    )
    with pytest.raises(ValueError, match=message):
        make(net, "noise").fit(TEXTS)
    # Nothing says which of these are tokens.
    with pytest.raises(ValueError, match=r"finds nothing to change.*Give a pair"):
        make(OtherNames(net)).fit((IDS, MASK))
    detector = make_recommended_detector(net, "logits").fit(IDS.repeat(6, axis=0))
    assert detector["features"].families_["stability"].changes_ == ["mask"]


def exported(net):
    options = {"dynamic_shapes": ({0: torch.export.Dim("n")},)}
    return torch.export.export(net, (torch.from_numpy(IDS),), **options).module()


@pytest.mark.parametrize("hide", [torch.jit.script, exported])
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_ids_that_an_embedding_gets_unseen_are_masked(hide):
    hidden = hide(seeded(Bag).eval())
    assert make(hidden).fit(IDS).changes_ == ["mask"]
    with pytest.raises(ValueError, match="Valid are 'mask', or give a pair"):
        make(hidden, "noise").fit(IDS)


class Positions(Sums):
    """Positions and kinds are looked up before the words, and the words by a copy."""

    def __init__(self):
        super().__init__()
        self.places, self.kinds = nn.Embedding(20, WIDTH), nn.Embedding(2, WIDTH)

    def forward(self, input_ids, position_ids):
        places = self.places(position_ids) + self.places(torch.arange(7)[None])
        kinds = self.kinds(torch.zeros_like(input_ids))
        return (places + kinds + self.words(input_ids.clone())).sum(dim=1)


class Offset(Sums):
    def forward(self, x):
        return super().forward(x.clamp(max=N_TOKENS - 5) + 4)


class Turned(Sums):
    """A network that takes times first, as torch's recurrent layers do."""

    def forward(self, x):
        return self.words(x.T.clone()).sum(dim=0)


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.EmbeddingBag(N_TOKENS, WIDTH, mode="sum")

    def forward(self, x):
        return self.words(x)


class Towers(Sums):
    """One embedding for two texts."""

    def forward(self, left, right):
        return self.words(left).sum(dim=1) - 2 * self.words(right).sum(dim=1)


@pytest.mark.parametrize(
    ("make_net", "X", "tokens", "weights"),
    [
        (Positions, {"input_ids": IDS, "position_ids": IDS % 20}, IDS, [1.0]),
        (Offset, IDS, IDS.clip(max=N_TOKENS - 5) + 4, [1.0]),
        (Turned, IDS, IDS, [1.0]),
        (Towers, (IDS, IDS[::-1].copy()), IDS, [1.0, -2.0]),
    ],
)
def test_where_the_noise_is_added(make_net, X, tokens, weights):
    net = seeded(make_net, dtype=torch.float64).eval()
    transformer = make(net).fit(X)
    features = transformer.transform(X)
    assert transformer.changes_ == ["noise"]
    table = net.words.weight.detach().numpy()
    pattern = sum(weights) * noise_for(tokens, table=table).sum(axis=0)
    logits = skgrad.predict_logits(net, X)[:, None]
    expected = log_odds_of(logits, logits + pattern)
    assert_allclose(features, expected, rtol=1e-5)


def test_noise_at_the_sums_of_a_bag():
    net = seeded(Bag, dtype=torch.float64).eval()
    features = make(net).fit_transform(IDS)
    sums = skgrad.predict_logits(net, IDS)
    pattern = sums.std(axis=0) * np.random.RandomState(0).standard_normal(WIDTH)
    expected = log_odds_of(sums[:, None], sums[:, None] + pattern)
    assert_allclose(features, expected, rtol=1e-5)


class Columns(nn.Module):
    """A network of whole numbers that looks each column up in a table of its own."""

    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(N_TOKENS, WIDTH) for _ in range(7))

    def forward(self, x):
        pairs = zip(self.tables, x.unbind(dim=1), strict=True)
        return sum(table(column) for table, column in pairs)


def test_columns_with_tables_of_their_own_are_no_tokens_of_one_embedding():
    assert make(seeded(Columns)).fit(IDS).changes_ == ["mask"]


class FloatsToo(Sums):
    def forward(self, input_ids, x):
        return super().forward(input_ids) + x


def test_floats_beside_token_ids_get_noise_of_their_own():
    net = seeded(FloatsToo, dtype=torch.float64).eval()
    x = np.random.default_rng(1).normal(size=(24, WIDTH))
    features = make(net).fit_transform({"input_ids": IDS, "x": x})
    draw = np.random.RandomState(0)
    pattern = 0.1 * x.std(axis=0) * draw.standard_normal(WIDTH)
    scale = TABLE[IDS].reshape(-1, WIDTH).std(axis=0)
    at_words = scale * draw.standard_normal((7, WIDTH))
    vectors = np.concatenate([TABLE[IDS], x[:, None]], axis=1)
    noisy = vectors + np.concatenate([at_words, pattern[None]])
    assert_allclose(features, log_odds_of(vectors, noisy), rtol=1e-5)


def test_beside_gradients_at_the_embedding():
    net = seeded(MaskedText, dtype=torch.float64).eval()
    families = [
        ("cosines", SaliencyCosines(output="upper")),
        ("stability", Stability(random_state=0)),
    ]
    both = NetworkFeatures(net, families).fit_transform(TEXTS)
    assert_allclose(both[:, -2:], make(net).fit_transform(TEXTS), rtol=1e-9)


def test_costs_one_pass_and_leaves_no_hook():
    calls = Counter()
    net = seeded(Sums, dtype=torch.float64).eval()
    net.register_forward_hook(lambda *_: calls.update(n=1))
    transformer = make(net).fit(TEXTS)
    calls.clear()
    transformer.transform(TEXTS)
    assert calls["n"] == 2
    assert not net.words._forward_hooks
    assert_array_equal(net.words.weight.detach(), TABLE)


class Moody(Sums):
    """A network that can fail, or look tokens up in another way."""

    mood = "well"

    def forward(self, input_ids):
        if self.mood == "by hand":
            return nn.functional.embedding(input_ids, self.words.weight).sum(dim=1)
        vectors = self.words(input_ids)
        if self.mood == "fails":
            raise RuntimeError("out of sorts")
        return vectors.sum(dim=1)


def test_an_embedding_that_is_not_called_any_more():
    net = seeded(Moody).eval()
    transformer = make(net).fit(IDS)
    net.mood = "by hand"
    with pytest.raises(ValueError, match=r"embedding 'words', which was called in fit"):
        transformer.transform(IDS)
    assert not net.words._forward_hooks
    net.mood = "fails"
    with pytest.raises(RuntimeError, match="out of sorts"):
        transformer.transform(IDS)
    assert not net.words._forward_hooks


def test_compiled_networks_have_the_same_features():
    compiled = torch.compile(NET, backend="eager")
    compiled(torch.from_numpy(IDS))
    features = make(compiled).fit(TEXTS).transform(TEXTS)
    assert_allclose(features, make(NET).fit_transform(TEXTS), rtol=1e-9)


def test_half_precision():
    net = seeded(Sums, dtype=torch.bfloat16).eval()
    features = make(net).fit_transform(TEXTS)
    assert_allclose(features, make(NET).fit_transform(TEXTS), rtol=0.1, atol=0.2)


def test_tokens_that_do_not_vary_have_no_scale():
    with pytest.raises(ValueError, match="X must vary"):
        make(NET).fit(np.full((5, 7), 3))


def test_the_recommended_detector_keeps_its_noise_in_files(tmp_path):
    net = seeded(MaskedText).eval()
    X = {key: np.tile(entry, (6, 1)) for key, entry in TEXTS.items()}
    detector = make_recommended_detector(net, random_state=0).fit(X)
    assert detector["features"].families_["stability"].changes_ == ["noise"]
    scores = detector.score_samples(TEXTS)
    assert np.isfinite(scores).all()
    again = pickle.loads(pickle.dumps(detector))
    assert_array_equal(again.score_samples(TEXTS), scores)
    skgrad.save(detector, tmp_path / "detector.skgrad")
    loaded = skgrad.load(tmp_path / "detector.skgrad", net)
    assert_array_equal(loaded.score_samples(TEXTS), scores)


def test_a_cache_tells_one_noise_from_another(tmp_path):
    for scale in (1.0, 2.0):
        options = {"token_noise_scale": scale}
        cached = make(NET, memory=str(tmp_path), **options).fit(TEXTS)
        expected = make(NET, **options).fit_transform(TEXTS)
        assert_array_equal(cached.transform(TEXTS), expected)


def test_an_attack_on_token_ids_says_that_there_is_none():
    detector = make_recommended_detector(NET, "logits")
    detector.set_params(features__stability__token_noise_scale=0.1)
    detector.fit(IDS.repeat(6, axis=0))
    with pytest.raises(ValueError, match="X must hold one array of floats for attacks"):
        adaptive_pgd(NET, IDS, detector=detector, eps=0.1)
