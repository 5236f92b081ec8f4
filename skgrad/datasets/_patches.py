"""Natural images of any size that ship with scikit-learn."""

from numbers import Integral

import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.utils import check_random_state

from .._compat import Interval, validate_params


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "shape": [tuple, list, np.ndarray],
        "zoom": [Interval(Integral, 1, 32, closed="both")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_photo_patches(n_samples, shape=(1, 8, 8), *, zoom=4, random_state=None):
    """Cut random patches out of scikit-learn's two sample photographs.

    Natural out-of-distribution inputs of any small shape, without a download.

    Parameters
    ----------
    n_samples : int
        Number of patches, half of them from either photograph.
    shape : tuple of int, default=(1, 8, 8)
        Channels (1 for grey, 3 for colour), height and width of a patch.
    zoom : int, default=4
        Pixels of the photograph, in either direction, that are averaged into one.
    random_state : int, RandomState instance or None, default=None
        Draws the places.

    Returns
    -------
    ndarray of float32 of shape (n_samples, *shape)
        The patches, values in [0, 1].

    Examples
    --------
    >>> from skgrad.datasets import make_photo_patches
    >>> make_photo_patches(5, (3, 16, 16), random_state=0).shape
    (5, 3, 16, 16)
    """
    shape = tuple(shape)
    photos = [_shrunk(photo, zoom) for photo in load_sample_images().images]
    most = tuple(min(p.shape[axis] for p in photos) for axis in (0, 1))
    if (
        len(shape) != 3
        or not all(isinstance(n, Integral) and int(n) >= 1 for n in shape)
        or shape[0] not in (1, 3)
        or shape[1] > most[0]
        or shape[2] > most[1]
    ):
        raise ValueError(
            "shape must be (channels, height, width) with 1 or 3 channels and at most "
            f"{most[0]} x {most[1]} pixels at zoom={zoom}; got {shape!r}."
        )
    random_state = check_random_state(random_state)
    photos = [photos[i % len(photos)] for i in range(n_samples)]
    patches = [_cut(photo, shape, random_state) for photo in photos]
    return np.stack(patches).astype(np.float32)


def _shrunk(photo, zoom):
    """Average squares of zoom x zoom pixels; values in [0, 1]."""
    height, width, channels = photo.shape
    photo = photo[: height - height % zoom, : width - width % zoom] / 255
    squares = photo.reshape(height // zoom, zoom, width // zoom, zoom, channels)
    return squares.mean(axis=(1, 3))


def _cut(photo, shape, random_state):
    channels, height, width = shape
    top = random_state.randint(photo.shape[0] - height + 1)
    left = random_state.randint(photo.shape[1] - width + 1)
    patch = photo[top : top + height, left : left + width].transpose(2, 0, 1)
    # Luma weights of ITU-R BT.601.
    return patch if channels == 3 else np.tensordot([[0.299, 0.587, 0.114]], patch, 1)
