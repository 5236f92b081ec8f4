"""The scores by the model of the predicted class as torch modules."""

from typing import Any

import numpy as np
import torch
from torch import nn

from ..detectors._gaussian_models import DenseGaussian, LowRankGaussian
from ..detectors._scaling import FARTHEST
from ._p_value_modules import Kept

# Values of the matrices of a class that are copied for an input at a time: 1 MB.
_MOST_COPIED = 2**17


class _Scalers(Kept):
    """One or several `AnyFloatScaler`; each row chooses one by its number."""

    def __init__(self, scalers):
        super().__init__()
        self.keep(
            largest=[scaler.largest_ for scaler in scalers],
            mean=[scaler.standard_.mean_ for scaler in scalers],
            scale=[scaler.standard_.scale_ for scaler in scalers],
            farthest=FARTHEST,
        )

    def forward(self, X, which):
        X = (X / self.largest[which]).clamp(-self.farthest, self.farthest)
        X = (X - self.mean[which]) / self.scale[which]
        return X.clamp(-self.farthest, self.farthest)


class _ByClass(Kept):
    """Base of the detectors with a model per predicted class."""

    def __init__(self, detector):
        super().__init__()
        self.logits = detector.blocks_[detector.logits_block_]
        labels = list(detector._models)
        self.models = [detector._models[label] for label in labels]
        # The shared model comes last, where classes need it.
        n_classes = self.logits.stop - self.logits.start
        places = np.full(n_classes, len(labels))
        places[labels] = np.arange(len(labels))
        if len(labels) < n_classes:
            self.models.append(detector._pooled)
        self.keep(places=places)

    def which(self, X):
        """Return the numbers of the models for each row."""
        return self.places[X[:, self.logits].argmax(dim=1)]


class Gaussians(_ByClass):
    """The score of a `ClassConditionalGaussian`."""

    kinds: Any

    def __init__(self, detector):
        super().__init__(detector)
        (columns,) = detector._columns
        scaler = detector._scaler
        self.scaler = _Scalers([scaler.overall])
        self.keep(columns=columns, spread=scaler.spread)
        models = [model for (model,) in self.models]
        del self.models
        kinds = {DenseGaussian: _Whole, LowRankGaussian: _OfFew}
        there = {type(model) for model in models}
        self.kinds = nn.ModuleList(
            module(models, kind) for kind, module in kinds.items() if kind in there
        )

    def forward(self, X):
        which = self.which(X)
        Z = self.scaler(X[:, self.columns], 0) / self.spread
        first, *others = [kind(Z, kind.numbers[which]) for kind in self.kinds]
        # All score each input; those that do not know its class are not heard.
        for kind, scores in zip(self.kinds[1:], others, strict=True):
            first = torch.where(kind.mine[which], scores, first)
        return first


class _OfKind(Kept):
    """The models of one kind, with their numbers; those of others have number 0."""

    def __init__(self, models, kind):
        super().__init__()
        mine = np.array([isinstance(model, kind) for model in models])
        self.models = [model for model in models if isinstance(model, kind)]
        self.keep(mine=mine, numbers=np.where(mine, np.cumsum(mine) - 1, 0))


class _Whole(_OfKind):
    """`DenseGaussian`, with inverted factors: ONNX does not solve equations."""

    def __init__(self, models, kind):
        super().__init__(models, kind)
        self.keep(means=[model.mean for model in self.models])
        inverses = [np.linalg.inv(model.factor) for model in self.models]
        self.inverses = _in_blocks(np.array(inverses))
        del self.models

    def forward(self, Z, numbers):
        Z = (Z - self.means[numbers])[:, :, None]
        products = [block(numbers) @ Z for block in self.inverses]
        return -torch.cat(products, dim=1).square().sum(dim=(1, 2))


