"""
Results of the experiments as pages of Markdown
===============================================

What the scripts that redo the papers' experiments share, beside ``experiments.py``.
"""

import os
import platform
from datetime import date
from pathlib import Path

import numpy as np
import sklearn
import torch
from matplotlib.figure import Figure

from skgrad.evaluation import Evaluation
from skgrad.inspection import DetectorHeatMapDisplay

# %%
# What every page says
# --------------------

# Fewer anomalies than these tell little, and would weigh as much as hundreds of others.
FEWEST_TO_COUNT = 20
FEW = (
    f"Kinds with fewer than {FEWEST_TO_COUNT} judged anomalies, all seeds together, or "
    "with none under one of the seeds, stand in square brackets and are left out of "
    "every mean."
)
RECOMMENDED = """\
*recommended* is this library's detector. What it is made of was chosen by
`benchmarks/recommended.py` on inputs that are not judged here, but of the same data:
training images of MNIST with networks for six digits; test images 800 to 999 of each
class of CIFAR-10 (JPEG), which are never judged, with TinyImageNet's training part;
ECG5000; training and validation queries of CLINC150; spoken digits of other speakers,
those who are unseen on the page of sound. Noise, PGD, rotated and misclassified inputs
were among the anomalies. Of ECG5000 there are so few series that those that are judged
chose it too: its figures there are no honest test."""


# The seeds' ResNets are no independent ones, as those of MNIST and ECG5000 are.
ABOUT_CIFAR = """\
CIFAR-10 (JPEG) is CIFAR-10, every image encoded as JPEG. Of its test images those
numbered 0 to 799 of each class are judged and counted in the accuracy. The ResNet-20 of
several seeds are fine-tunings, of one epoch each, of one public network; ResNet-56 and
ResNet-18 are one network each, and seeds draw the images alone. Networks that are
trained again would differ more than the deviations here tell."""
ABOUT_OTHERS = """\
Images of other data are resized to the network's inputs, made grey or their grey
repeated; Omniglot is inverted, so that strokes are bright."""


def describe(settings):
    """Return the networks, seed by seed, and their data as Markdown."""
    lines = [
        f"- {s.name}, {s.network}: {s.accuracy:.2%} accuracy; fitted on "
        f"{len(s.fresh[0])}; {len(s.test[0])} in-distribution test inputs; attacked "
        f"{len(s.attacked[0])}."
        for s in settings
    ]
    about = [settings[0].about or ABOUT_OTHERS]
    if any(s.name == "CIFAR-10 (JPEG)" for s in settings):
        about.insert(0, ABOUT_CIFAR)
    return "\n\n".join(["\n".join(lines), *about])


def as_markdown(frame, *, percent=True, digits=1):
    """Return a data frame as a table of Markdown; missing cells are dashes."""

    def cell(value):
        if not isinstance(value, (float, np.floating)):
            return str(value)
        if np.isnan(value):
            return "-"
        return f"{100 * value if percent else value:.{digits}f}"

    heads = [str(frame.index.name or ""), *map(str, frame.columns)]
    lines = [heads, ["---"] + ["--:"] * len(frame.columns)]
    lines += [
        [str(index), *map(cell, row)]
        for index, row in zip(frame.index, frame.to_numpy(), strict=True)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def few_kinds(evaluation):
    """Return the kinds of anomaly that are too few to stand in a mean: see FEW."""
    figures = evaluation.figures
    counts = figures.groupby(["anomaly", "detector", "seed"])["n_anomalies"].sum()
    # A detector that learns from anomalies may have had none to learn from.
    by_seed = counts.groupby(["anomaly", "seed"]).max().unstack("seed").fillna(0)
    few = (by_seed.sum(axis=1) < FEWEST_TO_COUNT) | (by_seed == 0).any(axis=1)
    return set(few.index[few])


def without_few(evaluation):
    """Return an evaluation without those kinds; all of them if no other is left."""
    few = few_kinds(evaluation)
    return Evaluation(
        [r for r in evaluation.results if r.anomaly not in few] or evaluation.results
    )


def mean_and_spread(evaluation, metric="auroc"):
    """Return text cells: the mean over seeds in percent, and their deviation.

    Of kinds that are too few the cells are in brackets, and the last row leaves them
    out.
    """
    mean, spread = (evaluation.summary(metric, spread=s) for s in (False, True))
    counted = without_few(evaluation)
    for frame, of_spread in ((mean, False), (spread, True)):
        frame.loc["mean"] = counted.summary(metric, spread=of_spread).loc["mean"]
    text = mean.copy().astype(object)
    for column in mean:
        text[column] = list(map(with_spread, mean[column], spread[column]))
    rows = text.index.isin(few_kinds(evaluation))
    text[rows] = text[rows].map(lambda cell: cell if cell == "-" else f"[{cell}]")
    return text


def draw_heat_map(auroc, groups, path):
    """Draw the AUROC, a frame of kinds by detectors, the best over groups first."""
    order = auroc.groupby(groups).mean().mean().sort_values(ascending=False).index
    display = DetectorHeatMapDisplay(
        values=auroc[order].T.to_numpy(),
        detectors=list(order),
        anomalies=list(auroc.index),
        groups=groups,
    )
    figure = Figure(figsize=display.size, layout="constrained")
    display.plot(figure.subplots())
    figure.savefig(path, dpi=80)


def with_spread(mean, spread):
    """Return a mean and its deviation, fractions, as a cell of percent."""
    if np.isnan(mean):
        return "-"
    return f"{100 * mean:.1f}" + ("" if np.isnan(spread) else f" ± {100 * spread:.1f}")


def with_published(text, published):
    """Put the paper's figures, in brackets, into cells of text and into new rows.

    ``published`` are rows of `load_published_results`. Their methods and anomalies are
    known by the names of columns and rows.
    """
    theirs = published.pivot_table("value", "anomaly", "method", sort=False)
    more = [kind for kind in theirs.index if kind not in text.index]
    text = text.reindex([*text.index, *more]).fillna("-")
    for kind, row in theirs.iterrows():
        for method in text.columns.intersection(row.dropna().index):
            text.loc[kind, method] += f" ({row[method]:g})"
    return text


def _processor():
    """Return the name of the processor, as well as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else f"{platform.system()} {platform.machine()}"


def write_page(name, title, args, sections):
    """Write results as Markdown: how they were made, then the sections.

    ``sections`` are pairs of heading and text. The page replaces an earlier one only
    once it is complete.
    """
    made = (
        f"    python {args.command}\n\n"
        f"{date.today().isoformat()}; {_processor()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} torch thread(s); Python "
        f"{platform.python_version()}, torch {torch.__version__}, scikit-learn "
        f"{sklearn.__version__}; seeds {', '.join(map(str, args.seeds))}."
    )
    parts = [f"# {title}", made]
    parts += [f"## {heading}\n\n{text}" for heading, text in sections]
    path = args.output / name
    temporary = path.with_suffix(".part")
    temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    temporary.replace(path)
    print(f"Wrote {path}")
    return path
