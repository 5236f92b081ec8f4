"""Data sets by name and by path, on tiny ones made on the fly."""

import struct

import numpy as np
import pytest
import torchvision.datasets
from idx_files import write_idx
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from torchvision import transforms

from skgrad.datasets import (
    load_dataset,
    load_digits_images,
    make_gaussian_noise,
    make_photo_patches,
    make_uniform_noise,
)


@pytest.fixture(autouse=True)
def no_data_dir(monkeypatch):
    monkeypatch.delenv("SKGRAD_DATA", raising=False)


def picture(path, seed, *, size=(12, 12), mode="RGB"):
    """Save random pixels losslessly; return them."""
    shape = size if mode == "L" else (*size, 3)
    pixels = np.random.default_rng(seed).integers(256, size=shape).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    """Three classes of four pictures."""
    for i in range(12):
        picture(tmp_path / "kinds" / "bac"[i % 3] / f"{i:02d}.png", i)
    (tmp_path / "kinds" / "a" / "notes.txt").write_text("no picture")
    return tmp_path / "kinds"


# Folders ----------------------------------------------------------------------------


def test_folder_agrees_with_torchvision(folder):
    data = load_dataset(folder)
    theirs = torchvision.datasets.ImageFolder(folder, transforms.ToTensor())
    assert_array_equal(data.X, np.stack([image.numpy() for image, _ in theirs]))
    assert_array_equal(data.y, theirs.targets)
    assert data.classes == theirs.classes == ["a", "b", "c"]
    assert data.X.dtype == np.float32
    assert data.y.dtype == np.int64
    assert data.name == "kinds"


def test_grey_and_resized_as_by_torchvision(folder):
    data = load_dataset(str(folder), shape=(1, 7, 7))
    steps = [transforms.Grayscale(), transforms.Resize(7), transforms.ToTensor()]
    theirs = torchvision.datasets.ImageFolder(folder, transforms.Compose(steps))
    assert_array_equal(data.X, np.stack([image.numpy() for image, _ in theirs]))


def test_draws_without_replacement(folder):
    everything = load_dataset(folder)
    some = load_dataset(folder, n_samples=5, random_state=3)
    rows = np.random.default_rng(3).permutation(12)[:5]
    assert_array_equal(some.X, everything.X[rows])
    assert_array_equal(some.y, everything.y[rows])
    assert len(load_dataset(folder, n_samples=99, random_state=0).X) == 12
    drawn = [
        load_dataset(folder, n_samples=5, random_state=np.random.RandomState(1)).X
        for _ in "ab"
    ]
    assert_array_equal(*drawn)


def test_flat_and_nested_folders(tmp_path):
    pixels = [picture(tmp_path / "flat" / f"{i}.png", i, mode="L") for i in range(3)]
    data = load_dataset(tmp_path / "flat")
    assert_array_equal(data.X[:, 0], np.stack(pixels).astype(np.float32) / 255)
    assert data.y is None
    assert data.classes == []
    for name in ("x", "y"):
        picture(tmp_path / "outer" / "inner" / name / "deep" / "0.png", 0)
    data = load_dataset(tmp_path / "outer")
    assert data.classes == ["x", "y"]
    assert data.y.tolist() == [0, 1]


def test_images_that_cannot_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"must hold images \(.bmp.*found none"):
        load_dataset(tmp_path)
    picture(tmp_path / "a.png", 0)
    picture(tmp_path / "b.png", 0, size=(5, 9))
    with pytest.raises(ValueError, match="shape must be given for images of several"):
        load_dataset(tmp_path)
    assert load_dataset(tmp_path, shape=(3, 8, 4)).X.shape == (2, 3, 8, 4)
    (tmp_path / "a.png").write_text("not a picture")
    with pytest.raises(ValueError, match=r"a.png' must be an image"):
        load_dataset(tmp_path)


def test_damaged_images_are_named_or_skipped(folder):
    whole = load_dataset(folder)
    broken = {"c/05.png": b"", "b/03.png": b"no picture"}
    broken["a/01.png"] = (folder / "a" / "01.png").read_bytes()[:150]
    # The last is the first of the folder.
    for name, content in broken.items():
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}' must be an image.*damaged="):
            load_dataset(folder)
    data = load_dataset(folder, damaged="skip")
    assert data.skipped == [str(folder / name) for name in sorted(broken)]
    left = np.delete(np.arange(12), [0, 5, 9])
    assert_array_equal(data.X, whole.X[left])
    assert_array_equal(data.y, whole.y[left])
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="must be an image"):
        load_dataset(folder, damaged="skip")


