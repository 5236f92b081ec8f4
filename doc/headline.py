"""The figures of the README and of the guide, out of the pages of results.

    python doc/headline.py

It prints the table of README.md and that of doc/guide/which_detector.md; a test
compares them. A row is a group of anomalies. The first table has the mean AUROC of the
recommended detector, and of whichever other detector is best at that group; the second
has those of several detectors.
"""

import re
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PAGES = {
    "MNIST, LeNet": RESULTS / "mnist" / "all_detectors.md",
    "CIFAR-10 (JPEG), ResNet-20": RESULTS / "cifar" / "all_detectors.md",
}
GROUPS = {
    "near data": "other data that look alike (Omniglot; TinyImageNet)",
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


def read_means(page):
    """Return the means by group: detector to group to text."""
    _, _, rest = page.read_text(encoding="utf-8").partition("means, and false alarms")
    lines = re.findall(r"^\|(.*)\|$", rest.partition("\n## ")[0], re.M)
    heads, _, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    return {row[0]: dict(zip(heads, row, strict=True)) for row in rows}


def headline():
    """Return the README's table as Markdown."""
    tables = [read_means(page) for page in PAGES.values()]
    heads = [cell for where in PAGES for cell in (where, "best other")]
    lines = [f"| anomalies | {' | '.join(heads)} |", "|---" + "|--:|---" * 2 + "|"]
    for group, shown in GROUPS.items():
        cells = [cell for means in tables for cell in _cells(means, group)]
        lines.append(f"| {' | '.join([shown, *cells])} |")
    return "\n".join(lines)


def by_group():
    """Return the guide's table as Markdown: groups in rows, detectors in columns."""
    means = read_means(PAGES["CIFAR-10 (JPEG), ResNet-20"])
    lines = [f"| group | {' | '.join(SHOWN)} |", "|---" + "|--:" * len(SHOWN) + "|"]
    for group in GROUPS:
        cells = [means[name][group].split()[0] for name in SHOWN]
        lines.append(f"| {' | '.join([group, *cells])} |")
    return "\n".join(lines)


def _cells(means, group):
    """Return the figure of the recommended detector, and the best other's."""
    figures = {name: row[group] for name, row in means.items() if group in row}
    if not figures:  # too few anomalies of that group
        return ["-", "-"]
    own = figures.pop("recommended")
    best = max(figures, key=lambda name: float(figures[name].split()[0]))
    return [own, f"{figures[best]} {best}"]


if __name__ == "__main__":
    print(headline(), by_group(), sep="\n\n")
