"""Features cached on disk, and the private copy on another device."""

import copy
import pickle
from contextlib import contextmanager
from functools import partial

import joblib
import pytest
import torch
from networks import BatchNormNet, images, seeded
from numpy.testing import assert_array_equal
from sklearn.base import clone
from torch.utils.data import TensorDataset

from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
)
from skgrad.feature_extraction import (
    FeatureArray,
    LayerActivations,
    _base,
    _model_estimator,
)

# joblib measures how long it takes to write, which says more about the machine.
pytestmark = pytest.mark.filterwarnings("ignore:Persisting input arguments")

SHAPE = (2, 6, 6)
X = images(7, SHAPE)


@pytest.fixture
def n_computed(monkeypatch):
    """Return a function that counts the transforms that were computed since."""
    computed = []
    compute = _base.BaseModelTransformer._compute

    def counted(self, X, *raw):
        computed.append(len(X))
        return compute(self, X, *raw)

    monkeypatch.setattr(_base.BaseModelTransformer, "_compute", counted)

    def count():
        n = len(computed)
        computed.clear()
        return n

    return count


def test_second_transform_comes_from_the_cache(make, model, tmp_path, n_computed):
    expected = make(model).fit_transform(X)
    n_computed()
    transformer = make(model, memory=str(tmp_path)).fit(X)
    first, again = transformer.transform(X), transformer.transform(X)
    assert n_computed() == 1
    for features in (first, again):
        assert isinstance(features, FeatureArray)
        assert features.dtype == expected.dtype
        assert_array_equal(features.feature_names, expected.feature_names)
        assert_array_equal(features, expected)


def test_copies_and_settings_without_influence_find_it(
    make, model, tmp_path, n_computed
):
    transformer = make(model, memory=str(tmp_path)).fit(X)
    transformer.transform(X)
    twins = [
        clone(transformer).fit(X),
        copy.deepcopy(transformer),
        pickle.loads(pickle.dumps(transformer)),
        make(
            copy.deepcopy(model).eval(), memory=joblib.Memory(str(tmp_path), verbose=0)
        ),
        make(model, memory=str(tmp_path), batch_size=3, device="cpu", verbose=True),
        make(model, memory=str(tmp_path), num_workers=1),
        make(model).fit(X).set_params(memory=str(tmp_path)),
    ]
    for twin in twins:
        twin.fit(X).transform(X)
    for kind in (torch.from_numpy(X), TensorDataset(torch.from_numpy(X))):
        transformer.transform(kind)
    assert n_computed() == 1


class Augmented(TensorDataset):
    def __getitem__(self, index):
        (x,) = super().__getitem__(index)
        return x + torch.rand(())


def test_a_dataset_is_checked_before_it_is_cached(make, model, tmp_path):
    memory = {"memory": str(tmp_path)}
    transformer = make(model, **memory)
    transformer.fit_transform(TensorDataset(torch.from_numpy(X)))
    assert transformer.n_features_in_ == X.shape[1]
    with pytest.warns(UserWarning, match="X gives different values each time"):
        make(model, **memory).fit_transform(Augmented(torch.from_numpy(X)))


def test_other_inputs_networks_and_parameters_are_computed(
    make, model, tmp_path, n_computed
):
    transformer = make(model, memory=str(tmp_path)).fit(X)
    transformer.transform(X)
    transformer.transform(X[:3])
    assert n_computed() == 2
    with torch.no_grad():
        model.head.bias[0] += 1e-3
    changed = transformer.fit(X).transform(X)
    assert n_computed() == 1
    assert_array_equal(changed, make(model).fit_transform(X))


