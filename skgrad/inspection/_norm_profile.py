"""How large the gradients or activations of an input are, layer by layer."""

from numbers import Integral

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from torch import nn
from torch.nn.modules.conv import _ConvNd

from .._arrays import as_array, check_not_empty
from .._labels import one_per_sample
from .._messages import did_you_mean, listed
from ..feature_extraction import (
    ConfoundingGradientTransformer,
    LayerActivationTransformer,
)
from ..torch_engine.activations import as_names
from ..torch_engine.model_state import unwrap_model
from ._display import COLORS, check_matplotlib, check_numbers, take_axes

_BAND = (5, 95)
_QUANTITIES = {"gradients": "gradients", "activations": "activations"}
# Lines of so many inputs are told apart; of more they are drawn alike.
_FEW = 6


@validate_params(
    {
        "model": "no_validation",  # the transformers' messages say more
        "X": "no_validation",
        "quantity": [StrOptions(set(_QUANTITIES))],
        "layers": [str, "array-like", None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device, None],
    },
    prefer_skip_nested_validation=True,
)
def layer_norms(
    model,
    X,
    *,
    quantity="gradients",
    layers=None,
    batch_size=128,
    device=None,
    memory=None,
):
    """Measure the gradients or the activations of each layer by their norms.

    Paper A compares the two as features: where a network was not trained to be sure,
    its gradients under a confounding label are large.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits. It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The inputs.
    quantity : {"gradients", "activations"}, default="gradients"
        What is measured: the gradient of the confounding-label loss with respect to the
        weight of each layer, or all that the layer returns.
    layers : str or array-like of str, default=None
        Layer names, as in ``model.named_modules()``. None takes all convolutions and
        linear layers, in their order there.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device.
    memory : str, path-like or joblib.Memory, default=None
        Folder that keeps the gradient norms of each sample; activations are not kept.

    Returns
    -------
    norms : ndarray of float64 of shape (n_samples, n_layers)
        Euclidean norms.
    layers : list of str
        Names of the layers.

    Raises
    ------
    ValueError
        If there is no such layer, or none with a gradient.

    See Also
    --------
    NormProfileDisplay : The norms as a picture.
    skgrad.ConfoundingGradientTransformer : Squared gradient norms as features.

    Notes
    -----
    Cost: one forward pass per batch, of gradients a backward pass as well, of
    activations one forward pass per layer: only one layer's output is in memory.

    The gradient of a layer is that of its parameter ``weight``; of a layer without one,
    such as a recurrent one, that of all its own parameters together.

    References
    ----------
    Lee, Prabhushankar, AlRegib (2022), "Gradient-Based Adversarial and
    Out-of-Distribution Detection", Fig. 3.

    Examples
    --------
    >>> import torch
    >>> from skgrad.inspection import layer_norms
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Linear(4, 3))
    >>> norms, layers = layer_norms(model, [[0.0, 1.0], [2.0, 3.0]])
    >>> norms.shape, layers
    ((2, 2), ['0', '1'])
    """
    X = as_array(X, "X")
    check_not_empty(X, "X", "inputs")
    layers = _find_layers(unwrap_model(model), layers)
    options = {"batch_size": batch_size, "device": device}
    if quantity == "gradients":
        options["memory"] = memory
        return _gradient_norms(model, X, layers, options), layers
    return _activation_norms(model, X, layers, options), layers


def _find_layers(module, layers):
    if layers is None:
        kinds = (_ConvNd, nn.Linear)
        found = [
            name for name, part in module.named_modules() if isinstance(part, kinds)
        ]
        layers = [name for name in found if name]
        if not layers:
            raise ValueError(
                "layers must be given for a model without convolutions and linear "
                f"layers inside, such as this {type(module).__name__}."
            )
    return as_names(layers, "layers")


def _gradient_norms(model, X, layers, options):
    transformer = ConfoundingGradientTransformer(model, **options)
    squared = np.asarray(transformer.fit_transform(X), dtype=np.float64)
    names = transformer.get_feature_names_out().tolist()
    columns = [_own_columns(names, layer) for layer in layers]
    return np.sqrt(np.column_stack([squared[:, own].sum(axis=1) for own in columns]))


def _own_columns(names, layer):
    """Return which columns hold the gradient of a layer."""
    if f"{layer}.weight" in names:
        return [names.index(f"{layer}.weight")]
    own = [i for i, name in enumerate(names) if name.rpartition(".")[0] == layer]
    if not own:
        known = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
        raise ValueError(
            f"layers must name layers with parameters of their own, {listed(known)}; "
            f"got {layer!r}.{did_you_mean(layer, known)}"
        )
    return own


def _activation_norms(model, X, layers, options):
    """Return the norms, layer by layer and batch by batch to save memory."""
    norms = np.empty((len(X), len(layers)))
    step = options["batch_size"]
    for i, layer in enumerate(layers):
        whole = LayerActivationTransformer(model, [layer], pooling="none", **options)
        whole.fit(X[:2])
        for start in range(0, len(X), step):
            part = np.asarray(whole.transform(X[start : start + step]), np.float64)
            norms[start : start + step, i] = np.linalg.norm(part, axis=1)
    return norms


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
        names = [str(layer) for layer in one_per_sample(names, "names").tolist()]
        parts = {"norms": norms, "norms_id": norms_id}
        for part, values in parts.items():
            parts[part] = check_numbers(values, part, n_axes=2)
            shape = parts[part].shape
            if not shape[0] or shape[1:] != (len(names),) or (parts[part] < 0).any():
                raise ValueError(
                    f"{part} must hold norms, 0 or more, a row for each input and one "
                    f"in it for each of the {len(names)} names; got shape {shape}."
                )
        if labels is not None:
            labels = [str(label) for label in one_per_sample(labels, "labels").tolist()]
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
        ax.legend(frameon=False, fontsize="small")
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
        many = len(self.norms) > _FEW
        label = (
            (f"{len(self.norms)} inputs" if several else "the input") if not i else None
        )
        return {
            "color": COLORS["anomaly"],
            "alpha": 0.4 if many else 0.9,
            "label": label,
        }
