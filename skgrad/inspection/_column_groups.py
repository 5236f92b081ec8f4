"""The columns of a feature matrix that are explained together, and their names."""

import re

import numpy as np

from .._labels import to_array
from .._messages import brief
from ..torch_engine.activations import LOGITS

# A column of CosineSimilarityMatrixTransformer, and one of each class's gradients.
_COSINE = re.compile(r"\Acosine_(top_)?(\d+)_(\d+)\Z")
_EACH_CLASS = re.compile(r"_class_\d+\Z")
_NUMBERED = re.compile(r"\A(.+)_\d+\Z", re.DOTALL)


def group_columns(names, n_columns, groups):
    """Assign columns to groups by a rule, "layer" or "feature", or by given names.

    Returns the labels of the groups, in the order of their first columns, and the group
    of each column as an index of the labels.
    """
    if not isinstance(groups, str):
        array = to_array(groups, "groups")
        of_columns = array.tolist() if array.shape == (n_columns,) else None
    elif groups in ("layer", "feature"):
        of_columns = _by_rule(names, n_columns, groups)
    else:
        of_columns = None
    if of_columns is None:
        raise ValueError(
            "groups must be 'layer', 'feature', 'part' or one name for each of the "
            f"{n_columns} columns; got {brief(groups)}."
        )
    of_columns = [str(group) for group in of_columns]
    labels = list(dict.fromkeys(of_columns))
    places = {label: i for i, label in enumerate(labels)}
    return labels, np.array([places[group] for group in of_columns])


def _by_rule(names, n_columns, rule):
    if names is None:
        return [f"column {i}" for i in range(n_columns)]
    names = [str(name) for name in names]
    if rule == "feature":
        return names
    found = [_layer_of(name) for name in names]
    # All transformers of one network return the same logits, so these are one group;
    # the logits of two networks side by side are two.
    sources = {prefix for prefix, layer in found if layer == LOGITS}
    return [
        layer
        if not prefix or (layer == LOGITS and len(sources) == 1)
        else f"{prefix}: {layer}"
        for prefix, layer in found
    ]


def _layer_of(name):
    """Split a column name into the prefix of its step and the layer."""
    prefix, _, column = name.rpartition("__")
    if cosine := _COSINE.match(column):
        top, *pair = cosine.groups()
        low, high = sorted(map(int, pair))  # a whole matrix has every pair twice
        return prefix, f"{'ranks' if top else 'classes'} {low} and {high}"
    column = _EACH_CLASS.sub("", column)
    if numbered := _NUMBERED.match(column):
        return prefix, numbered[1]
    # A parameter bears the name of its layer; one of the model itself has none.
    layer, _, _ = column.rpartition(".")
    return prefix, layer or column
