"""Adversarial inputs, for any input shape and bounds."""

from ._adaptive import adaptive_pgd
from ._base import AttackResult
from ._cosine_similarity import cosine_similarity_attack
from ._gradient_sign import fgsm, pgd

__all__ = [
    "AttackResult",
    "adaptive_pgd",
    "cosine_similarity_attack",
    "fgsm",
    "pgd",
]
