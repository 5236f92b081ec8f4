"""Choosing the most discriminative layer."""

import numpy as np
import pytest
import torch
from networks import LeNet, images, seeded
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from torch import nn
from torch.utils.data import TensorDataset

from skgrad import LayerActivationTransformer
from skgrad.model_selection import MostDiscriminativeLayer
from skgrad.model_selection._anomalies import generate_anomalies
from skgrad.model_selection._layer import best_layer

SHAPE = (1, 28, 28)
LAYERS = ["conv1", "conv2", "fc1", "fc2"]
X = images(60, SHAPE) ** 2
X_OOD = np.concatenate([images(20, SHAPE, seed=1), X[:20, :, ::-1] / 2])
BOTH = np.concatenate([X, X_OOD])
Y = np.repeat([1, -1], [len(X), len(X_OOD)])


@pytest.fixture(scope="module")
def model():
    # float64: the errors are counts, and must not turn on rounding.
    return seeded(LeNet, dtype=torch.float64)


def pooled(model, layer, X):
    """Return the outputs of a layer of LeNet, by hand."""
    kept = []
    handle = getattr(model, layer).register_forward_hook(
        lambda part, inputs, output: kept.append(output.detach().clone())
    )
    with torch.no_grad():
        model(torch.tensor(X, dtype=torch.float64))
    handle.remove()
    return kept[0].flatten(2).mean(dim=2).numpy() if kept[0].ndim > 2 else kept[0]


def least_error(normal, anomalous):
    """Try all thresholds."""
    return min(
        np.mean(normal < threshold) / 2 + np.mean(anomalous >= threshold) / 2
        for threshold in [*normal, *anomalous, np.inf]
    )


def defined_error(model, layer, X_fit, X_held_out, X_anomalous, nu=0.001):
    scaler = StandardScaler().fit(pooled(model, layer, X_fit))
    svm = OneClassSVM(nu=nu).fit(scaler.transform(pooled(model, layer, X_fit)))
    scores = [
        svm.score_samples(scaler.transform(pooled(model, layer, X)))
        for X in (X_held_out, X_anomalous)
    ]
    return least_error(*scores)


@pytest.mark.parametrize("nu", [0.001, 0.3])
def test_errors_by_definition_with_given_anomalies(model, nu):
    choice = MostDiscriminativeLayer(model, nu=nu, random_state=0).fit(BOTH, Y)
    assert choice.anomalies_used_ == "given"
    assert choice.candidates_ == LAYERS
    rows = np.random.RandomState(0).permutation(60)
    expected = {
        layer: defined_error(model, layer, X[rows[:30]], X[rows[30:]], X_OOD, nu)
        for layer in LAYERS
    }
    assert choice.errors_ == pytest.approx(expected, abs=1e-12)
    assert choice.layer_ == min(expected, key=expected.get)
    assert len(set(expected.values())) > 2


def test_errors_by_definition_with_generated_anomalies(model):
    choice = MostDiscriminativeLayer(model, random_state=0).fit(X)
    assert choice.anomalies_used_ == "generated"
    generator = np.random.RandomState(0)
    rows = generator.permutation(60)
    # The draw of given anomalies, of which there are none.
    generator.permutation(0)
    X_fit, X_held_out = X[rows[:30]].astype(float), X[rows[30:]].astype(float)
    kinds = list(generate_anomalies(X_held_out, generator))
    for layer in LAYERS:
        errors = [defined_error(model, layer, X_fit, X_held_out, k) for k in kinds]
        assert choice.errors_[layer] == pytest.approx(np.mean(errors), abs=1e-12)
    assert choice.layer_ == min(choice.errors_, key=choice.errors_.get)


class Branches(nn.Module):
    """A blind layer, called first, and one that sees everything."""

    def __init__(self):
        super().__init__()
        self.blind = nn.Linear(6, 4)
        self.seeing = nn.Linear(6, 6)
        self.head = nn.Linear(10, 3)
        with torch.no_grad():
            self.blind.weight.zero_()

    def forward(self, x):
        return self.head(torch.cat([self.blind(x), self.seeing(x)], dim=1))


@pytest.mark.parametrize("given", [True, False])
def test_the_layer_that_sees_wins(given):
    model = seeded(Branches)
    rng = np.random.default_rng(0)
    # Columns that depend on one another: else mixed inputs were no anomalies.
    X = rng.normal(size=(100, 2)) @ rng.normal(size=(2, 6))
    y = None
    if given:
        X = np.concatenate([X, X + 9])
        y = np.repeat([1, -1], 100)
    choice = MostDiscriminativeLayer(model, random_state=0).fit(X, y)
    assert set(choice.candidates_) == {"blind", "seeing"}
    assert choice.layer_ == "seeing"
    assert choice.errors_["blind"] == 0.5
    assert choice.aurocs_["blind"] == 0.5
    assert choice.errors_["seeing"] < (0.01 if given else 0.4)