class _OfFew(_OfKind):
    """`LowRankGaussian`, with as many axes for each class as the largest has."""

    def __init__(self, models, kind):
        super().__init__(models, kind)
        models = self.models
        del self.models
        self.turns = models[0].scaler.axes is not None
        if self.turns:
            self.keep(turn=models[0].scaler.axes)
        self.keep(
            means=[model.mean for model in models],
            scales=[model.scale for model in models],
        )
        most = max(len(model.axes) for model in models)
        axes = np.zeros((len(models), most, self.means.shape[1]))
        squares = np.zeros((len(models), most))
        for number, model in enumerate(models):
            axes[number, : len(model.axes)] = model.axes
            squares[number, : len(model.axes)] = model.squares
        self.axes = _in_blocks(axes)
        if most:
            self.keep(squares=squares)

    def forward(self, Z, numbers):
        Z = Z @ self.turn if self.turns else Z
        Z = ((Z - self.means[numbers]) * self.scales[numbers])[:, :, None]
        rest, along = Z, []
        for block in self.axes:
            axes = block(numbers)
            along.append(axes @ Z)
            rest = rest - axes.mT @ along[-1]
        squares = rest.square().sum(dim=(1, 2))
        if along:
            each = torch.cat(along, dim=1)[:, :, 0].square()
            squares = squares + (each * self.squares[numbers]).sum(dim=1)
        return -squares


def _in_blocks(matrices):
    """Keep matrices (n_matrices, n_out, n_in) by some of their rows at a time.

    An input copies the matrix of its class.
    """
    n_rows = max(1, _MOST_COPIED // matrices.shape[2])
    starts = range(0, matrices.shape[1], n_rows)
    return nn.ModuleList(_Matrices(matrices[:, s : s + n_rows]) for s in starts)


class _Matrices(Kept):
    def __init__(self, matrices):
        super().__init__()
        self.keep(matrices=matrices)

    def forward(self, numbers):
        return self.matrices[numbers]


class PerClassSVDDs(_ByClass):
    """The score of a `PerClassSVDD`."""

    def __init__(self, detector):
        super().__init__(detector)
        self.keep(weights=detector._weights)
        self.groups = nn.ModuleList(
            _SVDDs(columns, models)
            for columns, models in zip(
                detector._columns, zip(*self.models, strict=True), strict=True
            )
        )
        del self.models

    def forward(self, X):
        which = self.which(X)
        parts = [group(X, which) for group in self.groups]
        return (torch.stack(parts, dim=1) * self.weights).sum(dim=1)


class _SVDDs(Kept):
    """The descriptions of one group of columns, all of which see each input.

    The support vectors of the other classes get no weight. They are as many as there
    are training inputs outside the descriptions, whatever the number of classes.
    """

    def __init__(self, columns, models):
        super().__init__()
        self.columns = columns
        svdds = [model.model for model in models]
        self.scalers = _Scalers([svdd.scaler for svdd in svdds])
        counts = [len(svdd.weights) for svdd in svdds]
        vectors = np.vstack([svdd.support_vectors for svdd in svdds])
        self.keep(
            owners=np.repeat(np.arange(len(svdds)), counts),
            vectors=vectors,
            squares=np.square(vectors).sum(axis=1),
            weights=np.concatenate([svdd.weights for svdd in svdds]),
            coefficients=[float(svdd.coefficient) for svdd in svdds],
            low=[float(model.low) for model in models],
            range=[float(model.range) for model in models],
        )

    def forward(self, X, which):
        Z = self.scalers(X[:, self.columns], which)
        squares = Z.square().sum(dim=1, keepdim=True) + self.squares
        # Rounding may make the distance to a vector itself negative.
        squares = (squares - 2 * (Z @ self.vectors.T)).clamp(min=0)
        kernel = (-self.coefficients[which][:, None] * squares).exp()
        own = torch.where(self.owners == which[:, None], self.weights, 0.0)
        scores = (kernel * own).sum(dim=1)
        return (scores - self.low[which]) / self.range[which]
