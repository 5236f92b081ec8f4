"""Inputs and the cosine similarity matrices of their saliency maps (paper B)."""

from dataclasses import dataclass
from textwrap import fill

import numpy as np
from sklearn.base import clone
from torch import nn

from .._messages import brief, call_it
from .._unwrap import find_step
from ..feature_extraction import CosineSimilarityMatrixTransformer, predict_logits
from ..torch_engine.samples import read_array
from ._display import Display, check_matplotlib, check_names
from ._draw_inputs import drawing_function

# More inputs in a row cannot be read.
_MOST_INPUTS = 8
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
        Images (1 or 3 channels, height, width), series (channels, length) and rows are
        drawn. Of other shapes, or None, the matrices alone are.
    predicted : ndarray of int of shape (n_inputs,), default=None
        The class predicted for each; None marks none.
    input_names : list of str, default=None
        Names of the inputs, written over each.
    classes : ndarray of int of shape (n_inputs, n_maps), default=None
        The classes of the rows of each matrix; None numbers them from 0.

    Notes
    -----
    Images with values outside [0, 1] are drawn from the lowest to the highest value of
    all inputs.

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
        self.matrices = np.asarray(self.matrices)
        if self.classes is not None:
            self.classes = np.asarray(self.classes)
        _check_few(len(self.matrices), "matrices")
        if self.input_names is not None:
            n_inputs = len(self.matrices)
            names = check_names(self.input_names, "input_names", n_inputs, "inputs")
            self.input_names = names

    @classmethod
    def from_estimator(cls, estimator, X, *, input_names=None, ax=None):
        """Compute the matrices of a few inputs, and draw them.

        Parameters
        ----------
        estimator : torch.nn.Module, skorch net, transformer or Pipeline
            The network; a `CosineSimilarityMatrixTransformer`, whose settings but
            ``output`` are used; or a pipeline with one, fitted if it has steps before.
        X : array-like of shape (n_inputs, *input_shape)
            At most 8 inputs, as the estimator takes them.
        input_names : array-like of str of shape (n_inputs,), default=None
            Names of the inputs, written over each.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

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

    def _grid_shape(self):
        return 2 if drawing_function(self.inputs) else 1, len(self.matrices)

    @property
    def size(self):
        """Width and height of a new figure in inches."""
        n_rows, n_columns = self._grid_shape()
        return 1.9 * n_columns + 1.6, 2.1 * n_rows + 0.5

    def _draw(self):
        draw_input = drawing_function(self.inputs)
        for i, cells in enumerate(self.axes_.T):
            cells[0].set_title(self._heading(i), fontsize=9)
            if draw_input:
                draw_input(cells[0], self.inputs, i)
            image = self._draw_matrix(cells[-1], i)
            cells[-1].set_xlabel("class", fontsize=9)
        self.axes_[-1, 0].set_ylabel("class", fontsize=9)
        ticks = (-1, -0.5, 0, 0.5, 1)
        matrices = self.axes_[-1].tolist()
        self.figure_.colorbar(image, ax=matrices, label="cosine", ticks=ticks)

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
