"""
The page of paper_c.py
======================

Tables of our figures beside the paper's, and Figure 7.
"""

import numpy as np
import pandas as pd
from experiment_pages import (
    FEW,
    RECOMMENDED,
    as_markdown,
    describe,
    mean_and_spread,
    with_published,
)
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from published_results import load_published_results

from skgrad.evaluation import Evaluation
from skgrad.inspection import LayerWeightDisplay

METRICS = {
    "class_weighted_tnr_at_95tpr": "TNR at 95 % TPR, weighted by class as the paper's",
    "class_weighted_auroc": "AUROC, weighted by class as the paper's",
    "tnr_at_95tpr": "TNR at 95 % TPR, over all inputs",
    "auroc": "AUROC, over all inputs",
}
ATTACKS = ("FGSM", "BIM-a", "BIM-b", "JSMA", "C&W")
NOISE = ("Gaussian noise", "uniform noise", "fooling images")
# Tables of plain networks, of those after outlier exposure, and what is in them.
TABLES = {
    ("Table 2", "Table 5"): "out-of-distribution data",
    ("Table 3", "Table 6"): "attacks",
    ("Table 4", "Table 7"): "noise and fooling images",
}
NOTES = f"""
How to read it: every cell is our mean over the seeds, in percent, ± their standard
deviation, and in brackets the paper's figure, where it has one. {FEW} The networks and
the numbers of inputs are not the paper's (it has 10,000 of most kinds), and CIFAR-10
(JPEG) is CIFAR-10 with every image encoded as JPEG, all beside figures of CIFAR-10;
"mean" is that of what was run here. No parameter was searched. Detectors are fitted on
inputs that the network was trained on, as the paper fits them. KD+BU and LID learn from
FGSM on such inputs; a network without dropout, as a ResNet, has no uncertainty, and
KD+BU is the density alone. ODIN and Mahalanobis take no step before, which is Table 8.
Mahalanobis sees the logits, ELO the most discriminative layer. A quarter of one set of
other data chose that layer, and is not judged; the rest of that set is, and to ELO and
C, though not to the others, it is no unknown kind. Of attacks only those inputs count
that deceive the network. "C, authors' normalisation (leaks)" scales the scores over the
test set with its anomalies in it, as the authors' code does: no detector in use can do
that, and the column shows what the leak is worth. {RECOMMENDED}
""".strip().replace("\n", " ")
EXPOSURE = """
Fine-tuned for two passes over the inputs that the detectors are fitted on, with twice
as many images of TinyImageNet's training part (in grey for MNIST; embedded digits with
shuffled pixels where there are no data). The paper takes 50,000, and letters of E-MNIST
for MNIST. The slow attacks JSMA and C&W are left out. Both make TinyImageNet, of which
other images are judged, no unknown kind of anomaly any more. The accuracies of these
networks are of the in-distribution test inputs, those of the others of all test images.
""".strip().replace("\n", " ")
MISSING = {
    "VGG-16": "no such network was trained here",
    "SVHN": "the data are not here",
    "LSUN": "the data are not here",
    "iSUN": "the data are not here",
    "JSMA": "slow, left out",
    "C&W": "slow, left out",
}

# %%
# Tables
# ------


def without_intervals(results):
    """Return an evaluation without bootstrap intervals, which no table here shows."""
    return Evaluation(results)


def together(parts):
    """Return one evaluation of all seeds."""
    return without_intervals(r for part in parts for r in part.results)


def place(setting):
    """Return the network and the data in the paper's words."""
    network = setting.network.split(",")[0].removesuffix("-20")
    return network, setting.name.removesuffix(" (JPEG)")


def published(table, setting, metric):
    """Return the paper's figures of a table, methods by our names."""
    rows = load_published_results("C")
    network, data = place(setting)
    rows = rows[
        (rows["table"] == table)
        & (rows["model"] == network)
        & (rows["in_distribution"] == data)
        & (rows["metric"] == metric.removeprefix("class_weighted_"))
    ]
    methods = rows["method"].str.removesuffix(", outlier exposure")
    return rows.assign(method=methods)


