"""Adversarial inputs, for any input shape and bounds."""

from ._base import AttackResult
from ._bim import bim
from ._fgsm import fgsm
from ._iterative_least_likely import iterative_least_likely
from ._pgd import pgd
from ._random_noise import random_noise
from ._rotate import rotate
from ._semantic import semantic

__all__ = [
    "AttackResult",
    "bim",
    "fgsm",
    "iterative_least_likely",
    "pgd",
    "random_noise",
    "rotate",
    "semantic",
]
