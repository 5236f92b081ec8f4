"""Data that needs no network: digits, patches of photographs, noise."""

from ._digits import load_digits_images
from ._noise import make_gaussian_noise, make_uniform_noise
from ._patches import make_photo_patches

__all__ = [
    "load_digits_images",
    "make_gaussian_noise",
    "make_photo_patches",
    "make_uniform_noise",
]
