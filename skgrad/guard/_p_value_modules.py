"""P-values and thresholds as torch modules over scores."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..detectors._combined import DEEPEST

# Scores nearer than this, relative to their size, count as equal. Sums in another order
# differ by less, and a tie lost to rounding would cost the p-value all equal scores.
_TIE = 1e-9


class Kept(nn.Module):
    """A module that keeps arrays and numbers as buffers, which move with it.

    Numbers of Python would become float32 in an ONNX file.
    """

    def keep(self, **arrays):
        """Keep arrays and numbers by their names."""
        for name, array in arrays.items():
            self.register_buffer(name, torch.as_tensor(np.array(array)))

    if TYPE_CHECKING:  # buffers are tensors, not modules

        def __getattr__(self, name: str) -> Any: ...


def up_to(scores, reference):
    """Return which reference scores are up to each score (n_samples, n_reference).

    ``reference`` is that of `lowered`. Comparisons, because ONNX has no binary search.
    """
    return reference <= scores[:, None]


def lowered(scores):
    """Return reference scores less what counts as equal to them."""
    # Not a difference, which infinite thresholds do not have.
    return scores * np.where(scores > 0, 1 - _TIE, 1 + _TIE)


class Decision(Kept):
    """The p-values and thresholds of a detector, overall or per class."""

    def __init__(self, detector, score):
        super().__init__()
        scores, classes = detector.calibration_scores_, detector._calibration_classes
        own = detector.class_offsets_ or {}
        # The first group is that of all classes without a threshold of their own.
        members = [np.ones(len(scores), dtype=bool)]
        members += [classes == label for label in own]
        self.keep(
            scores=lowered(scores),
            members=members,
            sizes=np.sum(members, axis=1),
            offsets=lowered(np.array([detector.offset_, *own.values()])),
        )
        self.logits = score.logits if own else None
        if self.logits is not None:
            groups = np.zeros(self.logits.stop - self.logits.start, dtype=np.int64)
            groups[list(own)] = 1 + np.arange(len(own))
            self.keep(groups=groups)

    def forward(self, score, X):
        """Return p-values, and whether scores pass the threshold."""
        counted = up_to(score, self.scores)
        if self.logits is None:
            group = 0
        else:
            group = self.groups[X[:, self.logits].argmax(dim=1)]
            counted = counted & self.members[group]
        n_lower = counted.sum(dim=1).double()
        p_value = (1 + n_lower) / (self.sizes[group] + 1)
        return p_value, score >= self.offsets[group]


class LogPValues(Kept):
    """The log p-values of a part of a `CombinedDetector`."""

    def __init__(self, p_values):
        super().__init__()
        tails = [p_values.lower]
        if p_values.upper is not None:
            tails.append(p_values.upper)
        self.tails = nn.ModuleList(map(_LowerTail, tails))
        self.keep(log_2=np.log(2))

    def forward(self, scores):
        lower = self.tails[0](scores)
        if len(self.tails) == 1:
            return lower
        smaller = torch.minimum(lower, self.tails[1](-scores))
        return (self.log_2 + smaller).clamp(max=0)


class _LowerTail(Kept):
    def __init__(self, tail):
        super().__init__()
        gaps = np.diff(tail.reference, append=tail.reference[-1])
        self.keep(
            start=tail.start,
            lowest=lowered(tail.start),
            log_start=tail.log_start,
            scale=tail.scale,
            deepest=DEEPEST,
            reference=tail.reference,
            lowered=lowered(tail.reference),
            log_ranks=tail.log_ranks,
            gaps=np.where(gaps > 0, gaps, 1.0),
            steps=np.diff(tail.log_ranks, append=tail.log_ranks[-1]),
        )

    def forward(self, scores):
        # What numpy's interp does, above the highest score too.
        place = (up_to(scores, self.lowered).sum(dim=1) - 1).clamp(min=0)
        share = (scores - self.reference[place]) / self.gaps[place]
        inside = self.log_ranks[place] + self.steps[place] * share
        depth = (self.start - scores) / self.scale
        outside = self.log_start - depth.clamp(min=0).minimum(self.deepest)
        return torch.where(scores < self.lowest, outside, inside)