STEPS = np.array([[0, 1, 256], [4_369, 40_000, 65_535]], dtype=np.uint16)
# How an image of these steps is saved, and what its largest value is.
DEEP = {
    "16.png": (STEPS, 65_535),
    "16.tif": (STEPS, 65_535),
    "16, big-endian.tif": (STEPS.astype(">u2"), 65_535),
    "32.tif": (STEPS.astype(np.int32) * 32_768, 2**31 - 1),
    "float.tif": (STEPS.astype(np.float32) / 65_535, 1),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_images_keep_their_depth(tmp_path, name):
    pixels, largest = DEEP[name]
    Image.fromarray(pixels).save(tmp_path / name)
    expected = pixels.astype(np.float64) / largest
    X = load_dataset(tmp_path).X
    assert X.dtype == np.float32
    assert_allclose(X[0, 0], expected, rtol=1e-6)
    colours = load_dataset(tmp_path, shape=(3, 2, 3)).X
    assert_array_equal(colours, X.repeat(3, axis=1))
    halved = load_dataset(tmp_path, shape=(1, 1, 3)).X[0, 0]
    assert_allclose(halved[0], expected.mean(axis=0), rtol=1e-6)


def test_unsigned_32_bits_which_pillow_takes_for_signed(tmp_path):
    Image.fromarray(np.array([[0, -1]], np.int32)).save(tmp_path / "x.tif")
    content = (tmp_path / "x.tif").read_bytes()
    # The tag that says signed, 339: one short integer, 2.
    signed, unsigned = (struct.pack("<HHIH", 339, 3, 1, n) for n in (2, 1))
    assert signed in content
    (tmp_path / "x.tif").write_bytes(content.replace(signed, unsigned))
    assert load_dataset(tmp_path).X.ravel().tolist() == [0, 1]


def test_a_deep_portable_map_is_scaled_to_its_own_range(tmp_path):
    content = b"P5 2 1 4095\n" + np.array([0, 4095], ">u2").tobytes()
    (tmp_path / "x.ppm").write_bytes(content)
    assert load_dataset(tmp_path).X.ravel().tolist() == [0, 1]


def test_deep_images_out_of_range_and_mixed_depths(tmp_path):
    for wrong in (np.full((2, 2), -5, np.int32), np.full((2, 2), 3, np.float32)):
        Image.fromarray(wrong).save(tmp_path / "a.tif")
        with pytest.raises(ValueError, match=r"a.tif' must hold values from 0 to"):
            load_dataset(tmp_path)
    Image.fromarray(STEPS).save(tmp_path / "a.tif")
    picture(tmp_path / "b.png", 0, size=(2, 3), mode="L")
    for shape in (None, (3, 4, 4)):
        with pytest.raises(
            ValueError, match=r"a.tif' is read with 16 bits .*, .*b.png' with 8 bits"
        ):
            load_dataset(tmp_path, shape=shape)


def translucent_palette(path):
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    image = image.convert("P")
    image.putpalette(np.random.default_rng(0).integers(256, size=768).tolist())
    image.save(path, transparency=bytes(range(0, 240, 20)))


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK"])
def test_modes_are_read_as_by_torchvision(tmp_path, mode):
    path = tmp_path / "kind" / ("x.tif" if mode == "CMYK" else "x.png")
    picture(path, 0)
    if mode == "P":
        translucent_palette(path)
    else:
        Image.open(path).convert(mode).save(path)
    for shape in (None, (1, 3, 4)):
        X = load_dataset(tmp_path / "kind", shape=shape).X[0]
        with Image.open(path) as image:
            # Through RGBA, as Pillow asks for with such palettes.
            plain = image.convert("RGBA") if mode == "P" else image
            wanted = plain.convert("L" if len(X) == 1 else "RGB")
            wanted = transforms.Resize(X.shape[1:])(wanted)
            assert_array_equal(X, transforms.ToTensor()(wanted))
    assert len(load_dataset(tmp_path / "kind").X[0]) == (
        1 if mode in ("1", "LA") else 3
    )


def test_grey_images_among_coloured_ones_become_coloured(tmp_path):
    grey = picture(tmp_path / "a.png", 0, mode="L")
    colours = picture(tmp_path / "b.png", 1)
    X = load_dataset(tmp_path).X * 255
    assert_array_equal(X[0], np.stack([grey] * 3))
    assert_array_equal(X[1], colours.transpose(2, 0, 1))


def test_memory_is_used_until_something_changes(folder, tmp_path, monkeypatch):
    from skgrad.datasets import _folders

    monkeypatch.setattr(_folders, "_WORTH_CACHING", 10)
    memory, opened = str(tmp_path / "memory"), []
    original = _folders.read_pixels
    monkeypatch.setattr(
        _folders,
        "read_pixels",
        lambda path, *how: [opened.append(path), original(path, *how)][1],
    )
    first = load_dataset(folder, memory=memory)
    assert opened
    opened.clear()
    assert_array_equal(load_dataset(folder, memory=memory).X, first.X)
    assert opened == []
    changed = picture(folder / "a" / "01.png", 99, size=(12, 12))
    again = load_dataset(folder, memory=memory)
    assert_array_equal(again.X[0] * 255, changed.transpose(2, 0, 1))


# Files ------------------------------------------------------------------------------


def test_npy_and_npz(tmp_path):
    X = np.random.default_rng(0).integers(256, size=(4, 3, 6, 6)).astype(np.uint8)
    np.save(tmp_path / "images.npy", X)
    assert_array_equal(load_dataset(tmp_path / "images.npy").X, X / np.float32(255))
    np.save(tmp_path / "deep.npy", X.astype(np.uint16) * 257)
    assert_allclose(load_dataset(tmp_path / "deep.npy").X, X / 255, rtol=1e-6)
    np.save(tmp_path / "counts.npy", X[:, 0, 0])
    assert_array_equal(load_dataset(tmp_path / "counts.npy").X, X[:, 0, 0])
    series = np.random.default_rng(0).normal(size=(4, 20))
    np.savez(tmp_path / "series.npz", X=series, y=[2, 0, 2, 1])
    data = load_dataset(tmp_path / "series.npz", n_samples=2, random_state=0)
    rows = np.random.default_rng(0).permutation(4)[:2]
    assert_array_equal(data.X, series[rows].astype(np.float32))
    assert_array_equal(data.y, np.array([2, 0, 2, 1])[rows])
    assert data.classes == ["0", "1", "2"]
    assert data.name == "series"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.zeros((2, 8, 8, 3))}, r"channels before height.*transpose\(0, 3"),
        ({"X": np.full((2, 1, 4, 4), 200.0)}, "uint8 or uint16, or with values in"),
        ({"X": np.full((2, 4), np.nan)}, "must be finite"),
        ({"X": np.zeros(4)}, "must hold numbers of shape"),
        ({"X": np.zeros((2, 4)), "y": np.zeros(3)}, r"y in .*x.npz' must hold one"),
        ({"X": np.zeros((2, 4)), "y": np.full(2, 0.5)}, "classes as whole numbers"),
        ({"a": np.zeros((2, 4)), "b": np.zeros(2)}, "an array named X.*holds a, b"),
        ({"X": np.array([[{}]])}, "must be an array file without objects"),
    ],
)
def test_arrays_that_are_no_inputs(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        load_dataset(tmp_path / "x.npz")


def test_files_that_are_no_arrays(tmp_path):
    for name, message in (("x.npy", "array file without"), ("x.txt", "file .npy or")):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(ValueError, match=message):
            load_dataset(tmp_path / name)


# Named data -------------------------------------------------------------------------


def test_embedded_data():
    data, parts = load_dataset("digits"), load_digits_images()
    assert_array_equal(data.X, parts.X_test)
    assert_array_equal(data.y, parts.y_test)
    assert_array_equal(load_dataset("Digits", split="train").X, parts.X_train)
    how = {"n_samples": 3, "shape": (3, 9, 9), "random_state": 0}
    for name, make in (
        ("gaussian-noise", make_gaussian_noise),
        ("uniform_noise", make_uniform_noise),
        ("photo-patches", make_photo_patches),
    ):
        data = load_dataset(name, **how)
        assert_array_equal(data.X, make(3, (3, 9, 9), random_state=0))
        assert data.y is None
    assert load_dataset("uniform-noise", shape=[1, 30]).X.shape == (1000, 1, 30)


@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")]
)
def test_mnist_files(tmp_path, monkeypatch, name, folder):
    pixels = np.random.default_rng(0).integers(256, size=(6, 28, 28))
    for part, rows in (("train", slice(0, 4)), ("t10k", slice(4, 6))):
        raw = tmp_path / folder / "raw"
        write_idx(raw / f"{part}-images-idx3-ubyte", pixels[rows])
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(6)[rows])
    monkeypatch.setenv("SKGRAD_DATA", str(tmp_path))
    train, test = load_dataset(name, split="train"), load_dataset(name)
    assert_array_equal(train.X[:, 0], pixels[:4].astype(np.float32) / 255)
    assert_array_equal(test.X[:, 0], pixels[4:].astype(np.float32) / 255)
    assert train.y.tolist() == [0, 1, 2, 3]
    assert test.y.dtype == np.int64
    assert len(test.classes) == 10


