"""
Figure 3 of paper A: norms of gradients against norms of activations
====================================================================

Whether the gradients of a layer tell anomalies from clean inputs better than what the
layer returns, by one number each: its Euclidean norm. For ``paper_a.py``.
"""

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import nn

from skgrad.inspection import layer_norms
from skgrad.metrics import auroc

CLEAN = "clean"
# What is measured, and what the display calls it.
SOURCES = {"gradient": "gradients", "activation": "activations"}


# %%
# Measuring
# ---------


def list_layers(model):
    """Name one convolution per residual block, or all where there are no blocks."""
    names = [
        name for name, part in model.named_modules() if isinstance(part, nn.Conv2d)
    ]
    return [name for name in names if name.endswith(".conv1")] or names


def compare_norms(setting, anomalies, attacks, seed, args):
    """Return the norms of clean inputs and of attacked ones, a row for each."""
    layers = list_layers(setting.model)
    groups = {CLEAN: setting.test[0]}
    groups |= {kind: anomalies[kind].X for kind in attacks if kind in anomalies}
    rows = []
    for kind, X in groups.items():
        X = X[: args.n_norms]
        measured = {
            source: layer_norms(setting.model, X, quantity=name, layers=layers)[0]
            for source, name in SOURCES.items()
        }
        for i, layer in enumerate(layers):
            for source, norms in measured.items():
                labels = {"layer": layer, "kind": kind, "source": source, "seed": seed}
                rows.append(pd.DataFrame({**labels, "norm": norms[:, i]}))
    return pd.concat(rows, ignore_index=True)


# %%
# Judging
# -------


def tabulate_norms(norms):
    """Return the AUROC of each norm alone, as text, and what that says."""
    # Not every attack succeeds under every seed.
    keys = ["layer", "source", "seed"]
    groups = norms.groupby(keys, sort=False)
    areas = pd.DataFrame({key: _areas(rows) for key, rows in groups}).T
    areas = areas.rename_axis(keys)
    means = areas.groupby(["layer", "source"], sort=False).mean()
    parts = (means.xs(source, level="source") for source in SOURCES)
    gradient, activation = ((100 * part).round(1).astype(str) for part in parts)
    frame = (gradient + " / " + activation).rename_axis("layer")
    # A norm that is smaller for anomalies tells as much as one that is larger.
    told = (0.5 + (areas - 0.5).abs()).groupby("source").mean().mean(axis=1)
    better = ((means - 0.5).abs()).unstack("source")
    wins = sum(
        int((better[kind]["gradient"] > better[kind]["activation"]).sum())
        for kind in means
    )
    return frame, (
        "Whichever the direction, gradients reach "
        f"{100 * told['gradient']:.1f} on average over layers and attacks, activations "
        f"{100 * told['activation']:.1f}; gradients are the better ones in {wins} of "
        f"{means.size // 2} cells. The paper says that gradients separate better."
    )


def _areas(rows):
    """Return the AUROC for each attack, a larger norm being more anomalous."""
    clean = rows.loc[rows["kind"] == CLEAN, "norm"]
    areas = {}
    for kind in rows["kind"].unique()[1:]:
        others = rows.loc[rows["kind"] == kind, "norm"]
        labels = np.repeat([1, -1], [len(clean), len(others)])
        areas[kind] = auroc(labels, -np.concatenate([clean, others]))
    return pd.Series(areas)


# %%
# Drawing
# -------


def draw_norms(norms, path):
    """Draw the first seed's norms as boxes: a panel for each source."""
    norms = norms[norms["seed"] == norms["seed"].iloc[0]]
    layers, kinds = norms["layer"].unique(), norms["kind"].unique()
    width = max(6, 0.14 * len(layers) * (len(kinds) + 1) + 1.5)
    figure = Figure(figsize=(width, 6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 1, sharex=True)
    for panel, source in zip(panels, SOURCES, strict=True):
        of_source = norms[norms["source"] == source]
        for i, kind in enumerate(kinds):
            _draw_boxes(panel, of_source[of_source["kind"] == kind], layers, i, kinds)
        panel.set_yscale("log")
        panel.set_ylabel(f"norm of the {source}")
        panel.set_xlim(-0.5, len(layers) - 0.5)
    panels[1].set_xticks(range(len(layers)), layers)
    handles, labels = panels[0].get_legend_handles_labels()
    # A figure of few layers is narrow.
    n_columns = max(int(width / 1.5), 1)
    figure.legend(
        handles, labels, loc="outside upper center", ncols=n_columns, frameon=False
    )
    figure.savefig(path, dpi=100)


def _draw_boxes(panel, norms, layers, i, kinds):
    """Draw the boxes of one kind, a little beside those of the others."""
    by_layer = [norms.loc[norms["layer"] == layer, "norm"] for layer in layers]
    step = 0.85 / len(kinds)
    color = f"C{i - 1}" if i else "black"
    panel.boxplot(
        by_layer,
        positions=np.arange(len(layers)) + step * (i - (len(kinds) - 1) / 2),
        widths=0.75 * step,
        whis=(5, 95),  # codespell:ignore whis
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": color, "edgecolor": color, "alpha": 0.6},
        whiskerprops={"color": color},
        capprops={"color": color},
        medianprops={"color": "white" if i == 0 else "black"},
    )
    panel.plot([], [], "s", color=color, label=kinds[i])
