"""The store: keys by content, whole files, damaged ones computed anew."""

import numpy as np
import pytest
import torch

from skgrad import LayerActivationTransformer, _files
from skgrad.evaluation import Threat, _store
from skgrad.evaluation._store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, "scores")


def test_round_trip(store, tmp_path):
    key = store.key("anything", 1)
    assert store.load(key) is None
    arrays = {"scores": np.arange(3.0), "rejected": np.array([True]), "seconds": 1.5}
    store.save(key, arrays)
    loaded = store.load(key)
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
    store.save(key, {"scores": np.zeros(1)})
    assert list(store.load(key)) == ["scores"]
    assert [path.suffix for path in (tmp_path / "scores").iterdir()] == [".npz"]


def test_no_folder_keeps_nothing():
    store = Store(None, "scores")
    assert store.key("x") is None
    store.save(None, {"x": np.zeros(1)})
    assert store.load(None) is None


def test_keys_depend_on_content(store, monkeypatch):
    def key_of(bias, **options):
        torch.manual_seed(0)
        model = torch.nn.Linear(2, 2)
        torch.nn.init.constant_(model.bias, bias)
        return store.key(LayerActivationTransformer(model, **options))

    assert key_of(0.0) == key_of(0.0)
    assert key_of(0.0) != key_of(1e-6)
    assert key_of(0.0) != key_of(0.0, layers="logits")
    assert store.key(Threat()) == store.key(Threat(eps_l2=3.0))
    assert store.key(Threat()) != store.key(Threat(eps=0.2))
    assert store.key(1, 2) != store.key(2, 1)
    before = store.key("x")
    monkeypatch.setattr(_store.sklearn, "__version__", "99")
    assert store.key("x") != before


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "pickle", "folder"])
def test_what_cannot_be_read_is_not_there(store, tmp_path, damage):
    key = store.key(damage)
    path = tmp_path / "scores" / f"{key}.npz"
    store.save(key, {"scores": np.arange(100.0)})
    whole = path.read_bytes()
    if damage == "pickle":
        np.savez(path, scores=np.array([{}], dtype=object))
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        rests = {"empty": b"", "cut": whole[: len(whole) // 2], "noise": b"x" * 300}
        path.write_bytes(rests[damage])
    with pytest.warns(RuntimeWarning, match=r"cache: .* is computed again"):
        assert store.load(key) is None
    if damage != "folder":
        store.save(key, {"scores": np.ones(1)})
        assert store.load(key)["scores"] == 1


def test_flipped_byte_is_noticed(store, tmp_path):
    key = store.key("flip")
    path = tmp_path / "scores" / f"{key}.npz"
    store.save(key, {"scores": np.arange(100.0)})
    content = bytearray(path.read_bytes())
    content[400] ^= 0xFF
    path.write_bytes(content)
    with pytest.warns(RuntimeWarning, match=r"cache: .* is computed again"):
        assert store.load(key) is None


def test_interrupted_write_leaves_nothing(store, tmp_path, monkeypatch):
    def stop(path):
        assert path.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(_files, "_to_disk", stop)
    with pytest.raises(KeyboardInterrupt):
        store.save(store.key("x"), {"scores": np.zeros(1)})
    assert list((tmp_path / "scores").iterdir()) == []
