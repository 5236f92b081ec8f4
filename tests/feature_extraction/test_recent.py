"""Results kept in the memory of the process, and noticing that a model changed."""

import pickle

import numpy as np
import pytest
import torch
from networks import LeNet, images, seeded
from numpy.testing import assert_array_equal
from torch import nn

from skgrad import ConfoundingGradientTransformer, LayerActivationTransformer
from skgrad.feature_extraction import _base, _portable
from skgrad.feature_extraction._portable import content_hash, quick_state
from skgrad.feature_extraction._recent import Recent


def test_found_by_key_and_equal_inputs():
    recent = Recent(10_000)
    X = np.arange(6.0).reshape(3, 2)
    recent.keep("a", X, "result")
    assert recent.get("a", X.copy()) == "result"
    assert recent.get("b", X) is None
    assert recent.get("a", X.astype(np.float32)) is None
    assert recent.get("a", X.ravel()) is None
    X[0, 0] = 9.0  # the inputs were copied
    assert recent.get("a", X) is None


def test_all_bytes_are_compared():
    recent = Recent(10**8)
    X = np.random.default_rng(0).normal(size=(1001, 999)).astype(np.float32)
    recent.keep("k", X, 1)
    assert recent.get("k", np.asfortranarray(X)) == 1
    for place in ((0, 0), (1000, 998), (500, 1), (131, 77)):
        other = X.copy()
        other[place] += 1.0
        assert recent.get("k", other) is None


def test_the_oldest_go_first():
    recent = Recent(2 * 80)
    one, two, three = (np.full(10, float(i)) for i in range(3))
    recent.keep("k", one, 1)
    recent.keep("k", two, 2)
    assert recent.get("k", one) == 1  # used, so two is the oldest now
    recent.keep("k", three, 3)
    assert [recent.get("k", X) for X in (one, two, three)] == [1, None, 3]
    recent.keep("k", np.zeros(100), 4)
    assert recent.get("k", np.zeros(100)) is None
    assert recent.get("k", three) == 3


def test_what_cannot_be_compared_is_not_kept(tmp_path):
    recent = Recent(10_000)
    mapped = np.memmap(tmp_path / "x", dtype=np.float32, mode="w+", shape=(3, 2))
    for X in (torch.zeros(3), [1.0], mapped, np.array(["a"]), np.array([None])):
        recent.keep("k", X, 1)
        assert recent.get("k", X) is None
    recent.keep("k", np.array([np.nan]), 1)
    assert recent.get("k", np.array([np.nan])) is None


@pytest.fixture
def hashes_taken(monkeypatch):
    """List the modules whose content was hashed in full."""
    taken = []
    take = _portable._content_hash
    monkeypatch.setattr(
        _portable, "_content_hash", lambda m: taken.append(m) or take(m)
    )
    return taken


class Scaled(LeNet):
    def __init__(self):
        super().__init__()
        self.factor = 1.0
        self.square = nn.Parameter(torch.tensor([[1.0, 2.0], [2.5, 3.0]]))

    def forward(self, x):
        return self.factor * super().forward(x)


def _through_data(net):
    net.conv1.weight.data[0, 0, 0, 0] += 1e-3


def _swap_rows(net):
    weight = net.fc1.weight.data
    weight[[0, 1]] = weight[[1, 0]]


def _through_numpy(net):
    net.fc1.bias.detach().numpy()[:2] = net.fc1.bias[[1, 0]].tolist()


def _swap_through_data(net):
    net.fc2.bias.data.copy_(net.fc2.bias.data.flip(0))


def _turn_through_data(net):
    net.square.data = net.square.data.T


def _step(net):
    with torch.no_grad():
        net.fc1.bias.add_(0.1)


def _replace_layer(net):
    net.fc2 = nn.Linear(84, 10)


def _replace_weight(net):
    net.conv1.weight = nn.Parameter(net.conv1.weight.detach() + 1)


def _set_attribute(net):
    net.factor = 2.0


def _dropout(net):
    net.add_module("drop", nn.Dropout(0.3))


def _patch(net):
    original = Scaled.forward
    net.__class__ = type("Patched", (Scaled,), {"forward": lambda s, x: -x})
    assert Scaled.forward is original


