"""No sample passes twice through the same model, and nothing else changes."""

import copy
import errno
import os
import pickle
import threading
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from networks import AnyWidth, Recording, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.pipeline import FeatureUnion
from sklearn.utils.estimator_checks import check_estimator
from torch import nn
from torch.utils.data import TensorDataset

from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
)
from skgrad.feature_extraction import FeatureArray, _base, _row_cache
from skgrad.feature_extraction._recent import Recent

SHAPE = (2, 6, 6)
X = images(7, SHAPE)
MAKERS = {
    "confounding": ConfoundingGradientTransformer,
    "cosine": CosineSimilarityMatrixTransformer,
    "activation": partial(LayerActivationTransformer, layers=["conv", "logits"]),
}


@pytest.fixture(autouse=True)
def nothing_recent(monkeypatch):
    # What was computed last is remembered beside the disk; here the disk is tested.
    monkeypatch.setattr(_base, "_RECENT", Recent(0))


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def maker(request):
    return request.param


@pytest.fixture
def model(tmp_path):
    return seeded(partial(Recording, tmp_path / "seen"))


@pytest.fixture
def memory(tmp_path):
    return tmp_path / "memory"


@pytest.fixture
def make(maker, model, memory):
    """Make a fitted transformer, by default around the model and with a memory."""

    def fitted(model=model, **options):
        transformer = maker(model, **{"memory": memory, **options}).fit(X)
        model.seen()  # those of fit
        return transformer

    return fitted


def passed(transformer, X):
    """Return how many samples passed through the model in a transform."""
    transformer.transform(X)
    return transformer.model.seen().total()


def shards(memory):
    return sorted(memory.rglob("*.npz"))


def test_second_transform_costs_nothing(make):
    transformer = make()
    first = transformer.transform(X)
    assert transformer.model.seen().total() == len(X)
    again = transformer.transform(X)
    assert transformer.model.seen().total() == 0
    assert_array_equal(again, first)
    assert isinstance(again, FeatureArray)
    assert again.dtype == first.dtype


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_first_pass_gives_the_very_same_values(make, batch_size):
    expected = make(memory=None, batch_size=batch_size).transform(X)
    assert_array_equal(make(batch_size=batch_size).transform(X), expected)


def test_only_new_samples_are_computed_in_any_order(make):
    transformer = make(batch_size=2)
    assert passed(transformer, X[2:4]) == 2
    assert passed(transformer, X[1:6]) == 3
    order = [5, 0, 3, 3, 6, 1, 2, 4]
    features = transformer.transform(X[order])
    assert transformer.model.seen().total() == 2
    expected = np.asarray(make(memory=None).transform(X))
    assert_allclose(features, expected[order], rtol=1e-4, atol=1e-6)


def test_repeated_samples_are_computed_once(make):
    transformer = make(batch_size=2)
    features = transformer.transform(X[[0, 1, 0, 0, 1, 2, 0]])
    assert transformer.model.seen().total() == 3
    assert_array_equal(features[[0, 1]], features[[3, 4]])


def test_missing_samples_are_gathered_to_whole_batches(make, monkeypatch):
    transformer = make(batch_size=2)
    transformer.transform(X[[0, 2, 4]])
    sizes = []
    compute = type(transformer)._features

    def counted(self, module, batch, n_classes):
        sizes.append(len(batch))
        return compute(self, module, batch, n_classes)

    monkeypatch.setattr(type(transformer), "_features", counted)
    transformer.transform(X)
    assert sizes == [2, 2]


def test_copies_find_what_the_original_stored(make):
    transformer = make()
    expected = transformer.transform(X)
    transformer.model.seen()
    copies = [
        clone(transformer).fit(X),
        copy.deepcopy(transformer),
        pickle.loads(pickle.dumps(transformer)),
        make(copy.deepcopy(transformer.model)),
    ]
    transformer.model.seen()
    for twin in copies:
        assert_array_equal(twin.transform(X), expected)
    assert transformer.model.seen().total() == 0


def test_settings_without_influence_do_not_matter(make, capsys):
    make().transform(X)
    # Also where each sample is as the model gets it, and not as it comes.
    for options in ({"batch_size": 2}, {"verbose": True}, {"device": "cpu"}):
        assert passed(make(**options), X) == 0
    assert "Transformer: 100%" in capsys.readouterr().err
    assert passed(make(input_shape=SHAPE), X.reshape(len(X), -1)) == 0
    transformer = make()
    transformer.model.train().head.bias.requires_grad_(False)
    assert passed(transformer, X) == 0