@pytest.mark.parametrize(
    ("name", "split", "folder", "size"),
    [
        ("fashion-mnist", "test", "fashion-mnist-900", 28),
        ("cifar-10-jpeg", "train", "cifar10-jpeg/train", 32),
        ("cifar-10-jpeg", "test", "cifar10-jpeg/test", 32),
        ("tiny-imagenet", "test", "tiny-imagenet32-jpeg/val", 32),
        ("tiny-imagenet", "train", "tiny-imagenet-200/train", 64),
    ],
)
def test_named_folders(tmp_path, name, split, folder, size):
    for kind in ("x", "y"):
        picture(tmp_path / folder / kind / "0.png", 0, size=(size, size))
    data = load_dataset(name, data_dir=tmp_path, split=split)
    assert data.X.shape == (2, 3, size, size)
    assert data.classes == ["x", "y"]
    assert data.name == name
    other = "test" if split == "train" else "train"
    with pytest.raises(ValueError, match=f"data_dir must hold.*split='{other}'"):
        load_dataset(name, data_dir=tmp_path, split=other)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("textures", "dtd/dtd/images"), ("lsun", "LSUN_resize"), ("isun", "iSUN")],
)
def test_named_folders_of_one_part(tmp_path, name, folder):
    """Either split is the same images; the folder is named when it is missing."""
    with pytest.raises(ValueError, match=f"{folder}.*Unpack it there; it cannot"):
        load_dataset(name, data_dir=tmp_path)
    pixels = picture(tmp_path / folder / "x" / "0.png", 0, size=(32, 32))
    for split in ("train", "test"):
        data = load_dataset(name, data_dir=tmp_path, split=split)
        expected = pixels.astype(np.float32).transpose(2, 0, 1) / 255
        assert_array_equal(data.X, expected[None])