@contextmanager
def full_disk():
    """Let every file end after 64 bytes, as on a disk that has no room for more."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_run_goes_on_after_a_full_disk(make, model, tmp_path, n_computed):
    parts = [images(7, SHAPE, seed=seed) for seed in range(3)]
    plain = make(model).fit(X)
    expected = [plain.transform(part) for part in parts]
    transformer = make(model, memory=str(tmp_path)).fit(X)
    transformer.transform(parts[0])
    n_computed()
    with full_disk(), pytest.warns(Warning, match=r"cache to disk.*too large"):
        assert_array_equal(transformer.transform(parts[1]), expected[1])
    assert n_computed() == 1
    # Neither what was finished nor what was half written stands in the way.
    for part, features in zip(parts, expected, strict=True):
        assert_array_equal(transformer.transform(part), features)
    assert n_computed() == 2


@pytest.mark.parametrize(
    ("make", "one", "other"),
    [
        (ConfoundingGradientTransformer, {}, {"label": [1, 1, 0]}),
        (ConfoundingGradientTransformer, {}, {"log": True}),
        (CosineSimilarityMatrixTransformer, {}, {"sign": False}),
        (LayerActivationTransformer, {"layers": "conv"}, {"layers": "head"}),
    ],
)
def test_parameters_that_matter_are_told_apart(make, one, other, model, tmp_path):
    for options in (one, other):
        cached = make(model, memory=str(tmp_path), **options).fit_transform(X)
        assert_array_equal(cached, make(model, **options).fit_transform(X))


def test_shape_of_a_sample_matters(tmp_path):
    net = seeded(lambda: torch.nn.Sequential(ByChannel(), torch.nn.Linear(2, 3)))
    rows = images(4, (12,))
    make = partial(LayerActivationTransformer, net, "logits")
    for shape in ((2, 6), (2, 3, 2)):
        cached = make(input_shape=shape, memory=str(tmp_path)).fit_transform(rows)
        assert_array_equal(cached, make(input_shape=shape).fit_transform(rows))


class ByChannel(torch.nn.Module):
    """The mean of each channel, of a time series or the first column of an image."""

    def forward(self, x):
        return x.mean(dim=2) if x.ndim == 3 else x[..., 0].mean(dim=2)


class BrightnessLayer(LayerActivationTransformer):
    """Chooses its layer by the inputs of fit, as MostDiscriminativeLayer does."""

    def _make_families(self):
        return {"": BrightnessActivations(["conv", "logits"])}


class BrightnessActivations(LayerActivations):
    def _find_layers(self, probe):
        return ["conv"] if probe.x.mean() > 1 else ["logits"]


def test_columns_chosen_by_fit_are_told_apart(model, tmp_path):
    for data in (X, X + 1):
        transformer = BrightnessLayer(model, memory=str(tmp_path)).fit(data)
        expected = BrightnessLayer(model).fit(data).transform(X)
        assert_array_equal(transformer.transform(X), expected)


def test_nothing_is_hashed_without_memory(make, model, monkeypatch):
    monkeypatch.setattr(_base, "PortableModel", None)  # would fail if it were used
    for memory in (None, joblib.Memory(None)):
        make(model, memory=memory).fit(X).transform(X)


def test_network_is_hashed_once_a_fit(make, model, tmp_path, monkeypatch):
    hashed = []
    take_apart = _base.PortableModel
    monkeypatch.setattr(
        _base, "PortableModel", lambda m: hashed.append(m) or take_apart(m)
    )
    transformer = make(model, memory=str(tmp_path)).fit(X)
    for rows in (X, X[:2], X):
        transformer.transform(rows)
    assert hashed == [model]


def test_a_model_set_after_fit_has_entries_of_its_own(make, model, tmp_path):
    transformer = make(model, memory=str(tmp_path)).fit(X)
    other = seeded(BatchNormNet, seed=1)
    with pytest.warns(UserWarning, match="model has changed since fit"):
        transformer.set_params(model=other).transform(X)
    for net in (model, other):
        cached = make(net, memory=str(tmp_path)).fit_transform(X)
        assert_array_equal(cached, make(net).fit_transform(X))


class Scaled(torch.nn.Module):
    """A network with an attribute that is no parameter."""

    def __init__(self, scale):
        super().__init__()
        self.scale, self.linear = scale, torch.nn.Linear(2, 3)

    def forward(self, x):
        return self.scale * self.linear(x)


def test_networks_that_differ_in_an_attribute_have_entries_of_their_own(tmp_path):
    rows = torch.rand(5, 2)
    nets = [seeded(partial(Scaled, scale)) for scale in (1.0, 2.0)]
    features = [
        LayerActivationTransformer(net, "logits", memory=str(tmp_path)).fit_transform(
            rows
        )
        for net in nets
    ]
    assert_array_equal(features[1], 2 * features[0])


def test_a_model_without_a_hash_raises(tmp_path):
    net = Scaled(1.0)
    net.linear.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match=r"memory needs a model.*or use memory=None"):
        LayerActivationTransformer(net, "logits", memory=str(tmp_path)).fit(
            torch.rand(5, 2)
        )


@pytest.fixture
def n_copies(monkeypatch):
    """Let the CPU be another device than the model's; count the copies there."""
    copies = []

    def on_device(module, device):
        if device is None:
            return module
        copies.append(copy.deepcopy(module))
        return copies[-1]

    monkeypatch.setattr(_model_estimator, "on_device", on_device)

    def count():
        n = len(copies)
        copies.clear()
        return n

    return count


def test_a_network_is_copied_to_its_device_once_a_fit(make, model, n_copies):
    transformer = make(model, device="cpu")
    for _ in range(2):
        transformer.fit(X)
        assert n_copies() == 1
        transformer.transform(X)
        transformer.transform(X[:2])
        assert n_copies() == 0
    # The copy does not travel.
    n_bytes = len(pickle.dumps(make(model, device=None).fit(X)))
    assert len(pickle.dumps(transformer)) < n_bytes + 50
    for twin in (clone(transformer).fit(X), copy.copy(transformer)):
        twin.transform(X)
        assert n_copies() == 1


def test_the_copy_follows_the_model(make, model, n_copies):
    transformer = make(model, device="cpu").fit(X)
    with torch.no_grad():
        model.head.weight[0] += 1
    expected = make(model).fit_transform(X)
    assert_array_equal(transformer.fit(X).transform(X), expected)
    other = seeded(BatchNormNet, seed=1)
    transformer.set_params(model=other)
    with pytest.warns(UserWarning, match="model has changed since fit"):
        features = transformer.transform(X)
    assert_array_equal(features, make(other).fit_transform(X))
