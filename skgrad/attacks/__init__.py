"""Adversarial inputs, for any input shape and bounds."""

from ._art import art_attack
from ._base import AttackResult
from ._brendel_bethge import brendel_bethge
from ._carlini_wagner import carlini_wagner
from ._foolbox import foolbox_attack
from ._fooling import fooling_images
from ._gradient_sign import fgsm, pgd
from ._jsma import jsma

__all__ = [
    "AttackResult",
    "art_attack",
    "brendel_bethge",
    "carlini_wagner",
    "fgsm",
    "foolbox_attack",
    "fooling_images",
    "jsma",
    "pgd",
]
