"""How large the gradients or activations of inputs are, layer by layer."""

import numpy as np
from torch import nn

from .._compat import CONVOLUTIONS, StrOptions, validate_params
from .._messages import did_you_mean, listed
from .._validation import check_not_empty
from ..feature_extraction import (
    ConfoundingGradientTransformer,
    LayerActivationTransformer,
)
from ..torch_engine.activations import as_names
from ..torch_engine.model_state import unwrap_model
from ..torch_engine.samples import read_inputs

# The layers that are measured by default.
_KINDS = (*CONVOLUTIONS, nn.Linear)


@validate_params(
    {"quantity": [StrOptions({"gradients", "activations"})]},
    prefer_skip_nested_validation=False,
)
def layer_norms(
    model, X, *, quantity="gradients", layers=None, batch_size=128, device=None
):
    """Measure the gradients or the activations of each layer by their norms.

    Paper A compares the two as features: for an input that is unlike the training data,
    the gradients under a confounding label are large.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The inputs.
    quantity : {"gradients", "activations"}, default="gradients"
        The gradient of the confounding-label loss with respect to the weight of each
        layer, or all that the layer returns.
    layers : str or array-like of str, default=None
        Layer names; None takes all convolutions and linear layers.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device. Another one works on a private
        copy.

    Returns
    -------
    norms : ndarray of float64 of shape (n_samples, n_layers)
        Euclidean norms, in units of the loss per unit of weight, or of the layer's
        output.
    layers : list of str
        Names of the layers.

    Notes
    -----
    The gradient of a layer is that of its parameter ``weight``; of a layer without one,
    such as a recurrent one, that of all its own parameters together. Cost: a forward
    and a backward pass, for activations a forward pass per layer.

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
    X = read_inputs(X, "X")
    check_not_empty(X, "X", "inputs")
    layers = _find_layers(unwrap_model(model), layers, quantity)
    norms = _gradient_norms if quantity == "gradients" else _activation_norms
    return norms(model, X, layers, {"batch_size": batch_size, "device": device}), layers


def _find_layers(module, layers, quantity):
    if layers is not None:
        return as_names(layers)
    named = [(name, part) for name, part in module.named_modules() if name]
    # Attention reads the weight of its last layer without calling it, so that layer
    # has a gradient and no activations.
    uncalled = {
        f"{name}.out_proj"
        for name, part in named
        if isinstance(part, nn.MultiheadAttention) and quantity == "activations"
    }
    layers = [
        name
        for name, part in named
        if isinstance(part, _KINDS) and name not in uncalled
    ]
    if not layers:
        raise ValueError(
            "layers must be given for a model without convolutions and linear "
            f"layers inside, such as this {type(module).__name__}. A layer that "
            "is a model by itself is wrapped: torch.nn.Sequential(layer)."
        )
    return layers


def _gradient_norms(model, X, layers, options):
    transformer = ConfoundingGradientTransformer(model, **options)
    squared = np.asarray(transformer.fit_transform(X), dtype=np.float64)
    names = transformer.get_feature_names_out().tolist()
    columns = [_own_columns(names, layer) for layer in layers]
    # Squared norms of the parameters of a layer add up to that of all of them.
    return np.sqrt(np.column_stack([squared[:, own].sum(axis=1) for own in columns]))


def _own_columns(names, layer):
    """Return the columns that hold the gradient of a layer."""
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
