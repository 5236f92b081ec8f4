"""The figures of the README and of the guide, out of the pages of results.

    python doc/headline.py
    python doc/headline.py --figure doc/results/summary.png

It prints the tables of README.md, of doc/guide/which_detector.md and of
doc/results/README.md; a test compares them. A row is a group of anomalies. The first
table has the mean AUROC of the recommended detector, and of whichever other detector is
best at that group; the second has those of several detectors; the third and fourth are
the first for networks of small images and for all others; the fifth has a row per
network, the sixth a row per detector of OpenOOD. The figure shows the third and the
fourth.
"""

import argparse
import csv
import re
from pathlib import Path
from statistics import mean

RESULTS = Path(__file__).parent / "results"
PAGES = {
    "MNIST, LeNet": RESULTS / "mnist" / "all_detectors.md",
    "CIFAR-10 (JPEG), ResNet-20": RESULTS / "cifar" / "all_detectors.md",
    "CIFAR-10 (JPEG), ResNet-56": RESULTS / "cifar" / "all_detectors_resnet56.md",
    "CIFAR-10 (JPEG), ResNet-18": RESULTS / "cifar" / "all_detectors_resnet18.md",
    "ImageNet, EfficientNet-Lite0": RESULTS / "imagenet" / "all_detectors.md",
    "CLINC150, MiniLM": RESULTS / "text" / "all_detectors.md",
    "spoken digits, three convolutions": RESULTS / "speech" / "all_detectors.md",
    "made-up rows, perceptron": RESULTS / "rows" / "all_detectors.md",
}
IN_README, SMALL_IMAGES, OTHERS = list(PAGES)[:2], list(PAGES)[:4], list(PAGES)[4:]
GROUPS = {
    "near data": "other data that look alike (Omniglot; TinyImageNet, ImageNet)",
    "mistakes": "the network's own mistakes",
    "far data": "other data",
    "noise": "noise, fooling images",
    "changed inputs": "rotated, inverted, noisy inputs",
    "minimal attacks": "attacks that end at the boundary (C&W, JSMA, ...)",
    "strong attacks": "strong attacks (FGSM, PGD, ...)",
    "over groups": "mean over these groups",
}
# The best of each kind of score, and the papers' own.
SHOWN = [
    "recommended",
    "max softmax",
    "ODIN",
    "RMDS",
    "Mahalanobis FE",
    "B: LODA",
    "C: SVDD",
]
# Near and far AUROC that OpenOOD v1.5 prints for ResNet-18 on CIFAR-10, and whether
# parameters were searched on other anomalies (zjysteven.github.io/OpenOOD).
OPENOOD = {
    "KNN": "90.6 / 93.0, searched",
    "fDBD": "90.4 / 93.2, searched",
    "RMDS": "89.8 / 92.2",
    "ViM": "88.7 / 93.5",
    "GEN": "88.2 / 91.4, searched",
    "max softmax": "88.0 / 90.7",
    "energy": "87.6 / 91.2",
    "Mahalanobis FE": "60.4 / 73.9, searched",
    "GradNorm": "54.9 / 57.6",
}
# What of its near and far data is at hand.
OPENOOD_DATA = [("TinyImageNet",), ("MNIST", "textures")]

# The rows of doc/guide/rivals.md.
RIVALS = [
    *("max softmax", "max logit", "energy", "ODIN", "GradNorm", "feature squeezing"),
    *("Mahalanobis", "Mahalanobis P", "Mahalanobis FE", "LID", "KD+BU", "ELO"),
    *("GEN", "RMDS", "KNN", "fDBD", "ViM", "NCI", "CORE"),
]


def read_means(page):
    """Return the means by group: detector to group to text."""
    _, _, rest = page.read_text(encoding="utf-8").partition("means, and false alarms")
    lines = re.findall(r"^\|(.*)\|$", rest.partition("\n## ")[0], re.M)
    heads, _, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    return {row[0]: dict(zip(heads, row, strict=True)) for row in rows}


def headline():
    """Return the README's table as Markdown."""
    return _beside_best(IN_README, GROUPS)


def summary():
    """Return the README's table for all pages as Markdown, in two tables."""
    groups = dict(zip(GROUPS, GROUPS, strict=True))
    return [_beside_best(names, groups) for names in (SMALL_IMAGES, OTHERS)]


def by_network():
    """Return means, regrets and false alarms as Markdown, a row per network."""
    heads = ["network", "over groups", "best other", "mean regret", "least of others"]
    heads += ["largest regret", "least of others", "false alarms"]
    lines = [f"| {' | '.join(heads)} |", "|---|--:|---|--:|---|---|---|--:|"]
    for name, page in PAGES.items():
        means = read_means(page)
        cells = [*_cells(means, "over groups"), *_cells(means, "mean regret", min)]
        cells += [*_cells(means, "largest regret", min)]
        cells.append(means["recommended"]["false alarms"])
        lines.append(f"| {' | '.join([name, *cells])} |")
    return "\n".join(lines)


