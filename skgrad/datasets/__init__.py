"""Digits, natural images and noise without a download; loaders of images and series."""

from ._digits import load_digits_images
from ._load import load_dataset
from ._noise import make_gaussian_noise, make_uniform_noise
from ._patches import make_photo_patches

__all__ = [
    "load_dataset",
    "load_digits_images",
    "make_gaussian_noise",
    "make_photo_patches",
    "make_uniform_noise",
]