CHANGES = [
    _through_data,
    _swap_rows,
    _through_numpy,
    _swap_through_data,
    _turn_through_data,
    _step,
    _replace_layer,
    _replace_weight,
    _set_attribute,
    _dropout,
    _patch,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_changes_are_noticed(change, hashes_taken):
    net = seeded(Scaled)
    before = quick_state(net)
    assert before is not None
    assert quick_state(net) == before
    content_hash(net)
    content_hash(net)
    assert len(hashes_taken) == 1
    change(net)
    assert quick_state(net) != before


def test_each_byte_and_its_place_count():
    values = np.random.default_rng(0).integers(256, size=10_000, dtype=np.uint8)
    sums = {_portable._checksum(values)}
    for place in range(0, 9_999, 99):
        other = values.copy()
        other[place] ^= 1
        sums.add(_portable._checksum(other))
        other = values.copy()
        other[[place, -1 - place]] = 255, 255 - values[place]
        sums.add(_portable._checksum(other))
        blocks = values.copy()
        blocks[: 2 * 8] = np.roll(values[: 2 * 8], 8)
        sums.add(_portable._checksum(blocks))
    assert len(sums) == 1 + 2 * 101 + 1


ODD = {
    "float8": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "conjugate": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "expanded": lambda: torch.ones(()).expand(4),
    "empty": lambda: torch.empty(0, 3),
}


@pytest.mark.parametrize("make", ODD.values(), ids=list(ODD))
def test_tensors_of_any_kind_are_hashed(make):
    net = seeded(LeNet)
    plain = content_hash(net)
    net.register_buffer("odd", make())
    first = content_hash(net)
    assert first != plain
    assert content_hash(net) == first


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_sparse_tensors_are_hashed_each_time(hashes_taken):
    net = seeded(LeNet)
    net.register_buffer("odd", torch.eye(3).to_sparse())
    assert quick_state(net) is None
    content_hash(net)
    content_hash(net)
    assert len(hashes_taken) == 2


@pytest.mark.filterwarnings("ignore:Sparse")
def test_what_torch_cannot_pickle_is_refused():
    net = seeded(LeNet)
    net.register_buffer("odd", torch.eye(3).to_sparse_csr())
    with pytest.raises(ValueError, match="memory needs a model whose content can be"):
        content_hash(net)


def test_pickles_hold_the_latest_values():
    model = seeded(LeNet)
    model.fc2.weight = nn.Parameter(torch.randn(84, 10).T)  # copied when pickled
    transformer = LayerActivationTransformer(model)
    pickle.dumps(transformer)
    model.fc2.weight.data.copy_(model.fc2.weight.data.flip(0))
    twin = pickle.loads(pickle.dumps(transformer))
    assert torch.equal(twin.model.fc2.weight, model.fc2.weight)


def test_hidden_state_is_hashed_each_time(hashes_taken):
    net = seeded(Scaled)
    net.table = {"a": np.ones(3)}
    assert quick_state(net) is None
    first = content_hash(net)
    net.table["a"][0] = 5.0
    assert content_hash(net) != first
    assert len(hashes_taken) == 2


@pytest.mark.parametrize("change", [_through_data, _step, _set_attribute])
def test_features_of_a_changed_model_are_new(change, tmp_path):
    net, X = seeded(Scaled), images(20, (1, 28, 28))
    cached = ConfoundingGradientTransformer(net, memory=tmp_path).fit(X)
    old = cached.transform(X)
    assert_array_equal(cached.transform(X), old)
    change(net)
    expected = ConfoundingGradientTransformer(net).fit(X).transform(X)
    assert_array_equal(cached.transform(X), expected)
    assert (expected != old).any()


def test_what_is_kept_cannot_be_changed_from_outside(tmp_path):
    net, X = seeded(LeNet), images(20, (1, 28, 28))
    cached = LayerActivationTransformer(net, memory=tmp_path).fit(X)
    first = cached.transform(X)
    expected = np.array(first)
    first[:] = 0.0
    assert_array_equal(cached.transform(X), expected)


def test_fit_learns_the_same_from_memory(tmp_path, monkeypatch):
    net, X = seeded(LeNet), images(20, (1, 28, 28))
    for make in (ConfoundingGradientTransformer, LayerActivationTransformer):
        first = make(net, memory=tmp_path).fit(X)
        with monkeypatch.context() as patch:
            patch.setattr(_base, "probe", None)  # would fail if it were called
            second = make(net, memory=tmp_path).fit(X)
        names = first.get_feature_names_out()
        assert_array_equal(second.get_feature_names_out(), names)
        for name in first._learnt:
            assert getattr(second, name) == getattr(first, name)
        assert second.n_classes_ == first.n_classes_
        without = make(net).fit(X)
        assert_array_equal(second.transform(X), without.transform(X))


def test_nothing_is_remembered_without_memory(monkeypatch):
    monkeypatch.setattr(_base, "_RECENT", None)  # would fail if it were used
    net, X = seeded(LeNet), images(20, (1, 28, 28))
    assert LayerActivationTransformer(net).fit(X).transform(X).shape[0] == 20
