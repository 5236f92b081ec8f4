"""Folders of images: what is in them, and the pixels of all."""

import os
from pathlib import Path

import numpy as np
from sklearn.utils.validation import check_memory

from ._pixels import DamagedImageError, read_pixels

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


def read_images(paths, *, mode=None, size=None, memory=None, skip=False):
    """Read images (n_samples, n_channels, height, width), and where damaged ones are.

    ``mode`` is "L" or "RGB", None for grey unless one of them has colours; ``size`` is
    (height, width), None for their own. Pixels are uint8 or, of deeper images, float32
    in [0, 1]. ``memory`` caches those of 5,000 images or more. With ``skip`` damaged
    images are left out, and their places in ``paths`` are the second result; without,
    the first of them raises ValueError.
    """
    if memory is None or len(paths) < _WORTH_CACHING:
        return _decode(paths, mode, size, None, skip)
    # An image that was replaced has another size or time.
    stats = [path.stat() for path in paths]
    versions = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    return check_memory(memory).cache(_decode)(
        [str(path.resolve()) for path in paths], mode, size, versions, skip
    )


def _decode(paths, mode, size, versions, skip):
    """Read images; ``versions`` makes another cache entry of changed files."""
    images: list[np.ndarray] = []
    damaged: list[int] = []
    first_of: dict[str, Path] = {}
    for place, path in enumerate(paths):
        try:
            pixels, depth = read_pixels(path, mode, size)
        except DamagedImageError:
            # Without any image there is nothing to return.
            if not skip or len(damaged) == len(paths) - 1:
                raise
            damaged.append(place)
            continue
        images.append(pixels)
        first_of.setdefault(depth, path)
        if len(first_of) > 1:
            raise ValueError(_several_depths(first_of))
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        raise ValueError(
            "shape must be given for images of several sizes, which are resized to "
            f"it; got None, and sizes such as {sorted(sizes)[:3]}."
        )
    if any(image.ndim == 3 for image in images):
        images = [i if i.ndim == 3 else np.stack([i] * 3, axis=-1) for i in images]
        return np.stack(images).transpose(0, 3, 1, 2).copy(), damaged
    return np.stack(images)[:, None], damaged


def _several_depths(first_of):
    """Return the message for images that differ in more than what they show."""
    (one, path), (other, deviating) = first_of.items()
    units = {depth: depth + " bits" * depth.isdigit() for depth in (one, other)}
    return (
        f"name_or_path must hold images of one depth; {str(path)!r} is read with "
        f"{units[one]} per channel, {str(deviating)!r} with {units[other]}. Convert "
        "them to one."
    )
