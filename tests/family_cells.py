"""What works of skgrad with a family of networks: the cells of the table of a page."""

import pickle
import re
import tempfile
import warnings
from functools import partial
from itertools import combinations, groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from families import FAMILIES, N_SAMPLES
from numpy.testing import assert_array_equal
from torch import nn
from torch.nn import functional as F  # noqa: N812

import skgrad
from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)

# Samples that are compared with a loop in float64, and how near float32 comes to it.
N_LOOPED = 5
TOLERANCE = 1e-4


class Cell(NamedTuple):
    """What stands in the table, and the messages of an error and of warnings."""

    text: str
    messages: tuple[str, ...] = ()

    @property
    def shown(self):
        """The text with a star where there is a warning."""
        return f"{self.text}*" if self.messages and self.text != "no" else self.text


class Row:
    """The cells of a family, each computed when it is asked for the first time."""

    def __init__(self, name):
        self.family = FAMILIES[name]
        self.net, self.floats = self.family.networks()
        self.X = self.family.X
        self.scored = None

    def cells(self):
        """Return all cells by their columns."""
        return {column: _cell(partial(make, self)) for column, make in COLUMNS.items()}

    def norms(self):
        """Compare with autograd, and return how many parameters are looped."""
        transformer = ConfoundingGradientTransformer(self.net).fit(self.X)
        found = np.asarray(transformer.transform(self.X), dtype=np.float64)
        names = [_plain(name) for name in transformer.get_feature_names_out()]
        exact = np.stack([self._exact_norms(names, i) for i in range(N_LOOPED)])
        # What an adapter replaces has a gradient of 0, which shows nothing.
        used = exact.any(axis=0)
        assert used.mean() > 0.9
        # What is small beside the largest of its sample is rounding.
        size = exact + 1e-8 * exact.max(axis=1, keepdims=True)
        routes = np.array(list(transformer.routes_.values()))
        n_slow = np.sum(used & (routes == "autograd"))
        assert (np.abs(found[:N_LOOPED] - exact) / size).max() < TOLERANCE
        return f"{n_slow} of {len(routes)} looped" if n_slow else "yes"

    def _exact_norms(self, names, i):
        parameters = dict(self.floats.named_parameters())
        logits = _logits(self.floats, _sample(self.X, i))
        loss = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        gradients = torch.autograd.grad(
            loss, [parameters[name] for name in names], materialize_grads=True
        )
        return [gradient.square().sum().item() for gradient in gradients]

    def cosines(self):
        """Compare cosines between input gradients with autograd."""
        # Not between signs, which rounding may turn.
        options = {"output": "upper", "sign": False}
        transformer = CosineSimilarityMatrixTransformer(self.net, **options)
        found = np.asarray(transformer.fit_transform(self.X)[:N_LOOPED])
        exact = [_exact_cosines(self.floats, _sample(self.X, i)) for i in range(5)]
        assert np.abs(found - np.stack(exact)).max() < TOLERANCE
        return "yes"

    def layers(self):
        """Return how many default layers there are, and their channel axis."""
        layers = LayerActivationTransformer(self.net).fit(self.X).layers_
        assert layers.pop().name == "logits"
        if not layers:
            return "logits alone"
        parts = [
            f"{len([*group])} (axis {axis})"
            for axis, group in groupby(layers, key=lambda layer: layer.channel_axis)
        ]
        return "; ".join(parts)

    def recipe(self, make):
        """Fit and score with a recipe."""
        detector = make(self.net, target_fpr=0.2, random_state=0).fit(self.X)
        text, scores = _checked(detector.score_samples, self.X)
        self.scored = self.scored or (detector, scores)
        return text

    def confounding(self):
        """Fit and score with paper A's classifier."""
        make = partial(make_confounding_gradient_detector, log=True, random_state=0)
        detector = make(self.net).fit(self.X, np.arange(N_SAMPLES) % 2)
        return _checked(lambda X: detector.predict_proba(X)[:, 1], self.X)[0]

    def saved(self):
        """Write the first detector that works to a file, and load it."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "detector.skgrad")
            skgrad.save(self.scored[0], path)
            return self._same(skgrad.load(path, self.net))

    def pickled(self):
        """Pickle it with its network."""
        return self._same(pickle.loads(pickle.dumps(self.scored[0])))

    def _same(self, loaded):
        assert_array_equal(loaded.score_samples(self.X), self.scored[1])
        return "yes"


COLUMNS = {
    "norms": Row.norms,
    "cosines": Row.cosines,
    "layers": Row.layers,
    "recommended": partial(Row.recipe, make=make_recommended_detector),
    "uniform": partial(Row.recipe, make=partial(make_uniform_detector, layers=None)),
    "geometric": partial(Row.recipe, make=make_geometric_gradient_detector),
    "confounding": Row.confounding,
    "saved": Row.saved,
    "pickled": Row.pickled,
}


def _cell(make):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            text, errors = make(), ()
        except (ValueError, TypeError) as error:
            text, errors = "no", (str(error),)
    said = [str(one.message) for one in caught]
    # Of torch, about its own parts; and of changes that are large for weights drawn at
    # random, which differ from version to version.
    off = ("deprecated", "This change is too large")
    said = [one for one in said if not any(part in one for part in off)]
    return Cell(text, (*errors, *dict.fromkeys(said)))


def _checked(score, X):
    """Return what the table says of scores, and these."""
    scores = score(X)
    assert np.isfinite(scores).all()
    assert np.std(scores) > 1e-3
    apart = np.abs(score(_rows(X, slice(N_LOOPED))) - scores[:N_LOOPED])
    alike = apart.max() < 0.01 * np.std(scores)
    return "yes" if alike else "varies with the batch", scores


def _plain(name):
    # torch.compile puts the network inside of another.
    return name.removeprefix("_orig_mod.")


def _rows(X, rows):
    if isinstance(X, dict):
        return {name: values[rows] for name, values in X.items()}
    return X[rows]


def _sample(X, i):
    """Return one sample as tensors of float64 and integers, by name if it has names."""
    X = X if isinstance(X, dict) else {"": X}
    tensors = {name: torch.from_numpy(v[i : i + 1]) for name, v in X.items()}
    return {n: t.double() if t.is_floating_point() else t for n, t in tensors.items()}


def _logits(net, x):
    output = net(x[""]) if "" in x else net(**x)
    return getattr(output, "logits", output)


def _exact_cosines(net, x):
    """Return cosines between the gradients of the losses towards each class."""
    leaves = [tensor for tensor in x.values() if tensor.is_floating_point()]
    leaves = [leaf.requires_grad_() for leaf in leaves]

    def put_leaf(layer, inputs, output):
        if leaves:
            return None
        leaves.append(output.detach().requires_grad_())
        return leaves[0]

    embeddings = [m for m in net.modules() if isinstance(m, nn.Embedding)]
    hooks = [layer.register_forward_hook(put_leaf) for layer in embeddings]
    losses = -_logits(net, x)[0].log_softmax(dim=0)
    for hook in hooks:
        hook.remove()
    rows = [torch.autograd.grad(loss, leaves, retain_graph=True) for loss in losses]
    units = [F.normalize(row[0].flatten(), dim=0) for row in rows]
    return [(one @ other).item() for one, other in combinations(units, 2)]


# The tables of the page

TITLES = {
    "norms": "gradient norms",
    "cosines": "cosines",
    "layers": "layers",
    "recommended": "recommended",
    "uniform": "uniform (C)",
    "geometric": "geometric (B)",
    "confounding": "confounding (A)",
    "saved": "save, load",
    "pickled": "pickle",
}


# Where the columns after these are all "yes", a network stands in the short table.
SHORT = ("norms", "layers")


def markdown(rows):
    """Return the short table of cells by family and column, and the whole one."""
    short, rest = {}, {}
    for name, cells in rows.items():
        works = {cell.shown for column, cell in cells.items() if column not in SHORT}
        (short if works == {"yes"} else rest)[name] = cells
    return f"{_table(short, SHORT)}\n\n{_table(rest, TITLES)}"


def _table(rows, columns):
    """Return a table with one row for all networks of the same cells."""
    networks = {}
    for name, cells in rows.items():
        texts = tuple(cells[column].shown for column in columns)
        networks.setdefault(texts, []).append(name)
    heads = " | ".join(TITLES[column] for column in columns)
    lines = [f"| networks | {heads} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {'; '.join(n)} | {' | '.join(t)} |" for t, n in networks.items()]
    return "\n".join(lines)


def read_markdown(page):
    """Return the cells of a page, by family and column."""
    rows = {}
    for line in re.findall(r"^\| (.*) \|$", page, re.M):
        names, *texts = line.split(" | ")
        for name in FAMILIES.keys() & names.split("; "):
            columns = SHORT if len(texts) == len(SHORT) else TITLES
            read = zip(columns, map(_read_cell, texts), strict=True)
            rows[name] = dict.fromkeys(TITLES, Cell("yes")) | dict(read)
    return {name: rows[name] for name in FAMILIES if name in rows}


def _read_cell(text):
    return Cell(text.rstrip("*"), ("a warning",) if text.endswith("*") else ())