def test_omniglot_is_inverted(tmp_path):
    folder = "omniglot-py/images_background"
    pixels = [
        picture(tmp_path / folder / "Latin" / f"c{i}" / "0.png", i, mode="L")
        for i in range(2)
    ] + [picture(tmp_path / folder / "Greek" / "c0" / "0.png", 2, mode="L")]
    data = load_dataset("omniglot", data_dir=tmp_path)
    expected = 1 - np.stack([pixels[2], *pixels[:2]]).astype(np.float32) / 255
    assert_array_equal(data.X[:, 0], expected)
    assert data.classes == ["Greek", "Latin"]
    assert data.y.tolist() == [0, 1, 1]


class Stub:
    """A data set of torchvision as far as it is read."""

    def __init__(self, root, *, download, train=None, split=None):
        rng = np.random.default_rng(1 if train or split == "train" else 0)
        pixels = rng.integers(256, size=(2, 32, 32, 3)).astype(np.uint8)
        # CIFAR10 has channels last, SVHN first.
        self.data = pixels if split is None else pixels.transpose(0, 3, 1, 2)
        self.targets, self.labels = [7, 2], np.array([7, 2], dtype=np.uint8)
        self.classes = ["k"] * 10


@pytest.mark.parametrize(
    ("name", "make"),
    [("cifar-10", "CIFAR10"), ("cifar-100", "CIFAR100"), ("svhn", "SVHN")],
)
def test_colour_data_of_torchvision(tmp_path, monkeypatch, name, make):
    monkeypatch.setattr(torchvision.datasets, make, Stub)
    for split in ("train", "test"):
        data = load_dataset(name, data_dir=tmp_path, split=split)
        rng = np.random.default_rng(split == "train")
        pixels = rng.integers(256, size=(2, 32, 32, 3)).astype(np.float32) / 255
        assert_array_equal(data.X, pixels.transpose(0, 3, 1, 2))
        assert data.y.tolist() == [7, 2]
        assert data.y.dtype == np.int64