def test_labels_0_and_1_give_no_anomalies():
    X = np.random.default_rng(0).normal(size=(40, 6))
    choice = MostDiscriminativeLayer(seeded(Branches), random_state=0)
    with pytest.warns(UserWarning, match="y holds 0 and 1, which was ignored"):
        choice.fit(X, np.repeat([0, 1], 20))
    assert choice.anomalies_used_ == "generated"


def test_the_least_error_wins_then_auroc_then_the_earlier():
    for scores in (
        {"a": (0.2, 0.9), "b": (0.1, 0.8), "c": (0.3, 1.0)},
        {"a": (0.1, 0.8), "b": (0.1, 0.9), "c": (0.1, 0.7)},
        {"a": (0.2, 0.8), "b": (0.1, 0.8), "c": (0.1, 0.8)},
        # Equal but for rounding.
        {"a": (0.1, 0.8), "b": (0.1 + 1e-15, 0.9)},
    ):
        assert best_layer(scores) == "b"


def test_transform_is_that_of_the_chosen_layer(model):
    choice = MostDiscriminativeLayer(model, ["fc1", "conv2"], random_state=0)
    features = choice.fit_transform(X)
    named = LayerActivationTransformer(model, [choice.layer_, "logits"]).fit(X)
    assert_array_equal(features, named.transform(X))
    names = named.get_feature_names_out()
    assert_array_equal(features.feature_names, names)
    assert_array_equal(choice.get_feature_names_out(), names)
    assert (choice.n_classes_, choice.input_shape_) == (10, SHAPE)


class Counting(LeNet):
    rows = []

    def forward(self, x):
        self.rows.append(len(x))
        return super().forward(x)


def rows_seen(n_samples, y=None, **options):
    model = seeded(Counting)
    Counting.rows = []
    data = BOTH if y is not None else np.concatenate([X, X])[:n_samples]
    MostDiscriminativeLayer(model, random_state=0, **options).fit(data, y)
    return sum(Counting.rows)


def test_one_forward_pass_for_all_layers():
    # Apart from the samples used there are only those that probe the model.
    probes = rows_seen(20) - (20 + 5 * 10)
    assert 0 < probes <= 40
    assert rows_seen(60) == 60 + 5 * 30 + probes
    assert rows_seen(60, layers=["conv1", "fc2"]) == rows_seen(60, layers=["conv1"])
    assert rows_seen(0, Y) == len(Y) + probes
    # At most max_samples of either kind.
    assert rows_seen(110, max_samples=20) == rows_seen(20)
    assert rows_seen(0, Y, max_samples=20) == 20 + 20 + probes


def test_other_labels_are_ignored(model):
    plain = MostDiscriminativeLayer(model, random_state=0).fit(X)
    for y in (np.ones(60), np.arange(60) % 10, ["cat"] * 60):
        choice = MostDiscriminativeLayer(model, random_state=0).fit(X, y)
        assert choice.anomalies_used_ == "generated"
        assert choice.errors_ == plain.errors_


class Reader(TensorDataset):
    """Notes which samples were read."""

    read: set = set()

    def __getitem__(self, i):
        self.read.add(i)
        return super().__getitem__(i)


def test_no_more_samples_of_a_dataset_are_read_than_are_drawn(model):
    dataset = Reader(torch.from_numpy(BOTH), torch.zeros(len(BOTH)))
    choice = MostDiscriminativeLayer(model, max_samples=10, random_state=0)
    assert choice.fit(dataset).errors_ == clone(choice).fit(BOTH).errors_
    # The first eight probe the model, and show whether X stays the same.
    assert len(dataset.read - set(range(8))) <= 10


def test_few_samples(model):
    for n_samples, given in ((1, (X[:1],)), (0, (X, -np.ones(60)))):
        message = rf"at least 2 in-distribution samples.*n_samples={n_samples}"
        with pytest.raises(ValueError, match=message):
            MostDiscriminativeLayer(model).fit(*given)
    for n_samples in (2, 3):
        choice = MostDiscriminativeLayer(model, random_state=0).fit(X[:n_samples])
        assert choice.layer_ in LAYERS


def test_constant_inputs_separate_nothing(model):
    with pytest.warns(UserWarning, match="No layer separates the generated") as w:
        choice = MostDiscriminativeLayer(model).fit(np.ones((20, *SHAPE)))
    assert w[0].filename == __file__
    assert choice.errors_ == dict.fromkeys(LAYERS, 0.5)
    assert choice.layer_ == "conv1"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["conv1", "logits"], "candidates other than 'logits'.*Leave it out"),
        (["relu"], "'relu' is called more than once"),
    ],
)
def test_wrong_layers(model, layers, message):
    with pytest.raises(ValueError, match=message):
        MostDiscriminativeLayer(model, layers).fit(X)


def test_models_without_a_candidate():
    for model in (nn.Linear(6, 3), nn.Sequential(nn.Linear(6, 3))):
        with pytest.raises(ValueError, match=r"model must have a layer to choose"):
            MostDiscriminativeLayer(model).fit(np.ones((20, 6)))
