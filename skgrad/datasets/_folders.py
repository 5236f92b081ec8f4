"""Folders of images: what is in them, and their pixels."""

import os
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from sklearn.utils.validation import check_memory

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
# Fewer images are read about as fast as their cache.
_WORTH_CACHING = 5000


def list_images(folder):
    """List the images of a folder, sorted by subfolder, then by name.

    Returns their paths, the classes and the names of the classes, which are the
    subfolders; without subfolders None and an empty list. A folder around the folder of
    classes is skipped.
    """
    folder = _inner(Path(folder))
    walk = sorted(os.walk(folder, followlinks=True))
    paths = [Path(root, name) for root, _, names in walk for name in sorted(names)]
    paths = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise ValueError(
            f"{str(folder)!r} must hold images ({', '.join(sorted(SUFFIXES))}), in one "
            "subfolder per class or without subfolders; found none."
        )
    first = [path.relative_to(folder).parts for path in paths]
    if any(len(parts) == 1 for parts in first):
        return paths, None, []
    classes, y = np.unique([parts[0] for parts in first], return_inverse=True)
    return paths, y.astype(np.int64), classes.tolist()


def _inner(folder):
    """Descend while a folder holds nothing but one folder of folders."""
    while True:
        entries = [e for e in folder.iterdir() if not e.name.startswith(".")]
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        if not any(e.is_dir() for e in entries[0].iterdir()):
            return folder
        folder = entries[0]


def read_images(paths, *, mode=None, size=None, memory=None):
    """Read images as uint8 pixels (n_samples, n_channels, height, width).

    ``mode`` is "L" or "RGB", None for that of the first image; ``size`` is (height,
    width), None for their own. ``memory`` caches the pixels of 5,000 images or more.
    """
    if memory is None or len(paths) < _WORTH_CACHING:
        return _decode(paths, mode, size, None)
    # An image that was replaced has another size or time.
    stats = [path.stat() for path in paths]
    versions = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    return check_memory(memory).cache(_decode)(
        [str(path.resolve()) for path in paths], mode, size, versions
    )


def _decode(paths, mode, size, versions):
    """Read images; ``versions`` makes another cache entry of changed files."""
    mode = mode or _own_mode(paths[0])
    pixels = [_decode_one(path, mode, size) for path in paths]
    shapes = {image.shape[:2] for image in pixels}
    if len(shapes) > 1:
        raise ValueError(
            "shape must be given for images of several sizes, which are resized to "
            f"it; got None, and sizes such as {sorted(shapes)[:3]}."
        )
    stacked = np.stack(pixels)
    return stacked[:, None] if mode == "L" else stacked.transpose(0, 3, 1, 2).copy()


def _own_mode(path):
    with _open(path) as image:
        return "L" if image.mode in ("1", "L", "I", "I;16", "F", "LA") else "RGB"


def _decode_one(path, mode, size):
    with _open(path) as image:
        pixels = image.convert(mode)
        if size is not None and (pixels.height, pixels.width) != tuple(size):
            # Bilinear with antialiasing, as torchvision resizes such images.
            pixels = pixels.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.asarray(pixels)


def _open(path):
    try:
        return Image.open(path)
    except UnidentifiedImageError as error:
        raise ValueError(f"{str(path)!r} must be an image: {error}") from error