def show(parts, table, setting, kinds=None):
    """Return a table per metric, the paper's figures in brackets."""
    results = together(parts).results
    part = without_intervals(r for r in results if kinds is None or r.anomaly in kinds)
    blocks = [f"### {setting.name}, {setting.network}"]
    for metric, title in METRICS.items():
        cells = mean_and_spread(part, metric)
        cells = with_published(cells, published(table, setting, metric))
        # What only the paper has stands below, with the mean of what was run last.
        rows = [*(kind for kind in cells.index if kind != "mean"), "mean"]
        blocks.append(f"{title}:\n\n{as_markdown(cells.loc[rows])}")
    return "\n\n".join(blocks)


def show_layers(runs):
    """Return the detection error of each layer, a column per seed."""
    first = runs[0].setting
    errors = pd.DataFrame(
        {f"seed {run.seed}": pd.Series(run.choice.errors_) for run in runs}
    )
    chosen = ", ".join(f"{run.choice.layer_} (seed {run.seed})" for run in runs)
    return (
        f"### {first.name}, {first.network}\n\nChosen by {runs[0].mixed}: {chosen}. "
        f"Detection errors, percent:\n\n{as_markdown(errors)}"
    )


def show_attacks(runs):
    """Return how many anomalies there are, rates of success and seconds."""
    rows = {}
    for kind in runs[0].anomalies:
        found = [run.anomalies[kind] for run in runs]
        rates = [getattr(f, "success_rate", np.nan) for f in found]
        seconds = [getattr(f, "seconds", np.nan) for f in found]
        rows[kind] = {
            "anomalies": f"{np.mean([len(getattr(f, 'X', f)) for f in found]):.0f}",
            "success, %": text(100 * pd.Series(rates).mean()),
            "seconds": text(pd.Series(seconds).mean()),
        }
    setting = runs[0].setting
    table = as_markdown(pd.DataFrame(rows).T)
    return f"### {setting.name}, {setting.network}\n\n{table}"


def text(value):
    """Write a number, a dash if there is none."""
    return "-" if np.isnan(value) else f"{value:.1f}"


def show_false_alarms(groups):
    """Return the share of in-distribution test inputs that are rejected."""
    rows = {
        f"{runs[0].setting.name}, {runs[0].setting.network}": mean_and_spread(
            together(run.main for run in runs), "realised_fpr"
        ).loc["mean"]
        for runs in groups
    }
    return as_markdown(pd.DataFrame(rows).T)


# %%
# What is not here
# ----------------


def list_missing(plain, exposed):
    """Return the paper's cells that were not run, as a list."""
    ran = set()
    for number, groups in enumerate((plain, exposed)):
        for runs in groups:
            kinds = runs[0].main.anomalies
            for tables in TABLES:
                ran |= {(tables[number], *place(runs[0].setting), k) for k in kinds}
    for runs in plain:
        for table, part in (("Table 8", "preprocessing"), ("Table 9", "attack_known")):
            judged = getattr(runs[0], part)
            kinds = [] if judged is None else judged.anomalies
            ran |= {(table, *place(runs[0].setting), kind) for kind in kinds}
    here = {place(runs[0].setting) for runs in plain}
    columns = ["table", "model", "in_distribution", "anomaly"]
    cells = load_published_results("C")[columns].drop_duplicates()
    lines = {}
    for table, network, data, kind in cells.itertuples(index=False):
        if (table, network, data, kind) not in ran:
            lines.setdefault((table, network, data), []).append(kind)
    missing = [
        f"- {table}, {network} ({data}): {', '.join(kinds)}; "
        f"{reason(network, data, kinds, here)}."
        for (table, network, data), kinds in lines.items()
    ]
    return "\n".join([*missing, "- Figures 2 to 6, 8 and 9: illustrations."])