def of_rivals():
    """Return the mean AUROC over kinds of each rival, on MNIST and on CIFAR-10."""
    mnist, cifar = (read_means(PAGES[name]) for name in IN_README)
    # ResNet-20 has no dropout, so that kernel density stands alone.
    alone = {"KD+BU": "KD"}
    rows = [(mnist[name], cifar[alone.get(name, name)]) for name in RIVALS]
    return [tuple(row["over kinds"].split()[0] for row in pair) for pair in rows]


def beside_openood():
    """Return OpenOOD's figures and ours as Markdown, a row per detector."""
    table = RESULTS / "cifar" / "all_detectors_cifar-resnet18" / "table.csv"
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    heads = ["detector", "OpenOOD prints, near / far"]
    for where in ("near", "far"):
        heads += [f"here, {where}", "FPR95", "AUPR in / out"]
    lines = [f"| {' | '.join(heads)} |", "|---|---" + "|--:|--:|---" * 2 + "|"]
    for name in ("recommended", *OPENOOD):
        cells = [name, OPENOOD.get(name, "-")]
        for kinds in OPENOOD_DATA:
            found = [
                row
                for row in rows
                if row["detector"] == name and row["anomaly"] in kinds
            ]
            area, tnr, inside, outside = (
                100 * mean(float(row[metric]) for row in found)
                for metric in ("auroc", "tnr_at_95tpr", "aupr_in", "aupr_out")
            )
            cells += [
                f"{area:.1f}",
                f"{100 - tnr:.1f}",
                f"{inside:.1f} / {outside:.1f}",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _beside_best(names, groups):
    tables = [read_means(PAGES[name]) for name in names]
    heads = [cell for where in names for cell in (where, "best other")]
    rule = "|---" + "|--:|---" * len(tables) + "|"
    lines = [f"| anomalies | {' | '.join(heads)} |", rule]
    for group, shown in groups.items():
        cells = [cell for means in tables for cell in _cells(means, group)]
        lines.append(f"| {' | '.join([shown, *cells])} |")
    return "\n".join(lines)


def draw_summary(path):
    """Draw the recommended detector and the best other by group, a panel per page."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, 4, figsize=(11, 6), sharex=True, sharey=True, layout="constrained"
    )
    groups, axes = list(GROUPS)[:-1], axes.flatten()
    for ax, (name, page) in zip(axes, PAGES.items(), strict=True):
        means = read_means(page)
        for row, group in enumerate(groups):
            own, best = _cells(means, group)
            if own == "-":
                continue
            own, (other, _, who) = float(own), best.partition(" ")
            ax.plot([own, float(other)], [row, row], color="0.8", zorder=0)
            ax.plot(float(other), row, "o", color="tab:orange", mfc="none")
            ax.plot(own, row, "o", color="tab:blue")
            ax.annotate(who, (43, row), va="center", fontsize=7, color="tab:orange")
        ax.set(title=name.replace(", ", "\n"), xlim=(42, 101), xlabel="mean AUROC, %")
        ax.tick_params(labelbottom=True)
    axes[0].set_yticks(range(len(groups)), groups)
    axes[0].set_ylim(len(groups) - 0.4, -0.6)

    figure.legend(
        axes[0].lines[2:0:-1],
        ["recommended", "best other (its name in orange)"],
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    figure.savefig(path, dpi=110)


def by_group():
    """Return the guide's table as Markdown: groups in rows, detectors in columns."""
    means = read_means(PAGES["CIFAR-10 (JPEG), ResNet-20"])
    lines = [f"| group | {' | '.join(SHOWN)} |", "|---" + "|--:" * len(SHOWN) + "|"]
    for group in GROUPS:
        cells = [means[name][group].split()[0] for name in SHOWN]
        lines.append(f"| {' | '.join([group, *cells])} |")
    return "\n".join(lines)


def _cells(means, column, better=max):
    """Return the figure of the recommended detector, and the best other's."""
    figures = {name: row[column] for name, row in means.items() if column in row}
    if not figures:  # too few anomalies of that group
        return ["-", "-"]
    own = figures.pop("recommended")
    best = better(figures, key=lambda name: float(figures[name].split()[0]))
    return [own, f"{figures[best]} {best}"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("--figure", metavar="PATH", help="draw it, and print nothing")
    path = parser.parse_args().figure
    if path:
        draw_summary(path)
    else:
        tables = headline(), by_group(), *summary(), by_network(), beside_openood()
        print(*tables, sep="\n\n")
