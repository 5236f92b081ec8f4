"""Splits for detectors that train on in-distribution data alone."""

from ._split import NoveltyKFold

__all__ = ["NoveltyKFold"]
