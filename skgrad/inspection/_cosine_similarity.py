"""Inputs and the cosine similarity matrices of their saliency maps (paper B)."""

from textwrap import fill

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from torch import nn

from .._messages import brief, call_it
from .._validation import check_finite
from ..feature_extraction import (
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
)
from ..torch_engine.samples import read_array
from ._display import check_matplotlib, check_numbers, take_grid
from ._draw_inputs import way_to_draw

# More cannot be read; so many stand in one row.
_MOST, _ABREAST = 12, 6
# More classes than this are not all written at the axes.
_WRITTEN = 12


class CosineSimilarityDisplay:
    """Inputs, and the cosines between the saliency maps of all classes, below each.

    Where a network is sure for good reasons, the maps of all classes but the predicted
    one agree with each other (red) and oppose that of the predicted class (blue, in its
    row and column, which are framed). For an untrustworthy input the pattern dissolves.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    matrices : ndarray of shape (n_inputs, n_maps, n_maps)
        Cosines in [-1, 1] of each input.
    inputs : ndarray of shape (n_inputs, *input_shape), default=None
        The inputs: images (1 or 3 channels, height, width), series (channels, length)
        and rows are drawn. Of other shapes, or None, only the matrices are.
    predicted : ndarray of int of shape (n_inputs,), default=None
        The class predicted for each; None marks none.
    titles : list of str, default=None
        What to write over each.
    classes : ndarray of int of shape (n_inputs, n_maps), default=None
        The classes of the rows of each matrix; None numbers them from 0.

    Attributes
    ----------
    axes_ : ndarray of Axes
        The grid: a row of inputs, where they are drawn, over a row of matrices. More
        than 6 inputs take two of such rows.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    skgrad.CosineSimilarityMatrixTransformer : Computes the matrices.

    Notes
    -----
    Grey images and colour images with values outside [0, 1] are drawn from the lowest
    to the highest value of all inputs.

    References
    ----------
    Schwinn et al. (2021), "Identifying Untrustworthy Predictions in Neural Networks by
    Geometric Gradient Analysis", Fig. 1.

    Examples
    --------
    >>> import torch
    >>> from skgrad.inspection import CosineSimilarityDisplay
    >>> model = torch.nn.Linear(2, 2)
    >>> display = CosineSimilarityDisplay.from_estimator(model, [[0.0, 1.0]])
    >>> display.matrices.shape
    (1, 2, 2)
    """

    def __init__(
        self, *, matrices, inputs=None, predicted=None, titles=None, classes=None
    ):
        self.matrices = matrices
        self.inputs = inputs
        self.predicted = predicted
        self.titles = titles
        self.classes = classes

    @classmethod
    def from_estimator(
        cls, estimator, X, *, titles=None, batch_size=None, device=None, ax=None
    ):
        """Compute the matrices of a few inputs, and draw them.

        Parameters
        ----------
        estimator : torch.nn.Module, skorch net, transformer or Pipeline
            The network; a `CosineSimilarityMatrixTransformer`, whose settings are
            taken but for its ``output``; or a pipeline with such a transformer, fitted
            if steps stand before it. It is left as it is.
        X : array-like of shape (n_inputs, *input_shape)
            At most 12 inputs, as the estimator takes them.
        titles : list of str, default=None
            What to write over each.
        batch_size : int, default=None
            Inputs per forward pass; None is the transformer's own, or 128.
        device : str or torch.device, default=None
            Where to compute; None is the transformer's own, or the model's.
        ax : matplotlib.axes.Axes, default=None
            Axes whose place to take; None makes a figure.

        Returns
        -------
        CosineSimilarityDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        _check_few(len(X) if hasattr(X, "__len__") else 0, "X")
        transformer, before = _transformer_in(estimator)
        changes = {"batch_size": batch_size, "device": device}
        changes = {name: value for name, value in changes.items() if value is not None}
        transformer = clone(transformer).set_params(output="matrix", **changes)
        for steps in before:
            X = steps.transform(X)
        X = read_array(X, "X")
        cosines = np.asarray(transformer.fit_transform(X))
        n_maps = transformer.top_n or transformer.n_classes_
        logits = _logits(transformer, X)
        classes = None
        if transformer.top_n:
            classes = np.argsort(-logits, axis=1, kind="stable")[:, :n_maps]
        return cls.from_predictions(
            cosines.reshape(-1, n_maps, n_maps),
            inputs=X.reshape(-1, *transformer.input_shape_),
            predicted=logits.argmax(axis=1),
            titles=titles,
            classes=classes,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        matrices,
        *,
        inputs=None,
        predicted=None,
        titles=None,
        classes=None,
        ax=None,
    ):
        """Draw matrices that are there already.

        Parameters
        ----------
        matrices : array-like of shape (n_inputs, n_maps, n_maps)
            Cosines in [-1, 1] of at most 12 inputs.
        inputs : array-like of shape (n_inputs, *input_shape), default=None
            The inputs; None draws the matrices alone.
        predicted : array-like of int of shape (n_inputs,), default=None
            The class predicted for each; None marks none.
        titles : list of str, default=None
            What to write over each.
        classes : array-like of int of shape (n_inputs, n_maps), default=None
            The classes of the rows of each matrix; None numbers them from 0.
        ax : matplotlib.axes.Axes, default=None
            Axes whose place to take; None makes a figure.

        Returns
        -------
        CosineSimilarityDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_predictions")
        matrices = _checked_matrices(matrices)
        n_inputs, n_maps = matrices.shape[:2]
        if classes is not None:
            classes = _whole(classes, "classes", (n_inputs, n_maps))
        if predicted is not None:
            predicted = _whole(predicted, "predicted", (n_inputs,))
        if inputs is not None:
            inputs = read_array(inputs, "inputs")
            _check_count(inputs, "inputs", n_inputs)
            check_finite(inputs, "inputs")
        if titles is not None:
            titles = _checked_titles(titles, n_inputs)
        display = cls(
            matrices=matrices,
            inputs=inputs,
            predicted=predicted,
            titles=titles,
            classes=classes,
        )
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes whose place to take; None makes a figure.

        Returns
        -------
        CosineSimilarityDisplay
            The display, with ``axes_`` and ``figure_``.
        """
        n_inputs, draw = len(self.matrices), way_to_draw(self.inputs)
        n_bands = -(-n_inputs // _ABREAST)
        n_columns, per_band = -(-n_inputs // n_bands), 2 if draw else 1
        axes = take_grid(
            self,
            ax,
            n_bands * per_band,
            n_columns,
            figsize=(1.9 * n_columns + 1.6, n_bands * (2.1 * per_band + 0.5)),
        )
        for unused in axes[-per_band:, n_columns - n_bands * n_columns + n_inputs :]:
            for one in unused:
                one.set_axis_off()
        for i in range(n_inputs):
            band, column = divmod(i, n_columns)
            cells = axes[band * per_band : (band + 1) * per_band, column]
            cells[0].set_title(self._heading(i), fontsize=9)
            if draw:
                draw(cells[0], self.inputs, i)
            drawn = self._draw_matrix(cells[-1], i)
            cells[-1].set_xlabel("class", fontsize=9)
            if column == 0:
                cells[-1].set_ylabel("class", fontsize=9)
        axes[0, 0].figure.colorbar(
            drawn,
            ax=list(axes[per_band - 1 :: per_band].flat),
            label="cosine",
            ticks=(-1, -0.5, 0, 0.5, 1),
            aspect=20 * n_bands,
        )
        return self

    def _heading(self, i):
        lines = [fill(self.titles[i], 24)] if self.titles is not None else []
        if self.predicted is not None:
            lines.append(f"predicted {self.predicted[i]}")
        return "\n".join(lines)

    def _draw_matrix(self, ax, i):
        """Draw one matrix, with a frame around what belongs to the predicted class."""
        matrix, n_maps = self.matrices[i], self.matrices.shape[1]
        drawn = ax.imshow(matrix, cmap="coolwarm", vmin=-1, vmax=1)
        classes = np.arange(n_maps) if self.classes is None else self.classes[i]
        ticks = np.arange(0, n_maps, 1 if n_maps <= _WRITTEN else -(-n_maps // 6))
        names = [str(classes[tick]) for tick in ticks]
        steep = max(map(len, names)) > 2
        ax.set_xticks(ticks, names, fontsize=7, rotation=90 if steep else 0)
        ax.set_yticks(ticks, names, fontsize=7)
        if self.predicted is not None:
            for at in np.flatnonzero(classes == self.predicted[i]):
                for place, size in (
                    ((-0.5, at - 0.5), (n_maps, 1)),
                    ((at - 0.5, -0.5), (1, n_maps)),
                ):
                    ax.add_patch(_frame(place, size, min(1.2, 25 / n_maps)))
        return drawn


def _frame(place, size, linewidth):
    from matplotlib.patches import Rectangle

    return Rectangle(place, *size, fill=False, edgecolor="black", linewidth=linewidth)


def _transformer_in(estimator):
    """Return the transformer of an estimator, and the fitted steps before it."""
    found = _search(estimator, ())
    if found is not None:
        return found
    is_net = hasattr(estimator, "module_") or hasattr(estimator, "initialize")
    if isinstance(estimator, nn.Module) or is_net:
        return CosineSimilarityMatrixTransformer(estimator), ()
    raise TypeError(
        "estimator must be a torch model, a fitted skorch net, a "
        "CosineSimilarityMatrixTransformer or a Pipeline with one; got "
        f"{type(estimator).__name__}: {brief(estimator)}.{call_it(estimator)} Of a "
        "search give best_estimator_; of any other detector give its model."
    )


def _search(estimator, before):
    if isinstance(estimator, CosineSimilarityMatrixTransformer):
        return estimator, before
    if not isinstance(estimator, Pipeline):
        return None
    for i, (_, step) in enumerate(estimator.steps):
        found = _search(step, (*before, estimator[:i]) if i else before)
        if found is not None:
            return found
    return None


def _logits(transformer, X):
    options = {
        name: getattr(transformer, name)
        for name in ("input_shape", "batch_size", "device")
    }
    reader = LayerActivationTransformer(transformer.model, "logits", **options)
    return np.asarray(reader.fit_transform(X))


def _check_few(n_inputs, name):
    if n_inputs > _MOST:
        raise ValueError(
            f"{name} must hold at most {_MOST} inputs, more cannot be read; got "
            f"{n_inputs}. Give some of them, such as {name}[:6]."
        )


def _checked_matrices(matrices):
    matrices = check_numbers(matrices, "matrices")
    if (
        matrices.ndim != 3
        or matrices.shape[1] != matrices.shape[2]
        or not matrices.size
    ):
        raise ValueError(
            "matrices must be of shape (n_inputs, n_maps, n_maps), with at least one "
            f"input; got {matrices.shape}. One matrix m is m[None]; flat rows of "
            "output='matrix' are reshaped by matrices.reshape(-1, n_maps, n_maps)."
        )
    _check_few(len(matrices), "matrices")
    # Cosines may be a little out by rounding.
    if np.abs(matrices).max() > 1.01:
        raise ValueError(
            "matrices must hold cosines from -1 to 1; got values from "
            f"{matrices.min():.4g} to {matrices.max():.4g}."
        )
    return matrices


def _check_count(values, name, n_inputs):
    if len(values) != n_inputs:
        raise ValueError(
            f"{name} must hold one for each of the {n_inputs} matrices; got "
            f"{len(values)}."
        )


def _whole(values, name, shape):
    """Return classes as whole numbers, or name the parameter."""
    values = check_numbers(values, name)
    if values.shape != shape or not (values == np.floor(values)).all():
        raise ValueError(
            f"{name} must hold classes as whole numbers, of shape {shape}; got shape "
            f"{values.shape}: {brief(values)}."
        )
    return values.astype(np.int64)


def _checked_titles(titles, n_inputs):
    if isinstance(titles, str) or not all(isinstance(title, str) for title in titles):
        raise TypeError(
            f"titles must be a list of str, one for each input; got {brief(titles)}."
        )
    _check_count(titles, "titles", n_inputs)
    return [str(title) for title in titles]
