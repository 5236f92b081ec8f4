"""Inputs and the cosine similarity matrices of their saliency maps (paper B)."""

from dataclasses import dataclass
from textwrap import fill

import numpy as np
from sklearn.base import clone
from torch import nn

from .._messages import brief, call_it
from .._unwrap import find_step
from .._validation import check_finite
from ..feature_extraction import CosineSimilarityMatrixTransformer, predict_logits
from ..torch_engine.samples import read_array
from ._display import (
    COSINES,
    Display,
    check_matplotlib,
)
from ._draw_inputs import drawing_function

# More inputs cannot be read; so many stand in one row.
_MOST_INPUTS, _MOST_COLUMNS = 12, 6
# Of more classes than this not all are written at the axes.
_MOST_CLASSES = 12


@dataclass(kw_only=True, eq=False, repr=False)
class CosineSimilarityDisplay(Display):
    """Inputs, and the cosines between the saliency maps of all classes, below each.

    For a trustworthy prediction the maps of all classes but the predicted one agree
    with each other (red) and oppose that of the predicted class (blue, in its row and
    column, which are framed). For an untrustworthy input the pattern dissolves.

    Parameters
    ----------
    matrices : ndarray of shape (n_inputs, n_maps, n_maps)
        Cosines in [-1, 1] of each input.
    inputs : ndarray of shape (n_inputs, *input_shape), default=None
        The inputs: images (1 or 3 channels, height, width), series (channels, length)
        and rows are drawn. Of other shapes, or None, only the matrices are.
    predicted : ndarray of int of shape (n_inputs,), default=None
        The class predicted for each; None marks none.
    input_names : list of str, default=None
        Names of the inputs, written over each.
    classes : ndarray of int of shape (n_inputs, n_maps), default=None
        The classes of the rows of each matrix; None numbers them from 0.

    Attributes
    ----------
    axes_ : ndarray of Axes
        The grid: a row of inputs, where they are drawn, over a row of matrices. More
        than 6 inputs take two such rows.
    ax_, figure_ : matplotlib Axes and Figure
        The first panel, and the figure.

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

    matrices: np.ndarray
    inputs: np.ndarray | None = None
    predicted: np.ndarray | None = None
    input_names: list | None = None
    classes: np.ndarray | None = None

    def __post_init__(self):
        self._check("matrices", ("n_inputs", "n_maps", "n_maps"), **COSINES)
        n_inputs, n_maps, n_columns = self.matrices.shape
        if n_maps != n_columns:
            raise ValueError(f"matrices must be square; got {self.matrices.shape}.")
        _check_few(n_inputs, "matrices")
        self._check("predicted", (n_inputs,), whole=True)
        self._check("classes", (n_inputs, n_maps), whole=True)
        self._check_names("input_names", n_inputs, "inputs")
        if self.inputs is not None:
            self.inputs = read_array(self.inputs, "inputs")
            if len(self.inputs) != n_inputs:
                raise ValueError(
                    f"inputs must hold one for each of the {n_inputs} matrices; got "
                    f"{len(self.inputs)}."
                )
            check_finite(self.inputs, "inputs")

    @classmethod
    def from_estimator(cls, estimator, X, *, input_names=None, ax=None):
        """Compute the matrices of a few inputs, and draw them.

        Parameters
        ----------
        estimator : torch.nn.Module, skorch net, transformer or Pipeline
            The network; a `CosineSimilarityMatrixTransformer`, of which all settings
            but ``output`` are used; or a pipeline with such a transformer, fitted if
            steps stand before it. It is never changed.
        X : array-like of shape (n_inputs, *input_shape)
            At most 12 inputs, as the estimator takes them.
        input_names : array-like of str of shape (n_inputs,), default=None
            Names of the inputs, written over each.
        ax : matplotlib.axes.Axes, default=None
            Axes whose place to take; None makes a figure.

        Returns
        -------
        CosineSimilarityDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        _check_few(len(X) if hasattr(X, "__len__") else 0, "X")
        transformer, before = _find_transformer(estimator)
        transformer = clone(transformer).set_params(output="matrix")
        for steps in before:
            X = steps.transform(X)
        X = read_array(X, "X")
        cosines = np.asarray(transformer.fit_transform(X))
        n_maps = transformer.top_n or transformer.n_classes_
        options = {
            name: getattr(transformer, name)
            for name in ("input_shape", "batch_size", "device")
        }
        logits = predict_logits(transformer.model, X, **options)
        classes = None
        if transformer.top_n:  # the classes of the largest logits, in this order
            classes = np.argsort(-logits, axis=1, kind="stable")[:, :n_maps]
        return cls(
            matrices=cosines.reshape(-1, n_maps, n_maps),
            inputs=X.reshape(-1, *transformer.input_shape_),
            predicted=logits.argmax(axis=1),
            input_names=input_names,
            classes=classes,
        ).plot(ax)

    def _bands(self):
        """Return the number of bands, of columns, and of rows of panels in a band."""
        n_bands = -(-len(self.matrices) // _MOST_COLUMNS)
        n_columns = -(-len(self.matrices) // n_bands)
        return n_bands, n_columns, 2 if drawing_function(self.inputs) else 1

    def _grid_shape(self):
        n_bands, n_columns, n_rows = self._bands()
        return n_bands * n_rows, n_columns

    @property
    def size(self):
        """Width and height of a new figure in inches."""
        n_bands, n_columns, n_rows = self._bands()
        return 1.9 * n_columns + 1.6, n_bands * (2.1 * n_rows + 0.5)

    def _draw(self):
        n_bands, n_columns, n_rows = self._bands()
        draw_input = drawing_function(self.inputs)
        # One column of panels per input, band after band.
        bands = self.axes_.reshape(n_bands, n_rows, n_columns)
        panels = bands.transpose(0, 2, 1).reshape(-1, n_rows)
        for i, cells in enumerate(panels):
            if i >= len(self.matrices):
                for unused in cells:
                    unused.set_axis_off()
                continue
            cells[0].set_title(self._heading(i), fontsize=9)
            if draw_input:
                draw_input(cells[0], self.inputs, i)
            image = self._draw_matrix(cells[-1], i)
            cells[-1].set_xlabel("class", fontsize=9)
            if i % n_columns == 0:
                cells[-1].set_ylabel("class", fontsize=9)
        self.figure_.colorbar(
            image,
            ax=list(panels[:, -1]),
            label="cosine",
            ticks=(-1, -0.5, 0, 0.5, 1),
            aspect=20 * n_bands,
        )

    def _heading(self, i):
        lines = [] if self.input_names is None else [fill(self.input_names[i], 24)]
        if self.predicted is not None:
            lines.append(f"predicted {self.predicted[i]}")
        return "\n".join(lines)

    def _draw_matrix(self, ax, i):
        """Draw one matrix, with a frame around what belongs to the predicted class."""
        from matplotlib.patches import Rectangle

        matrix, n_maps = self.matrices[i], self.matrices.shape[1]
        image = ax.imshow(matrix, cmap="coolwarm", vmin=-1, vmax=1)
        classes = np.arange(n_maps) if self.classes is None else self.classes[i]
        step = 1 if n_maps <= _MOST_CLASSES else -(-n_maps // 6)
        ticks = np.arange(0, n_maps, step)
        names = [str(classes[tick]) for tick in ticks]
        vertical = max(map(len, names)) > 2
        ax.set_xticks(ticks, names, fontsize=7, rotation=90 if vertical else 0)
        ax.set_yticks(ticks, names, fontsize=7)
        if self.predicted is not None:
            frame = {"fill": False, "edgecolor": "black", "lw": min(1.2, 25 / n_maps)}
            for at in np.flatnonzero(classes == self.predicted[i]) - 0.5:
                ax.add_patch(Rectangle((-0.5, at), n_maps, 1, **frame))
                ax.add_patch(Rectangle((at, -0.5), 1, n_maps, **frame))
        return image


def _find_transformer(estimator):
    """Return the transformer of an estimator, and the fitted steps before it."""
    found, before = find_step(estimator, CosineSimilarityMatrixTransformer)
    if found is not None:
        return found, before
    is_net = hasattr(estimator, "module_") or hasattr(estimator, "initialize")
    if isinstance(estimator, nn.Module) or is_net:
        return CosineSimilarityMatrixTransformer(estimator), ()
    raise TypeError(
        "estimator must be a torch model, a fitted skorch net, a "
        "CosineSimilarityMatrixTransformer or a Pipeline with one; got "
        f"{type(estimator).__name__}: {brief(estimator)}.{call_it(estimator)} Of any "
        "other detector give its model."
    )


def _check_few(n_inputs, name):
    if n_inputs > _MOST_INPUTS:
        raise ValueError(
            f"{name} must hold at most {_MOST_INPUTS} inputs, more cannot be read; got "
            f"{n_inputs}. Give some of them, such as {name}[:6]."
        )
