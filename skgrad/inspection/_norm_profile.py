"""The norms of an input's gradients or activations against what is usual."""

import numpy as np

from .._messages import naming
from .._validation import to_array
from ._display import COLORS, check_matplotlib, check_numbers, take_axes
from ._layer_norms import layer_norms

_BAND = (5, 95)
# Lines of so many inputs are told apart; of more they are drawn alike.
_FEW = 6


class NormProfileDisplay:
    """The norms of inputs over the layers, against the in-distribution band.

    Each line is one input. Where it leaves the band of the in-distribution inputs, the
    gradients (or activations) of that layer give it away.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    norms : ndarray of shape (n_inputs, n_layers)
        Norms of the inputs to look at.
    norms_id : ndarray of shape (n_in_distribution, n_layers)
        Norms of in-distribution inputs.
    names : list of str
        Names of the layers.
    quantity : str, default="gradients"
        What they are the norms of, for the label.
    labels : list of str, default=None
        Names of the inputs, for the legend.
    name : str, default=None
        The title.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    layer_norms : The numbers.
    ContributionDisplay : Which layers a detector reacted to.

    Notes
    -----
    The band holds the middle nine tenths of the in-distribution inputs in each layer,
    so that about one of ten good inputs leaves it in any one layer. Norms have the
    units of the loss per unit of weight, or those of the layer's output. A norm of 0
    has no place on a logarithmic scale and is drawn at the smallest of the others.

    References
    ----------
    Lee, Prabhushankar, AlRegib (2022), "Gradient-Based Adversarial and
    Out-of-Distribution Detection", Fig. 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.inspection import NormProfileDisplay
    >>> norms_id = np.linspace(1, 2, 21)[:, None] * [1.0, 10.0]
    >>> display = NormProfileDisplay.from_predictions(
    ...     [[1.5, 40.0]], norms_id, ["conv1", "conv2"]
    ... )
    >>> display.band.round(2).tolist()
    [[1.05, 10.5], [1.5, 15.0], [1.95, 19.5]]
    """

    def __init__(
        self,
        *,
        norms,
        norms_id,
        names,
        quantity="gradients",
        labels=None,
        name=None,
    ):
        self.norms = norms
        self.norms_id = norms_id
        self.names = names
        self.quantity = quantity
        self.labels = labels
        self.name = name

    @property
    def band(self):
        """The 5th, 50th and 95th percentile of the in-distribution norms by layer."""
        return np.percentile(self.norms_id, (_BAND[0], 50, _BAND[1]), axis=0)

    @classmethod
    def from_estimator(
        cls,
        model,
        X,
        X_id,
        *,
        quantity="gradients",
        layers=None,
        batch_size=128,
        device=None,
        labels=None,
        ax=None,
        name=None,
    ):
        """Measure inputs and draw their norms.

        Parameters
        ----------
        model : torch.nn.Module or fitted skorch net
            A classifier that returns logits. It is never changed.
        X : array-like of shape (n_inputs, *input_shape)
            The inputs to look at, one or several.
        X_id : array-like of shape (n_in_distribution, *input_shape)
            In-distribution inputs, best ones that the model was not trained on.
        quantity : {"gradients", "activations"}, default="gradients"
            What is measured, see :func:`layer_norms`.
        layers : str or array-like of str, default=None
            Layer names, as in ``model.named_modules()``. None takes all convolutions
            and linear layers.
        batch_size : int, default=128
            Samples per pass.
        device : str or torch.device, default=None
            Where to compute. None is the model's own device.
        labels : array-like of str of shape (n_inputs,), default=None
            Names of the inputs, for the legend.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            The title.

        Returns
        -------
        NormProfileDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        options = {
            "quantity": quantity,
            "layers": layers,
            "batch_size": batch_size,
            "device": device,
        }
        norms, names = layer_norms(model, X, **options)
        with naming("X_id"):
            norms_id, _ = layer_norms(model, X_id, **options)
        return cls.from_predictions(
            norms, norms_id, names, quantity=quantity, labels=labels, ax=ax, name=name
        )

    @classmethod
    def from_predictions(
        cls,
        norms,
        norms_id,
        names,
        *,
        quantity="gradients",
        labels=None,
        ax=None,
        name=None,
    ):
        """Draw norms that are there already.

        Parameters
        ----------
        norms : array-like of shape (n_inputs, n_layers)
            Norms of the inputs to look at.
        norms_id : array-like of shape (n_in_distribution, n_layers)
            Norms of in-distribution inputs.
        names : array-like of str of shape (n_layers,)
            Names of the layers.
        quantity : str, default="gradients"
            What they are the norms of, for the label.
        labels : array-like of str of shape (n_inputs,), default=None
            Names of the inputs, for the legend.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            The title.

        Returns
        -------
        NormProfileDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_predictions")
        names = [str(layer) for layer in to_array(names, "names").tolist()]
        parts = {"norms": norms, "norms_id": norms_id}
        for part, values in parts.items():
            parts[part] = check_numbers(values, part, n_axes=2, finite=True)
            shape = parts[part].shape
            if not shape[0] or shape[1:] != (len(names),) or (parts[part] < 0).any():
                raise ValueError(
                    f"{part} must hold norms, 0 or more, a row for each input and one "
                    f"in it for each of the {len(names)} names; got shape {shape}."
                )
        if labels is not None:
            labels = [str(label) for label in to_array(labels, "labels").tolist()]
            if len(labels) != len(parts["norms"]):
                raise ValueError(
                    f"labels must name each of the {len(parts['norms'])} inputs; got "
                    f"{len(labels)}."
                )
        display = cls(**parts, names=names, quantity=quantity, labels=labels, name=name)
        return display.plot(ax)

    def plot(self, ax=None, *, name=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            The title; None takes the display's name.

        Returns
        -------
        NormProfileDisplay
            The display, with ``ax_`` and ``figure_``.
        """
        width = min(max(6.4, 0.25 * len(self.names) + 1.5), 14)
        ax = take_axes(self, ax, figsize=(width, 3.8))
        floor = self._floor()
        places = np.arange(len(self.names))
        low, median, high = np.maximum(self.band, floor)
        color = COLORS["in-distribution"]
        label = "in-distribution, {} to {} %".format(*_BAND)
        ax.fill_between(places, low, high, color=color, alpha=0.25, label=label)
        ax.plot(places, median, color=color, label="in-distribution median")
        several = len(self.norms) > 1
        for i, row in enumerate(np.maximum(self.norms, floor)):
            ax.plot(places, row, marker="o", markersize=4, **self._style(i, several))
        ax.set_yscale("log")
        ax.set_ylabel(f"norm of the {self.quantity} (log scale)")
        ax.set_xlabel("layer")
        rotated = {"rotation": 90} if sum(map(len, self.names)) > 60 else {}
        ax.set_xticks(places, self.names, **rotated)
        ax.set_title(self.name or "" if name is None else name)
        ax.legend(frameon=False, fontsize="small", ncols=2, loc="upper center")
        _make_room(ax)
        return self

    def _floor(self):
        """Return what zeros are drawn as."""
        values = np.concatenate([self.norms.ravel(), self.norms_id.ravel()])
        positive = values[values > 0]
        return positive.min() if len(positive) else 1.0

    def _style(self, i, several):
        """Return how the line of one input is drawn."""
        if self.labels is not None and len(self.labels) <= _FEW:
            color = f"C{i + 1}" if several else COLORS["anomaly"]
            return {"color": color, "label": self.labels[i]}
        label = f"{len(self.norms)} inputs" if several else "the input"
        alpha = 0.4 if len(self.norms) > _FEW else 0.9
        style = {"color": COLORS["anomaly"], "alpha": alpha}
        return style if i else {**style, "label": label}


def _make_room(ax):
    """Let a logarithmic axis go on upwards, so that the legend hides no line."""
    n_rows = -(-len(ax.get_legend().get_texts()) // 2)
    share = 0.03 + 0.07 * min(n_rows, 8)
    low, high = ax.dataLim.intervaly
    # No set_ylim: other axes may share this one.
    ax.update_datalim([(0, high * (high / low) ** (share / (1 - share)))])
    ax.autoscale_view()
