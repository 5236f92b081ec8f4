"""Adversarial inputs, for any input shape and bounds."""

from ._base import AttackResult
from ._gradient_sign import fgsm, pgd

__all__ = ["AttackResult", "fgsm", "pgd"]
