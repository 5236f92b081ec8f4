"""Folders of images: what is in them, and their pixels."""

import hashlib
import os
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from .._files import read_sealed, write_sealed
from .._messages import warn

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
# Fewer images are read about as fast as their cache.
_WORTH_CACHING = 5000


def list_images(folder):
    """List the images of a folder, sorted by subfolder, then by name.

    Parameters
    ----------
    folder : Path
        Images, or one subfolder per class; a folder around those is looked through.

    Returns
    -------
    paths : list of Path
        The images.
    y : ndarray of int64 or None
        Their classes; None if there are no subfolders.
    classes : list of str
        Names of the subfolders.
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
    """Step into a folder that holds nothing but one folder of folders."""
    while True:
        entries = [e for e in folder.iterdir() if not e.name.startswith(".")]
        if len(entries) != 1 or not entries[0].is_dir():
            return folder
        if not any(e.is_dir() for e in entries[0].iterdir()):
            return folder
        folder = entries[0]


def read_images(paths, *, mode=None, size=None, cache_dir=None):
    """Read images of one size.

    Parameters
    ----------
    paths : list of Path
        The images.
    mode : {"L", "RGB"}, default=None
        Grey or colour; None takes that of the first image.
    size : (int, int), default=None
        Height and width to resize to; None keeps theirs, if they are the same.
    cache_dir : str or Path, default=None
        Folder that keeps the pixels of 5,000 images or more, for the next time.

    Returns
    -------
    ndarray of uint8 of shape (n_samples, n_channels, height, width)
        The pixels.
    """
    if cache_dir is None or len(paths) < _WORTH_CACHING:
        return _decode(paths, mode, size)
    key = _fingerprint(paths, mode, size)
    cache = Path(cache_dir) / f"images-{key}.npz"
    try:
        return read_sealed(cache, key)["pixels"]
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        _warn(f"{str(cache)!r} cannot be used ({error}). The images are read again.")
    pixels = _decode(paths, mode, size)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_sealed(cache, key, {"pixels": pixels})
    except OSError as error:
        _warn(f"pixels are not kept: {error}. They will be read again next time.")
    return pixels


def _warn(text):
    warn(f"cache_dir: {text}", RuntimeWarning)


def _decode(paths, mode, size):
    mode = mode or _own_mode(paths[0])
    pixels = [_decode_one(path, mode, size) for path in paths]
    shapes = {image.shape[:2] for image in pixels}
    if len(shapes) > 1:
        raise ValueError(
            "shape must say which size to bring images of several sizes to; got "
            f"shape=None and sizes such as {sorted(shapes)[:3]}."
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


def _fingerprint(paths, mode, size):
    """Tell folders apart, also before and after a change."""
    digest = hashlib.sha256(repr((mode, size)).encode())
    for path in paths:
        state = path.stat()
        digest.update(f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}".encode())
    return digest.hexdigest()[:16]
