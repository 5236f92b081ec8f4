"""Pixels of one image file, of any mode and depth that Pillow reads."""

import struct
import zlib
from contextlib import contextmanager

import numpy as np
from PIL import Image

# Pillow cuts these off at 255 where it converts them.
_DEEP = ("I", "F")
_GREY = ("1", "L", "LA", "La")
# Tags of TIFF: bits per sample, and whether they are signed.
_BITS, _FORMAT, _SIGNED = 258, 339, 2


class DamagedImageError(ValueError):
    """The content of a file is no image that can be read."""


def read_pixels(path, mode, size):
    """Read an image (height, width), or with a last axis of three colours.

    ``mode`` is "L" or "RGB", None for its own; ``size`` is (height, width), None for
    its own. Transparency is dropped. Returns the pixels, uint8 or, of deeper images,
    float32 in [0, 1], and the depth for messages. Raises DamagedImageError if the file
    cannot be read as an image.
    """
    with _damage_named(path), Image.open(path) as image:
        deep = image.mode.startswith(_DEEP)
        mode = mode or ("L" if deep or image.mode in _GREY else "RGB")
        if not deep:
            return np.asarray(_resized(_without_alpha(image).convert(mode), size)), "8"
        values, largest, depth = _deep_values(image)
    # Also False for NaN.
    if not (values.min() >= 0 and values.max() <= largest):
        raise ValueError(
            f"{str(path)!r} must hold values from 0 to {largest}, as its type says; "
            f"got {values.min()} to {values.max()}. Scale them to [0, 1] or to uint8."
        )
    values = (values / np.float64(largest)).astype(np.float32)
    grey = np.asarray(_resized(Image.fromarray(values), size))
    return grey if mode == "L" else np.stack([grey] * 3, axis=-1), depth


@contextmanager
def _damage_named(path):
    try:
        yield
    # What Pillow's readers of the various formats raise.
    except (OSError, SyntaxError, EOFError, struct.error, zlib.error) as error:
        # A number means that the file system failed, as where access is denied.
        if getattr(error, "errno", None) is not None:
            raise
        raise DamagedImageError(
            f"{str(path)!r} must be an image: {error}. Replace or remove it, or leave "
            "such files out with damaged='skip'."
        ) from error


def _without_alpha(image):
    # The only palettes that Pillow converts to colours with a warning.
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        return image.convert("RGBA")
    return image


def _resized(image, size):
    if size is None or (image.height, image.width) == tuple(size):
        return image
    # Bilinear with antialiasing, as torchvision resizes such images.
    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def _deep_values(image):
    """Return the values of a deep image, the largest that they may have, its depth."""
    values = np.asarray(image)
    if image.mode == "F":
        return values, 1, "floating point"
    # Pillow scales a deep PGM to 16 bits, and reads a deep PNG so.
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS, (16,))[0] if image.mode == "I" else 16
    signed = tags.get(_FORMAT, (1,))[0] == _SIGNED
    if bits == 32 and not signed:
        values = values.view(np.uint32)  # which Pillow takes for signed
    return values, 2 ** (bits - signed) - 1, str(bits)
