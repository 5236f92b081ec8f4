"""Splits and choices for detectors that train on in-distribution data alone."""

from ._layer import MostDiscriminativeLayer
from ._split import NoveltyKFold

__all__ = ["MostDiscriminativeLayer", "NoveltyKFold"]
