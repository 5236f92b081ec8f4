"""Adversarial inputs, for any input shape and bounds."""

from ._adaptive import adaptive_pgd
from ._base import AttackResult
from ._bim import bim
from ._brendel_bethge import brendel_bethge
from ._carlini_wagner import carlini_wagner
from ._cosine_similarity import cosine_similarity_attack
from ._fgsm import fgsm
from ._foolbox import foolbox_attack
from ._fooling import fooling_images
from ._iterative_least_likely import iterative_least_likely
from ._jsma import jsma
from ._pgd import pgd
from ._random_noise import random_noise
from ._rotate import rotate
from ._semantic import semantic

__all__ = [
    "AttackResult",
    "adaptive_pgd",
    "bim",
    "brendel_bethge",
    "carlini_wagner",
    "cosine_similarity_attack",
    "fgsm",
    "foolbox_attack",
    "fooling_images",
    "iterative_least_likely",
    "jsma",
    "pgd",
    "random_noise",
    "rotate",
    "semantic",
]
