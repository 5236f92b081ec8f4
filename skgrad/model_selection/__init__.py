"""Splits and choices for detectors that train on in-distribution data alone."""

from ._indexable import indexable_inputs
from ._layer import MostDiscriminativeLayer
from ._split import NoveltyKFold

__all__ = ["MostDiscriminativeLayer", "NoveltyKFold", "indexable_inputs"]