def reason(network, data, kinds, here):
    """Say why cells of the paper are not here."""
    for word in (network, data):
        if word in MISSING:
            return MISSING[word]
    if (network, data) not in here:
        return "not in this run"
    found = (MISSING.get(kind, "not in this run") for kind in kinds)
    return ", ".join(dict.fromkeys(found))


# %%
# Figure 7
# --------


def draw_weights(plain, path):
    """Draw the AUROC against the weight of the logits, a panel per network."""
    figure = Figure(figsize=(5.2 * len(plain), 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(plain), squeeze=False)[0]
    # Other data solid, attacks dashed, noise dotted.
    styles = {kind: {"ls": "--"} for kind in ATTACKS}
    styles |= {kind: {"ls": ":"} for kind in NOISE}
    for ax, runs in zip(axes, plain, strict=True):
        curves = [pd.DataFrame(run.curves) for run in runs]
        mean = pd.concat(curves).groupby(level=0).mean()
        display = LayerWeightDisplay(
            weights=mean.index.to_numpy(),
            curves={kind: mean[kind].to_numpy() for kind in mean},
            blocks=["the layer", "the logits"],
            block="the logits",
            metric="AUROC, weighted by class",
        )
        title = f"{runs[0].setting.name}, {runs[0].setting.network}"
        display.plot(ax).ax_.set_title(title)
        for line in [*ax.lines, *ax.get_legend().get_lines()]:
            line.set(**styles.get(line.get_label(), {}))
    figure.savefig(path, dpi=110)


NOT_THIS_NETWORK = (
    "The paper has this table for CIFAR-10; it was not run with this network."
)

# %%
# The sections of the page
# ------------------------


def make_sections(plain, exposed, figure):
    """Return headings and texts, from lists of runs per network."""
    settings = [run.setting for runs in (*plain, *exposed) for run in runs]
    sizes = dict.fromkeys(str(len(setting.seen[0])) for setting in settings)
    fitted = f"Detectors are fitted on {' or '.join(sizes)} inputs."
    layers = "\n\n".join(map(show_layers, (*plain, *exposed)))
    sections = [
        ("Networks", f"{describe(settings)}\n\n{fitted}\n\n{NOTES}"),
        ("Most discriminative layer", layers),
    ]
    for number, groups in enumerate((plain, exposed)):
        for tables, what in TABLES.items():
            texts = [EXPOSURE] if number and what == next(iter(TABLES.values())) else []
            for runs in groups:
                kinds = kinds_of(what, runs[0])
                main = [run.main for run in runs]
                texts.append(show(main, tables[number], runs[0].setting, kinds))
            after = " after outlier exposure" if number else ""
            heading = f"{tables[number]}: {what}{after}"
            sections.append((heading, "\n\n".join(texts)))
    more = [runs for runs in plain if runs[0].preprocessing is not None]
    for table, part, what in (
        ("Table 8", "preprocessing", "ODIN and Mahalanobis with a step before"),
        ("Table 9", "attack_known", "KD+BU and LID that know the attack"),
    ):
        texts = [
            show([getattr(run, part) for run in runs], table, runs[0].setting)
            for runs in more
        ]
        text = "\n\n".join(texts) or NOT_THIS_NETWORK
        sections.append((f"{table}: {what}", text))
    attacks = "\n\n".join(map(show_attacks, (*plain, *exposed)))
    return [
        *sections,
        ("Figure 7: weights of the two layers", f"![AUROC against weight]({figure})"),
        ("Anomalies", attacks),
        ("False alarms", show_false_alarms([*plain, *exposed])),
        ("Not run here", list_missing(plain, exposed)),
    ]


def kinds_of(what, run):
    """Return the kinds of anomaly in a table."""
    if what == "attacks":
        return ATTACKS
    return NOISE if what.startswith("noise") else list(run.setting.others)