def test_other_kinds_of_input_are_the_same_samples(make, tmp_path):
    transformer = make(batch_size=3)
    transformer.transform(X)
    transformer.model.seen()
    np.save(tmp_path / "x.npy", X)
    kinds = [
        X.tolist(),
        X.astype(float),
        np.asfortranarray(X),
        np.load(tmp_path / "x.npy", mmap_mode="r"),
        torch.from_numpy(X),
        TensorDataset(torch.from_numpy(X), torch.arange(7)),
    ]
    assert [passed(transformer, kind) for kind in kinds] == [0] * len(kinds)


def test_another_model_is_another_model(make):
    transformer = make()
    model = transformer.model
    transformer.transform(X)
    model.seen()
    with torch.no_grad():
        model.conv.weight[0, 0, 0, 0] += 1e-3
    assert passed(transformer, X) == len(X)
    assert_array_equal(transformer.transform(X), make(memory=None).transform(X))
    model.double().seen()
    assert passed(transformer, X) == len(X)


def test_another_shape_is_another_sample(make):
    assert passed(make(), X) == len(X)
    reshaped = X.reshape(len(X), 2, 4, 9)
    transformer = make().fit(reshaped)
    transformer.model.seen()
    assert passed(transformer, reshaped) == len(X)


def test_other_code_is_another_model(make, monkeypatch):
    transformer = make()
    transformer.transform(X)
    forward = Recording.forward
    monkeypatch.setattr(Recording, "forward", lambda self, x: forward(self, 2 * x))
    transformer.model.seen()
    assert passed(transformer, X) == len(X)


@pytest.mark.parametrize(
    ("maker", "one", "other"),
    [
        (ConfoundingGradientTransformer, {}, {"label": "none"}),
        (ConfoundingGradientTransformer, {}, {"label": [1, 1, 1]}),
        (ConfoundingGradientTransformer, {}, {"loss": "cross_entropy"}),
        (ConfoundingGradientTransformer, {}, {"log": True}),
        (CosineSimilarityMatrixTransformer, {}, {"sign": False}),
        (CosineSimilarityMatrixTransformer, {}, {"top_n": 3}),
        (LayerActivationTransformer, {"layers": "conv"}, {"layers": "head"}),
        (
            LayerActivationTransformer,
            {"layers": "conv"},
            {"layers": "conv", "pooling": "max"},
        ),
    ],
)
def test_other_parameters_give_other_features(maker, one, other, model, memory):
    for options in (one, other):
        transformer = maker(model, memory=memory, **options).fit(X)
        model.seen()
        assert passed(transformer, X) == len(X)
        expected = maker(model, **options).fit_transform(X)
        assert_array_equal(transformer.transform(X), expected)
        model.seen()


def test_equal_parameters_of_other_types_are_the_same(model, memory):
    counts = []
    for label in ([1.0, 0.0, 1.0], np.array([1.0, 0, 1]), torch.tensor([1.0, 0, 1])):
        transformer = ConfoundingGradientTransformer(model, label=label, memory=memory)
        transformer.fit(X)
        model.seen()
        counts.append(passed(transformer, X))
    assert counts == [len(X), 0, 0]


def test_all_transformers_share_one_folder(model, memory):
    union = FeatureUnion([(n, m(model, memory=memory)) for n, m in MAKERS.items()])
    expected = FeatureUnion([(n, m(model)) for n, m in MAKERS.items()]).fit_transform(X)
    assert_array_equal(union.fit_transform(X), expected)
    model.seen()
    assert_array_equal(union.transform(X), expected)
    assert model.seen().total() == 0
    assert len({path.parent for path in shards(memory)}) == 3


def test_processes_compute_each_sample_once(model, memory):
    transformer = ConfoundingGradientTransformer(model, memory=memory, batch_size=10)
    many = images(200, SHAPE)
    transformer.fit(many)
    model.seen()
    parts = [many[:150], many[50:], many[::-1], many[::2]]
    results = joblib.Parallel(n_jobs=2)(
        joblib.delayed(transformer.transform)(part) for part in parts
    )
    seen = model.seen()
    assert len(seen) == len(many)
    assert set(seen.values()) == {1}
    expected = clone(transformer).set_params(memory=None).fit_transform(many)
    assert_allclose(results[0], expected[:150], rtol=1e-4)
    assert_allclose(results[2], expected[::-1], rtol=1e-4)


def test_what_another_process_stored_meanwhile_is_not_computed(make, monkeypatch):
    transformer, other = make(batch_size=2), make()
    lock, entered = _row_cache.RowStore.locked, []

    def after_the_other(store):
        if not entered:
            entered.append(1)
            other.transform(X[:5])
        return lock(store)

    monkeypatch.setattr(_row_cache.RowStore, "locked", after_the_other)
    assert passed(transformer, X) == len(X)


