"""Fitted detectors in files that hold arrays and JSON, and neither code nor network."""

from ._load import load
from ._read_card import read_card
from ._save import save

__all__ = ["load", "read_card", "save"]
