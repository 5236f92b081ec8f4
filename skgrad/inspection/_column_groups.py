"""Which columns of a feature matrix are explained together, and how they are called."""

import re

import numpy as np

from .._messages import brief
from .._validation import to_array
from ..torch_engine.activations import LOGITS

# A column of CosineSimilarityMatrixTransformer, and one of each class's gradients.
_COSINE = re.compile(r"\Acosine_(top_)?(\d+)_(\d+)\Z")
_EACH_CLASS = re.compile(r"_class_\d+\Z")
_NUMBERED = re.compile(r"\A(.+)_\d+\Z", re.DOTALL)


def group_columns(names, n_columns, groups):
    """Tell which columns form a group.

    Parameters
    ----------
    names : list of str or None
        Column names, if known.
    n_columns : int
        Number of columns.
    groups : {"layer", "feature"} or array-like of str of shape (n_columns,)
        How to group them, or the group of each.

    Returns
    -------
    labels : list of str
        Names of the groups, in the order of their first columns.
    owners : ndarray of int of shape (n_columns,)
        Which group each column belongs to.
    """
    if isinstance(groups, str):
        of_columns = _by_rule(names, n_columns, groups)
    else:
        of_columns = to_array(groups, "groups")
        if of_columns.shape != (n_columns,):
            raise ValueError(
                "groups must hold one name for each of the "
                f"{n_columns} columns, or be 'layer', 'feature' or 'part'; got shape "
                f"{of_columns.shape}."
            )
        of_columns = [str(group) for group in of_columns.tolist()]
    labels = list(dict.fromkeys(of_columns))
    places = {label: i for i, label in enumerate(labels)}
    return labels, np.array([places[group] for group in of_columns])


def _by_rule(names, n_columns, rule):
    if rule not in ("layer", "feature"):
        raise ValueError(
            "groups must be 'layer', 'feature', 'part' or one name for each of the "
            f"{n_columns} columns; got {brief(rule)}."
        )
    if names is None:
        return [f"column {i}" for i in range(n_columns)]
    names = [str(name) for name in names]
    if rule == "feature":
        return names
    found = [_layer_of(name) for name in names]
    # Of two networks side by side the logits are two things.
    sources = {prefix for prefix, layer in found if layer == LOGITS}
    return [
        layer
        if not prefix or (layer == LOGITS and len(sources) == 1)
        else f"{prefix}: {layer}"
        for prefix, layer in found
    ]


def _layer_of(name):
    """Split a column's name into the step it comes from and what it tells about."""
    prefix, _, column = name.rpartition("__")
    if cosine := _COSINE.match(column):
        top, *pair = cosine.groups()
        low, high = sorted(map(int, pair))  # the matrix has every pair twice
        return prefix, f"{'ranks' if top else 'classes'} {low} and {high}"
    column = _EACH_CLASS.sub("", column)
    if numbered := _NUMBERED.match(column):
        return prefix, numbered[1]
    # A parameter bears the name of its layer; one of the model itself has none.
    layer, _, _ = column.rpartition(".")
    return prefix, layer or column