def test_one_process_computes_at_a_time(make, memory):
    fcntl = pytest.importorskip("fcntl")
    transformer = make()
    transformer.transform(X[:1])
    transformer.model.seen()
    waiting = threading.Thread(target=transformer.transform, args=(X,))
    with open(shards(memory)[0].parent / "lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert passed(transformer, X[:1]) == 0  # reading needs no lock
        waiting.start()
        waiting.join(timeout=0.3)
        assert transformer.model.seen().total() == 0
    waiting.join()
    assert transformer.model.seen().total() == 6


def test_memory_as_in_a_pipeline(maker, model, memory):
    for given in (str(memory), memory, joblib.Memory(memory, verbose=0)):
        transformer = maker(model, memory=given).fit(X)
        transformer.transform(X)
        twin = clone(transformer)
        assert joblib.hash(twin.memory) == joblib.hash(given)
    assert len(shards(memory)) == 1
    model.seen()
    transformer = maker(model, memory=joblib.Memory(None)).fit(X)
    model.seen()
    assert passed(transformer, X) == passed(transformer, X) == len(X)


def test_transformer_stays_what_it_was(make):
    transformer = make()
    state, before = dict(vars(transformer)), joblib.hash(transformer)
    transformer.transform(X)
    assert vars(transformer) == state
    assert joblib.hash(transformer) == before


def test_common_checks_with_memory(maker, memory):
    options = {"layers": ["bend", "logits"]} if isinstance(maker, partial) else {}
    check_estimator(
        maker(AnyWidth(), memory=str(memory), **options),
        expected_failed_checks={
            "check_estimators_overwrite_params": "as in tests/test_common.py"
        },
        on_skip=None,
    )
    assert shards(memory)


def spoiled(content, how):
    if how == "bit":
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    return {"truncated": content[:-50], "empty": b"", "other": b"not a shard"}[how]


@pytest.mark.parametrize("how", ["bit", "truncated", "empty", "other"])
def test_damaged_shard_is_computed_again(make, memory, how):
    transformer = make(batch_size=4)
    expected = transformer.transform(X)
    shard, other = shards(memory)
    shard.write_bytes(spoiled(shard.read_bytes(), how))
    transformer.model.seen()
    with pytest.warns(RuntimeWarning, match=rf"memory: '.*{shard.name}' is damaged"):
        again = transformer.transform(X)
    assert transformer.model.seen().total() in (3, 4)
    assert_allclose(again, expected, rtol=1e-4, atol=1e-6)
    assert passed(transformer, X) == 0
    assert other in shards(memory)


def test_shard_that_cannot_be_read_is_kept(make, memory, monkeypatch):
    transformer = make()
    transformer.transform(X)
    (shard,) = shards(memory)

    def fail(path):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(_row_cache.Path, "read_bytes", fail)
        with pytest.warns(RuntimeWarning, match=r"cannot be read.*Input/output"):
            transformer.transform(X)
    assert shard in shards(memory)


def test_folder_that_went_missing_is_made_again(make, memory):
    transformer = make()
    transformer.transform(X)
    for path in sorted(memory.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    memory.rmdir()
    transformer.model.seen()
    assert passed(transformer, X) == len(X)
    assert passed(transformer, X) == 0


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_read_only_folder_is_read(make, memory):
    transformer = make()
    transformer.transform(X[:3])
    folder = shards(memory)[0].parent
    folder.chmod(0o500)
    try:
        transformer.model.seen()
        assert passed(transformer, X[:3]) == 0
        with pytest.warns(RuntimeWarning, match="memory: features cannot be written"):
            assert passed(transformer, X) == 4
    finally:
        folder.chmod(0o700)


def test_full_disk_costs_nothing_but_a_warning(make, memory, monkeypatch):
    expected = make(memory=None, batch_size=2).transform(X)
    transformer = make(batch_size=2)

    def full(path, content):
        with open(path, "wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_row_cache.Path, "write_bytes", full)
        with pytest.warns(RuntimeWarning, match=r"memory: .*No space left") as record:
            assert_array_equal(transformer.transform(X), expected)
    assert len(record) == 1
    assert [path.name for path in memory.rglob("*") if path.is_file()] == ["lock"]
    transformer.model.seen()
    assert passed(transformer, X) == len(X)


def test_interrupted_run_goes_on_where_it_was(make, monkeypatch):
    transformer = make(batch_size=2)
    compute = type(transformer)._features
    calls = []

    def interrupted(self, *args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(transformer), "_features", interrupted)
        with pytest.raises(KeyboardInterrupt):
            transformer.transform(X)
    assert transformer.model.seen().total() == 4
    assert passed(transformer, X) == 3


def test_many_shards_become_one(make, memory, monkeypatch):
    monkeypatch.setattr(_row_cache, "_MANY", 3)
    transformer = make(batch_size=1)
    expected = transformer.transform(X)
    assert len(shards(memory)) <= 3
    transformer.model.seen()
    assert_array_equal(transformer.transform(X), expected)
    assert transformer.model.seen().total() == 0


def test_large_shards_are_left_alone(make, memory, monkeypatch):
    monkeypatch.setattr(_row_cache, "_MANY", 3)
    monkeypatch.setattr(_row_cache, "_SMALL", 1)
    make(batch_size=1).transform(X)
    assert len(shards(memory)) == len(X)


def test_reader_follows_when_shards_are_merged(make, memory, monkeypatch):
    transformer = make(batch_size=1)
    expected = transformer.transform(X)
    transformer.model.seen()
    read, merged = Path.read_bytes, []

    def merge_first(path):
        if not merged:
            merged.append(path)
            writer = _row_cache.RowStore(memory, "kind", 0)
            writer.folder = path.parent
            writer.refresh()
            writer._merge()
        return read(path)

    monkeypatch.setattr(_row_cache.Path, "read_bytes", merge_first)
    assert_array_equal(transformer.transform(X), expected)
    assert len(shards(memory)) == 1
    monkeypatch.undo()
    assert transformer.model.seen().total() == 0


def test_shards_hold_plain_arrays(make, memory):
    features = make().transform(X)
    (shard,) = shards(memory)
    with np.load(shard, allow_pickle=False) as content:
        assert content["keys"].shape == (7, 16)
        assert_array_equal(content["values"], features)


def test_out_of_memory_halves_the_batch(make, monkeypatch):
    transformer = make(batch_size=4)
    forward = Recording.forward

    def tight(self, x):
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, x)

    monkeypatch.setattr(Recording, "forward", tight)
    with pytest.warns(RuntimeWarning, match="4 samples at a time; going on") as record:
        assert passed(transformer, X) == len(X)
    assert len(record) == 1
    assert passed(transformer, X) == 0


def test_model_changed_since_fit_is_refused_and_not_stored(model, memory):
    transformer = LayerActivationTransformer(model, "logits", memory=memory).fit(X)
    other = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 5)))
    transformer.set_params(model=other)
    with pytest.raises(ValueError, match=r"5 features.*gave 3\. Call fit after"):
        transformer.transform(X)
    assert shards(memory) == []
    # Nor does it find what a transformer that was fitted anew stored.
    clone(transformer).fit_transform(X)
    with pytest.raises(ValueError, match=r"5 features.*gave 3\. Call fit after"):
        transformer.transform(X)


