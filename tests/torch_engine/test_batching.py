"""Every accepted kind of input, cut into the same batches."""

import weakref
from itertools import chain

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from peak_memory import peak_of
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset
from wrong_inputs import Stream, Yields

from skgrad._validation import check_inputs
from skgrad.torch_engine.batching import batches, map_batches, prepare_batch

X = np.arange(30, dtype=np.float32).reshape(5, 2, 3)


def stream():
    return Stream(lambda: iter(torch.from_numpy(X)))


def gather(data, function=lambda batch: batch, *, batch_size=2, **options):
    placement = {"device": torch.device("cpu"), "dtype": torch.float32}
    return map_batches(function, data, batch_size=batch_size, **placement, **options)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
@pytest.mark.parametrize(
    "data",
    [
        X,
        X.astype(np.uint8),
        X.astype(">f8"),
        torch.from_numpy(X),
        torch.from_numpy(X).half(),
        TensorDataset(torch.from_numpy(X)),
        TensorDataset(torch.from_numpy(X), torch.arange(5)),
        stream(),
        DataLoader(TensorDataset(torch.from_numpy(X), torch.arange(5)), 3),
    ],
    ids=[
        *("float", "uint8", "big-endian", "tensor", "half", "x", "(x, y)", "stream"),
        "loader",
    ],
)
def test_all_kinds_give_the_same(data, batch_size):
    assert_array_equal(gather(data, batch_size=batch_size), X)


def test_memmap_is_read_only_batch_by_batch(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    memmap = np.load(path, mmap_mode="r")
    assert check_inputs(memmap) is memmap
    assert all(isinstance(batch, np.memmap) for batch in batches(memmap, 2))
    assert_array_equal(gather(memmap), X)


def test_rows_are_brought_to_shape():
    assert_array_equal(gather(X.reshape(5, 6), input_shape=(2, 3)), X)


def test_inference_tensors_can_enter_autograd():
    with torch.inference_mode():
        data = torch.from_numpy(X).clone()
    assert not gather(data).is_inference()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.full((2, 3), np.nan), "X must be finite in the model's torch.float32"),
        (np.full((2, 3), 1e300), "a value too large for that type"),
        (torch.tensor([[float("inf")]]), "X must be finite"),
        (np.array([[np.inf, -np.inf]]), "X must be finite"),
    ],
)
def test_values_that_are_not_finite_are_rejected(data, message):
    with pytest.raises(ValueError, match=message):
        gather(data)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16])
def test_finite_values_may_have_an_infinite_sum(dtype):
    largest = torch.full((2, 3), torch.finfo(dtype).max, dtype=dtype)
    for data in (largest, -largest, largest.double().numpy()):
        prepared = prepare_batch(
            data, device=torch.device("cpu"), dtype=dtype, input_shape=None
        )
        assert torch.equal(prepared.abs(), largest)


def test_wrong_shapes_are_rejected():
    with pytest.raises(
        ValueError, match=r"shape \(2, 3\), or rows of 6 values.*shape \(7,\)"
    ):
        gather(np.zeros((2, 7)), input_shape=(2, 3))
    with pytest.raises(ValueError, match=r"shape \(3, 2\), or .*shape \(2, 3\)"):
        gather(X, input_shape=(3, 2))


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (np.arange(3), "Class labels are not inputs"),
        ([1.0, 2.0], r"a single sample x is x\[None\]"),
        ([(np.ones(2), 0), (np.ones(2), 1)], r"Of pairs \(x, y\), give the x"),
        ((torch.ones(3, 2), torch.ones(3)), r"Of a pair \(x, y\), give x alone"),
        ((torch.ones(3), torch.ones(2)), "Pad or crop them"),
        ({"x": X}, "Give the entry"),
        (Image.new("RGB", (4, 4)), r"Give transform\(x\)\[None\]"),
    ],
)
def test_hints_of_messages_about_inputs(data, hint):
    with pytest.raises((TypeError, ValueError), match=hint):
        check_inputs(data)


@pytest.mark.parametrize(
    "sample",
    [X[0][::-1], X[0].astype(">f4"), np.frombuffer(X[0].tobytes(), np.float32)],
    ids=["reversed", "big-endian", "read-only"],
)
def test_arrays_of_a_dataset_may_be_of_any_kind(sample):
    assert_array_equal(gather(Yields(1, lambda i: sample))[0], sample)


def test_labels_of_a_dataset_are_ignored():
    pairs = Yields(2, lambda i: (X[i], [None, "label"][i]))
    assert_array_equal(gather(pairs), X[:2])


def test_batches_are_copies():
    for data in (X.copy(), torch.from_numpy(X.copy())):
        gather(data, lambda batch: batch.zero_())
        assert_array_equal(data, X)


def test_inputs_are_copied_once():
    pixels = np.ones((64, 3, 32, 32), dtype=np.uint8)
    how = {"device": torch.device("cpu"), "dtype": torch.float32, "input_shape": None}
    peak = peak_of(prepare_batch, pixels, **how)
    assert 4 * pixels.size <= peak < 5 * pixels.size


def test_batches_that_were_begun_are_read_on():
    read = []

    def sample(i):
        read.append(i)
        return X[i]

    data = Yields(len(X), sample)
    raw = batches(data, 2)
    first = next(raw)
    assert_array_equal(gather(data, raw=chain([first], raw)), X)
    assert read == list(range(len(X)))


@pytest.mark.parametrize("data", [X, stream()], ids=["array", "stream"])
def test_results_are_not_kept_one_by_one(data):
    alive = []

    def doubled(batch):
        assert not any(result() is not None for result in alive)
        result = 2 * batch
        alive.append(weakref.ref(result))
        return result

    results = gather(data, doubled)
    assert_array_equal(results, 2 * X)
    assert results.untyped_storage().nbytes() == X.nbytes


class Hungry:
    """Computes on up to ``most`` samples at a time."""

    def __init__(self, most, error):
        self.most, self.error, self.sizes = most, error, []

    def __call__(self, batch):
        self.sizes.append(len(batch))
        if len(batch) > self.most:
            raise self.error
        return 2 * batch


def test_out_of_memory_halves_the_batch_with_a_warning():
    data = np.arange(40, dtype=np.float32).reshape(20, 2)
    hungry = Hungry(3, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.warns(RuntimeWarning) as caught:
        results = gather(data, hungry, batch_size=9)
    assert_array_equal(results, 2 * data)
    # 9, 5, then 3 fit; the next batches start with 3.
    assert hungry.sizes == [9, 5, 3, 3, 3, 3, 3, 3, 2]
    assert [str(w.message)[:66] for w in caught] == [
        "Out of memory on cpu with 9 samples at a time; continuing with 5. ",
        "Out of memory on cpu with 5 samples at a time; continuing with 3. ",
    ]


def test_one_sample_too_many_for_the_memory():
    hungry = Hungry(0, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(torch.OutOfMemoryError):
        gather(X, hungry, batch_size=1)


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    hungry = Hungry(0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        gather(X, hungry)
    assert hungry.sizes == [2]
