"""Find the columns of each layer in a feature matrix, and those of the logits.

A feature matrix consists of blocks of columns, one per layer.

- If columns have names, neighbours that share all but a last ``_<number>`` are a block,
  and the block ``logits`` holds the logits. The transformers name their output so, as
  FeatureArray or data frame; FeatureUnion may add its prefix ``<name>__``.
  The log-odds of the family Stability are found by their names too.
- If they have none, ``blocks`` gives the widths of the blocks in order, one of them
  -1 for the rest, and the last block holds the logits.
"""

import re
from itertools import groupby
from numbers import Integral

import numpy as np

from .._messages import brief, listed
from ..torch_engine.activations import LOGITS
from ..torch_engine.stability import LOG_ODDS, UNCHANGED


def find_blocks(n_columns, names, blocks):
    """Return a list of slices, one per block, and which of them holds the logits."""
    if blocks is not None:
        widths = _widths(n_columns, blocks)
        logits = len(widths) - 1
    elif names is not None:
        runs = [(key[1], len(list(run))) for key, run in groupby(_block_labels(names))]
        widths = [width for _, width in runs]
        found = [i for i, (layer, _) in enumerate(runs) if layer == LOGITS]
        if len(found) != 1:
            raise ValueError(
                "X must have one block of columns logits_0, logits_1, ...; it has "
                f"{len(found)} among {names[:3]} ... {names[-3:]}. Give "
                "LayerActivationTransformer the layer 'logits' once, or set blocks."
            )
        logits = found[0]
    else:
        raise ValueError(
            "blocks must be given when X has no column names, such as blocks=[-1, 10] "
            "for 10 logits after other columns, on the outermost detector. The output "
            "of LayerActivationTransformer has names; scalers in between remove them."
        )
    if widths[logits] < 2:
        raise ValueError(  # scikit-learn's checks look for n_features
            f"X must hold 2 or more logits; got {widths[logits]} among its columns "
            f"(n_features={n_columns})."
        )
    ends = np.cumsum(widths)
    slices = [slice(int(e - w), int(e)) for w, e in zip(widths, ends, strict=True)]
    return slices, logits


def block_names(blocks, logits, names):
    """Return one name per block: its layer, or its number if that is not known."""
    shown = [f"block {number}" for number in range(len(blocks))]
    shown[logits] = LOGITS
    if names is not None:
        labels = _block_labels(names)
        for place, block in enumerate(blocks):
            own = set(labels[block])
            # Widths that were given may hold the columns of several layers.
            if len(own) == 1:
                prefix, layer, _ = own.pop()
                shown[place] = f"{prefix}__{layer}" if prefix else layer
    # A number tells apart blocks of one name, such as those of two models.
    return [
        f"{name} ({again + 1})" if (again := shown[:place].count(name)) else name
        for place, name in enumerate(shown)
    ]


def has_block(names, layer):
    """Return True if some columns are named as a block of this layer."""
    return any(label[1] == layer for label in _block_labels(names))


def blocks_of_layers(blocks, names):
    """Return which blocks are of layers: all but the log-odds of `Stability`."""
    left_out = set(() if names is None else log_odds_columns(names))
    return [
        place
        for place, block in enumerate(blocks)
        if not left_out.issuperset(range(block.start, block.stop))
    ]


def log_odds_columns(names):
    """Return the columns of the family `Stability`, that of unchanged inputs first.

    They are of no layer. Empty if there are none; raises ValueError if there are those
    of several families.
    """
    split = [str(name).rpartition("__") for name in names]
    found = [prefix for prefix, _, name in split if name == LOG_ODDS + UNCHANGED]
    if len(found) > 1:
        raise ValueError(
            f"X must have one column {LOG_ODDS}{UNCHANGED}; it has {len(found)}, of "
            f"{listed(found)}. Give one family Stability all changes."
        )
    own = [
        place
        for place, (prefix, _, name) in enumerate(split)
        if prefix in found and name.startswith(LOG_ODDS)
    ]
    return sorted(own, key=lambda place: split[place][2] != LOG_ODDS + UNCHANGED)


def _block_labels(names):
    """Label each column with its block: prefix, layer, and a running number."""
    labels, last, number = [], None, 0
    for name in map(str, names):
        prefix, _, column = name.rpartition("__")
        layer, index = re.findall(r"\A(.*?)(?:_(\d+))?\Z", column, re.DOTALL)[0]
        # An index that falls begins another block of the same name, such as the logits
        # of a second model.
        if last is not None and index and last[1]:
            number += last[0] == (prefix, layer) and int(index) <= int(last[1])
        labels.append((prefix, layer, number))
        last = (prefix, layer), index
    return labels


def _widths(n_columns, blocks):
    """Turn the parameter ``blocks`` into widths that add up."""
    widths = list(blocks)
    valid = all(isinstance(w, Integral) and (int(w) >= 1 or w == -1) for w in widths)
    if valid and widths.count(-1) == 1:
        widths[widths.index(-1)] = n_columns - sum(w for w in widths if w != -1)
    if not widths or not valid or min(widths) < 0 or sum(widths) != n_columns:
        raise ValueError(
            "blocks must be None or positive block widths, logits last, one of them "
            "possibly -1 for the rest, that add up to the number of columns of X "
            f"(n_features={n_columns}); got {brief(blocks)}."
        )
    # A rest without columns is dropped, but not if it is the last: missing logits have
    # to be reported.
    return [width for width in widths[:-1] if width] + widths[-1:]