@pytest.mark.parametrize("memory", [3, b"folder", object()])
def test_what_is_no_memory(maker, model, memory):
    with pytest.raises(ValueError, match=r"'memory' parameter .* 'os.PathLike'"):
        maker(model, memory=memory).fit(X)


def test_folder_that_cannot_be(maker, model, tmp_path):
    (tmp_path / "file").write_text("")
    for location in (
        tmp_path / "file",
        tmp_path / "file" / "folder",
        Path("null\0byte"),
    ):
        for memory in (location, joblib.Memory(None)):
            if not isinstance(memory, Path):
                memory.location = location
            with pytest.raises(ValueError, match=r"memory must be None, a folder that"):
                maker(model, memory=memory).fit(X)


def test_models_whose_content_cannot_be_told(memory):
    class Local(nn.Linear):
        pass

    def parametrized():
        return nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))

    def hooked():
        net = nn.Linear(3, 3)
        net.register_forward_hook(lambda *_: None)
        return net

    def traced():
        return torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 3)))

    for net in (Local(3, 3), parametrized(), hooked(), traced()):
        transformer = LayerActivationTransformer(net, "logits", memory=memory)
        with pytest.raises(ValueError, match=r"memory needs a model whose content"):
            transformer.fit(np.ones((2, 3)))
        transformer.set_params(memory=None).fit(np.ones((2, 3)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_devices_share_their_results(make):
    transformer = make(device="cuda")
    expected = transformer.transform(X)
    transformer.model.seen()
    assert_array_equal(make().transform(X), expected)
    there = make(copy.deepcopy(transformer.model).cuda())
    assert passed(there, torch.from_numpy(X).cuda()) == 0