def test_series_of_the_archive(tmp_path):
    (tmp_path / "ucr").mkdir()
    rows = np.random.default_rng(0).normal(size=(4, 140))
    labels = np.array([3, 1, 5, 1])
    train = tmp_path / "ucr" / "ECG5000_TRAIN.txt"
    np.savetxt(train, np.column_stack([labels, rows]))
    data = load_dataset("ecg5000", data_dir=tmp_path, split="train")
    assert_allclose(data.X, rows[:, None], atol=1e-6)
    assert data.y.tolist() == [1, 0, 2, 0]
    assert data.classes == ["1", "3", "5"]
    other = np.column_stack([rows[:, :96], [-1, 1, 1, -1]])
    np.savetxt(tmp_path / "ucr" / "ECG200_TEST.csv", other, delimiter=",")
    data = load_dataset("ecg200", data_dir=tmp_path)
    assert_allclose(data.X, rows[:, None, :96], atol=1e-6)
    assert data.y.tolist() == [0, 1, 1, 0]
    stretched = load_dataset("ecg200", data_dir=tmp_path, shape=(140,))
    assert stretched.X.shape == (4, 140)
    with pytest.raises(ValueError, match=r"ECG5000_TEST.txt.*load the other split"):
        load_dataset("ecg5000", data_dir=tmp_path)


# Shapes -----------------------------------------------------------------------------


def test_grey_becomes_colour_and_back(tmp_path):
    X = np.random.default_rng(0).random((2, 1, 4, 4)).astype(np.float32)
    np.save(tmp_path / "grey.npy", X)
    colour = load_dataset(tmp_path / "grey.npy", shape=(3, 4, 4)).X
    assert_array_equal(colour, X.repeat(3, axis=1))
    np.save(tmp_path / "colour.npy", np.eye(3)[:, :, None, None] + np.zeros((1, 1, 2)))
    grey = load_dataset(tmp_path / "colour.npy", shape=(1, 1, 2)).X
    assert_allclose(grey[:, 0, 0, 0], [0.299, 0.587, 0.114], atol=1e-6)


def test_halved_images_are_smoothed(tmp_path):
    # A checkerboard halved with antialiasing is grey, without it black or white.
    board = np.indices((8, 8)).sum(0)[None, None] % 2
    np.save(tmp_path / "x.npy", board.astype(float))
    X = load_dataset(tmp_path / "x.npy", shape=(1, 4, 4)).X
    assert_allclose(X[0, 0, 1:-1, 1:-1], 0.5, atol=1e-6)


def test_series_are_interpolated(tmp_path):
    np.save(tmp_path / "x.npy", np.linspace(0, 1, 11)[None])
    X = load_dataset(tmp_path / "x.npy", shape=(1, 22)).X
    assert X.shape == (1, 1, 22)
    assert_allclose(np.diff(X[0, 0, 1:-1]), 0.05, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 8, 8), "shape must have 1 or 3 channels"),
        ((30,), "shape must be .channels, height, width. for images"),
        ((2, 30), "for series; got"),
        ((0, 8, 8), "shape must hold one to three positive integers"),
        ((1, 1, 8, 8), "shape must hold one to three positive integers"),
    ],
)
def test_shapes_that_do_not_fit(shape, message):
    with pytest.raises(ValueError, match=message):
        load_dataset("digits", shape=shape)


# Errors -----------------------------------------------------------------------------


def test_unknown_names_and_folders(tmp_path):
    with pytest.raises(ValueError, match=r"one of digits, .* Did you mean 'fashion-mn"):
        load_dataset("fashon-mnist")
    with pytest.raises(ValueError, match=r"SKGRAD_DATA is not set. Pass data_dir"):
        load_dataset("mnist")
    with pytest.raises(ValueError, match="data_dir must be an existing folder"):
        load_dataset("mnist", data_dir=tmp_path / "none")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "omniglot", "cifar-10"])
def test_missing_data_say_how_to_get_them(tmp_path, name):
    # The JPEG images do not stand for the original.
    picture(tmp_path / "cifar10-jpeg" / "test" / "x" / "0.png", 0)
    with pytest.raises(ValueError, match=r"reads for .*Download it there with downl"):
        load_dataset(name, data_dir=tmp_path)


def test_wrong_parameters():
    for name, value in (("split", "val"), ("n_samples", 0), ("download", 3)):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of load_dataset"):
            load_dataset("digits", **{name: value})
