"""The norms of an input's gradients or activations against what is usual."""

from dataclasses import dataclass

import numpy as np

from .._messages import naming
from ._display import COLORS, Display, check_matplotlib, check_names
from ._layer_norms import layer_norms

_BAND = (5, 50, 95)
# The lines of more inputs are drawn alike, as they could not be told apart.
_FEW = 6


@dataclass(kw_only=True, eq=False, repr=False)
class NormProfileDisplay(Display):
    """The norms of inputs over the layers, against the in-distribution band.

    Each line is one input. Where it leaves the band, which holds the middle nine tenths
    of the in-distribution inputs in each layer, the gradients (or activations) of that
    layer are unusual.

    Parameters
    ----------
    norms : ndarray of shape (n_inputs, n_layers)
        Norms of the inputs to look at.
    norms_id : ndarray of shape (n_in_distribution, n_layers)
        Norms of in-distribution inputs.
    layers : list of str
        Names of the layers.
    quantity : str, default="gradients"
        What they are the norms of, for the axis.
    input_names : list of str, default=None
        Names of the inputs, for the legend.

    See Also
    --------
    layer_norms : The numbers and their units.

    Notes
    -----
    About one in ten in-distribution inputs leaves the band in any one layer. A norm of
    0 has no place on a logarithmic scale and is drawn at the smallest of the others.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.inspection import NormProfileDisplay
    >>> norms_id = np.linspace(1, 2, 21)[:, None] * [1.0, 10.0]
    >>> display = NormProfileDisplay(
    ...     norms=[[1.5, 40.0]], norms_id=norms_id, layers=["conv1", "conv2"]
    ... ).plot()
    >>> display.band.round(2).tolist()
    [[1.05, 10.5], [1.5, 15.0], [1.95, 19.5]]
    """

    norms: np.ndarray
    norms_id: np.ndarray
    layers: list
    quantity: str = "gradients"
    input_names: list | None = None

    def __post_init__(self):
        self.norms, self.norms_id = np.asarray(self.norms), np.asarray(self.norms_id)
        n_inputs, n_layers = self.norms.shape
        self.layers = check_names(self.layers, "layers", n_layers, "columns of norms")
        if self.input_names is not None:
            names = check_names(self.input_names, "input_names", n_inputs, "inputs")
            self.input_names = names

    @property
    def band(self):
        """The 5th, 50th and 95th percentile of the in-distribution norms by layer."""
        return np.percentile(self.norms_id, _BAND, axis=0)

    @classmethod
    def from_estimator(
        cls,
        model,
        X,
        X_test,
        *,
        quantity="gradients",
        layers=None,
        batch_size=128,
        device=None,
        input_names=None,
        ax=None,
    ):
        """Measure inputs by `layer_norms`, and draw their norms.

        Parameters
        ----------
        model : torch.nn.Module or fitted skorch net
            A classifier that returns logits. It is never changed.
        X : array-like of shape (n_inputs, *input_shape)
            The inputs to look at.
        X_test : array-like of shape (n_in_distribution, *input_shape)
            In-distribution inputs, preferably ones that the model was not trained on.
        quantity : {"gradients", "activations"}, default="gradients"
            What is measured.
        layers : str or array-like of str, default=None
            Layer names; None takes all convolutions and linear layers.
        batch_size : int, default=128
            Samples per pass.
        device : str or torch.device, default=None
            Where to compute; None is the model's own device.
        input_names : array-like of str of shape (n_inputs,), default=None
            Names of the inputs, for the legend.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

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
        norms, layers = layer_norms(model, X, **options)
        with naming("X_test"):
            norms_id, _ = layer_norms(model, X_test, **options)
        return cls(
            norms=norms,
            norms_id=norms_id,
            layers=layers,
            quantity=quantity,
            input_names=input_names,
        ).plot(ax)

    @property
    def size(self):
        """Width and height of a new figure in inches."""
        return min(max(6.4, 0.25 * len(self.layers) + 1.5), 14), 3.8

    def _draw(self):
        ax, floor = self.ax_, self._floor()
        places = np.arange(len(self.layers))
        low, median, high = np.maximum(self.band, floor)
        color = COLORS["in-distribution"]
        label = f"in-distribution, {_BAND[0]} to {_BAND[-1]} %"
        ax.fill_between(places, low, high, color=color, alpha=0.25, label=label)
        ax.plot(places, median, color=color, label="in-distribution median")
        for i, row in enumerate(np.maximum(self.norms, floor)):
            ax.plot(places, row, marker="o", markersize=4, **self._style(i))
        ax.set_yscale("log")
        ax.set_ylabel(f"norm of the {self.quantity} (log scale)")
        ax.set_xlabel("layer")
        rotated = {"rotation": 90} if sum(map(len, self.layers)) > 60 else {}
        ax.set_xticks(places, self.layers, **rotated)
        ax.legend(fontsize="small", ncols=2)

    def _floor(self):
        """Return what zeros are drawn as."""
        values = np.concatenate([self.norms.ravel(), self.norms_id.ravel()])
        positive = values[values > 0]
        return positive.min() if len(positive) else 1.0

    def _style(self, i):
        """Return how the line of one input is drawn."""
        n_inputs = len(self.norms)
        if self.input_names is not None and n_inputs <= _FEW:
            color = f"C{i + 1}" if n_inputs > 1 else COLORS["anomaly"]
            return {"color": color, "label": self.input_names[i]}
        style = {"color": COLORS["anomaly"], "alpha": 0.4 if n_inputs > _FEW else 0.9}
        if i == 0:  # one entry of the legend for all lines
            style["label"] = f"{n_inputs} inputs" if n_inputs > 1 else "the input"
        return style
