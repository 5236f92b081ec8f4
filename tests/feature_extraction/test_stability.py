"""Log-odds on changed copies of inputs, against changes made by hand."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch
from networks import AnyWidth, BatchNormNet, LeNet, MaskedText, images, mirror, seeded
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch.utils.data import DataLoader, TensorDataset
from wrong_inputs import Yields

import skgrad
from skgrad import (
    NetworkFeatures,
    NoveltyKFold,
    StabilityTransformer,
    StableConfidence,
    predict_logits,
)
from skgrad.feature_extraction import GradientNorms, LayerActivations, Stability

IMAGES = images(300, (2, 6, 6)).astype(np.float64)
ROWS = np.random.default_rng(0).normal(size=(40, 4)) * [1, 10, 100, 0]
NET = seeded(BatchNormNet, dtype=torch.float64).eval()
make = partial(StabilityTransformer, random_state=0)


def half(x):
    return 0.5 * x


def log_odds_of(X, *changed, net=NET):
    """Compute the log-odds of the class predicted for X, on X and on copies."""
    classes = predict_logits(net, X).argmax(axis=1)
    columns = []
    for inputs in (X, *changed):
        p = softmax(predict_logits(net, inputs), axis=1)
        p = p[np.arange(len(p)), classes]
        columns.append(np.log(p / (1 - p)))
    return np.stack(columns, axis=1)


def noise_for(X, axes, scale=0.1):
    """Draw the noise again; its size is learned from the first 256 samples."""
    pattern = np.random.RandomState(0).standard_normal(X.shape[1:])
    return scale * X[:256].std(axis=axes, keepdims=True)[0] * pattern


def test_by_definition():
    transformer = make(NET, ["noise", "shift"])
    features = transformer.fit_transform(IMAGES)
    names = transformer.get_feature_names_out().tolist()
    assert names == ["log_odds_unchanged", "log_odds_noise", "log_odds_shift"]
    shifted = np.pad(IMAGES, [(0, 0), (0, 0), (1, 0), (1, 0)], mode="edge")
    noisy = IMAGES + noise_for(IMAGES, (0, 2, 3))
    expected = log_odds_of(IMAGES, noisy, shifted[..., :6, :6])
    assert_allclose(features, expected, rtol=1e-6)
    # A copy changes the prediction of some: the class is that of the input itself.
    assert (expected[:, 0] > expected[:, 1]).any()


def test_rows_have_noise_in_the_units_of_their_columns():
    net = AnyWidth()
    transformer = make(net, ["noise", "grey"], n_levels=5, noise_scale=0.5)
    features = transformer.fit(ROWS).transform(ROWS)
    low, width = ROWS.min(axis=0), np.ptp(ROWS, axis=0)
    step = np.where(width > 0, width, 1) / 4
    levels = np.where(width > 0, low + np.round((ROWS - low) / step) * step, ROWS)
    expected = log_odds_of(ROWS, ROWS + noise_for(ROWS, 0, 0.5), levels, net=net)
    assert_allclose(features, expected, rtol=1e-6)


def test_functions_and_their_names():
    changes = [half, "flip", ("back", lambda x: -x)]
    features = make(NET, changes).fit_transform(IMAGES)
    assert features.feature_names[1:].tolist() == [
        *("log_odds_half", "log_odds_flip", "log_odds_back"),
    ]
    expected = log_odds_of(IMAGES, IMAGES / 2, IMAGES[..., ::-1].copy(), -IMAGES)
    assert_allclose(features, expected, rtol=1e-9)
    alone = make(NET, half).fit_transform(IMAGES)
    assert_allclose(alone, expected[:, :2], rtol=1e-9)


def test_saturated_softmax():
    X = np.array([[900.0, 0, 0], [0, 60, 0]])
    features = make(mirror(3), half).fit_transform(X)
    expected = [[900 - np.log(2), 450 - np.log(2)], [60 - np.log(2), 30 - np.log(2)]]
    assert_allclose(features, expected)


@pytest.mark.parametrize(
    ("net", "X", "expected"),
    [
        (LeNet, images(9, (1, 28, 28)), ["noise", "blur"]),
        (lambda: torch.nn.Flatten(), images(9, (3, 16, 16)), ["noise", "flip"]),
        (AnyWidth, ROWS, ["noise"]),
        (BatchNormNet, images(9, (2, 8, 8)), ["noise"]),
        # Six channels may be positions of something else.
        (lambda: torch.nn.Flatten(), images(9, (6, 16, 16)), ["noise"]),
        (MaskedText, np.arange(27).reshape(9, 3), ["noise"]),
    ],
)
def test_changes_chosen_by_shape(net, X, expected):
    assert make(seeded(net)).fit(X).changes_ == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("nois", "changes must be 'auto', names among 'noise'.*Did you mean 'noise'"),
        ([], "changes must be one or more"),
        (["noise", "noise"], "each with a name of its own"),
        ([("unchanged", half)], "other than 'unchanged'"),
        ([3], "changes must be a name, a function, a pair"),
        ((half, "half"), "changes must be a name, a function, a pair"),
        (("noise", "blur"), "or a list of these; got"),
        (lambda x: x, r"needs a name .*got '<lambda>'. Give a pair \(name"),
        (partial(half), "needs a name"),
        ([("a__b", half)], "without double underscores"),
        ("flip", r"'flip' is for images, which .*shape \(4,\).*Valid are 'noise', 'gr"),
        (["noise", "mask"], "'mask' is for token ids"),
        ("drop", "'drop' is for an attention_mask"),
        ([("short", lambda x: x[:, :2])], r"'short' must return.*shape \(3, 2\)"),
        ([("none", lambda x: None)], "'none' must return a tensor as it gets.*got Non"),
        ([("single", lambda x: x.float())], "'single' must return.*torch.float32"),
        ([("log", lambda x: x.log())], "'log' must return finite .* returns NaN"),
        ([("random", lambda x: x + torch.rand(4))], "'random'.*other values for the s"),
        ([("centred", lambda x: x - x.mean())], "'centred'.*depends on the others"),
    ],
)
def test_invalid_changes(changes, message):
    with pytest.raises(ValueError, match=message):
        make(AnyWidth(), changes).fit(ROWS)


def test_images_with_channels_last_are_not_shifted():
    X = images(5, (6, 6, 2))
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(72, 3))
    with pytest.raises(ValueError, match="'shift' is for images, which these"):
        make(net, "shift").fit(X)


def test_noise_needs_inputs_that_vary():
    with pytest.raises(ValueError, match=r"X must vary.*n_samples = 1 shows none"):
        make(AnyWidth()).fit(ROWS[:1])
    assert make(AnyWidth(), "grey").fit_transform(ROWS[:1]).shape == (1, 2)


def test_each_sample_is_read_once():
    reads = Counter()

    def read(i):
        reads[i] += 1
        return IMAGES[i]

    data = Yields(len(IMAGES), read)
    transformer = make(NET, batch_size=7)
    features = transformer.fit_transform(data)
    # The first eight are compared with a second reading.
    assert {reads[i] for i in range(8, 300)} == {1}
    assert_allclose(features, make(NET).fit_transform(IMAGES), rtol=1e-9)
    reads.clear()
    make(NET, "flip").fit(data)
    assert max(reads) == 7
    loader = DataLoader(data, batch_size=50)
    assert_allclose(make(NET).fit_transform(loader), features, rtol=1e-9)


def test_costs_one_pass_per_change():
    counts = Counter()
    net = seeded(BatchNormNet)
    net.register_forward_hook(lambda _, x, __: counts.update(n=len(x[0])))
    families = [
        ("gradients", GradientNorms()),
        ("layers", LayerActivations(["conv", "logits"])),
        ("stability", Stability(["noise", "flip"])),
    ]
    features = NetworkFeatures(net, families).fit(IMAGES)
    counts.clear()
    values = features.transform(IMAGES[:50])
    assert counts["n"] == 150
    # Beside others, of which gradients are taken, the columns are the same.
    alone = StabilityTransformer(net, ["noise", "flip"], random_state=0)
    alone.fit(IMAGES)
    features.set_params(stability__random_state=0).fit(IMAGES)
    values = features.transform(IMAGES[:50])
    assert_allclose(values[:, -3:], alone.transform(IMAGES[:50]), rtol=1e-6)


def test_cached_features_are_those_of_the_same_noise(tmp_path):
    cached = make(NET, memory=str(tmp_path))
    for transformer in (cached, clone(cached).set_params(random_state=1)):
        found = transformer.fit(IMAGES).transform(IMAGES[:5])
        plain = clone(transformer).set_params(memory=None).fit(IMAGES)
        assert_array_equal(found, plain.transform(IMAGES[:5]))


IDS = np.random.default_rng(0).integers(1, 1000, size=(24, 12))
LENGTHS = np.random.default_rng(1).integers(4, 13, size=24)
LENGTHS[:3] = 12
MASK = (np.arange(12) < LENGTHS[:, None]).astype(np.int64)
TEXT = seeded(MaskedText, dtype=torch.float64).eval()


def test_tokens_of_several_inputs():
    X = {"input_ids": IDS * MASK, "attention_mask": MASK}
    transformer = make(TEXT, ["mask", "drop"], token=5, token_share=0.25)
    features = transformer.fit_transform(X)
    chosen = (np.arange(12) % 4 == 2) & (MASK == 1)
    masked = X | {"input_ids": np.where(chosen, 5, X["input_ids"])}
    dropped = X | {"attention_mask": np.where(chosen, 0, MASK)}
    assert_allclose(features, log_odds_of(X, masked, dropped, net=TEXT), rtol=1e-9)
    # Padded to the length of one alone, a sample has the same features.
    length = LENGTHS.argmin()
    short = {key: entry[length, None, : LENGTHS[length]] for key, entry in X.items()}
    assert_allclose(transformer.transform(short)[0], features[length], rtol=1e-9)


def test_a_function_of_several_inputs_takes_a_dictionary():
    X = {"input_ids": IDS, "attention_mask": MASK}

    def other_words(inputs):
        return inputs | {"input_ids": (inputs["input_ids"] + 1) % 1000}

    features = make(TEXT, other_words).fit_transform(X)
    expected = log_odds_of(X, X | {"input_ids": (IDS + 1) % 1000}, net=TEXT)
    assert_allclose(features, expected, rtol=1e-9)
    with pytest.raises(ValueError, match="must return a dictionary of tensors"):
        make(TEXT, ("ids", lambda inputs: inputs["input_ids"])).fit(X)


def test_tokens_are_known_by_the_names_of_arguments():
    X = {"input_ids": IDS, "attention_mask": MASK}
    features = make(TEXT, ["mask", "drop"]).fit_transform((IDS, MASK))
    assert_array_equal(features, make(TEXT, ["mask", "drop"]).fit_transform(X))
    dataset = TensorDataset(torch.from_numpy(IDS), torch.from_numpy(MASK))
    features = make(TEXT, "drop").fit(dataset).transform((IDS, MASK))
    assert_array_equal(features, make(TEXT, "drop").fit_transform(X))


def test_changed_inputs_that_the_model_cannot_take():
    with pytest.raises(ValueError, match="cannot take inputs changed by 'mask': model"):
        make(TEXT, "mask", token=5000).fit(IDS)


def test_a_search_over_the_changes():
    detector = make_pipeline(make(NET), StableConfidence(target_fpr=0.2))
    search = GridSearchCV(
        detector,
        {
            "stabilitytransformer__changes": ["noise", ["blur", half]],
            "stabilitytransformer__noise_scale": [0.1, 0.5],
        },
        scoring=lambda estimator, X, y: float(estimator.score_samples(X).mean()),
        cv=NoveltyKFold(2),
    )
    best = search.fit(IMAGES, np.repeat([1, -1], 150)).best_estimator_
    assert best.score_samples(IMAGES).shape == (300,)


def test_functions_in_files(tmp_path):
    path = tmp_path / "detector.skgrad"
    transformer = make(NET, half).fit(IMAGES)
    # The file names a function, and holds no code.
    skgrad.save(transformer, path)
    with pytest.raises(ValueError, match=f"does not trust.*{half.__module__}.half"):
        skgrad.load(path, NET)
    loaded = skgrad.load(path, NET, trusted=[half])
    assert_array_equal(loaded.transform(IMAGES), transformer.transform(IMAGES))
    transformer = make(NET, ("back", lambda x: -x)).fit(IMAGES)
    with pytest.raises(TypeError, match="cannot be saved without code"):
        skgrad.save(transformer, path)
