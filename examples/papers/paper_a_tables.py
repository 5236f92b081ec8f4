"""
Paper A's tables, figure and words, from what paper_a.py found out
==================================================================
"""

import numpy as np
import pandas as pd
from experiment_pages import (
    FEW,
    as_markdown,
    describe,
    mean_and_spread,
    with_published,
)
from experiment_pages import RECOMMENDED as HOW_CHOSEN
from paper_a_norms import draw_norms, tabulate_norms
from published_results import load_published_results

from skgrad.evaluation import Evaluation

# %%
# What stands against what
# ------------------------
# Methods bear the names that the published figures have here.

ATTACKS = ("FGSM", "BIM", "C&W", "PGD", "IterLL", "Semantic")
NOISE = ("Gaussian noise", "uniform noise")
OURS = "confounding gradients (A)"
OURS_LOG = "A, logarithms"
DENSITY = "A's gradients, density"
RECOMMENDED = "recommended"
# One step for all, where the paper takes the best for each anomaly.
EPSILON = 0.0014
# Attacks that succeed less often than this are left out: nothing to learn from.
FEWEST = 8
MAHALANOBIS = ("Mahalanobis", "Mahalanobis P", "Mahalanobis FE", "Mahalanobis P+FE")
TABLE_1 = ("max softmax", "LID", *MAHALANOBIS, OURS, OURS_LOG, RECOMMENDED)
TABLE_2 = (
    "max softmax",
    "ODIN",
    "Mahalanobis",
    "Mahalanobis FE",
    "energy",
    OURS,
    OURS_LOG,
    RECOMMENDED,
)


# %%
# Tables
# ------
# In each cell our mean over seeds with the standard deviation, in percent, and in
# brackets what the paper prints there.

# What the published figures call data that stand in for theirs.
PUBLISHED = {"CIFAR-10 (JPEG)": "CIFAR-10"}
METRICS = {
    "auroc": ("AUROC", "auroc"),
    "detection_accuracy": ("Detection accuracy", "detection_accuracy"),
    "aupr_in": ("AUPR, in-distribution inputs positive", "aupr"),
    "aupr_out": ("AUPR, anomalies positive", "aupr"),
}


def table(study, number, metric, part):
    """Return our cells, with those of a table of the paper in brackets."""
    text = mean_and_spread(part, metric)
    published = load_published_results("A").query(
        "table == @number and model == 'ResNet' and metric == @metric_of_paper",
        local_dict={"number": f"Table {number}", "metric_of_paper": METRICS[metric][1]},
    )
    data = PUBLISHED.get(study.settings[0].name)
    published = published[published["in_distribution"] == data]
    if number == 2:
        # Nothing else comes near its figures than an ensemble that knows the anomaly.
        published = published.replace({"method": {"Mahalanobis": "Mahalanobis FE"}})
    if len(published):
        text = with_published(text, published)
    order = [kind for kind in text.index if kind != "mean"]
    return text.loc[[*order, "mean"]].rename_axis(study.settings[0].name)


def _part(evaluation, kinds, detectors):
    results = [
        r
        for name in detectors
        for r in evaluation.results
        if r.detector == name and r.anomaly in kinds
    ]
    return Evaluation(results)


def table_2(study):
    """Return a table for each metric, as Markdown."""
    kinds = [kind for kind in study.same.anomalies if kind not in ATTACKS]
    part = _part(study.same, kinds, TABLE_2)
    parts = [
        f"{shown}:\n\n{as_markdown(table(study, 2, metric, part))}"
        for metric, (shown, _) in METRICS.items()
    ]
    return "\n\n".join(parts)


def user_table(study):
    """Return AUROC by how much is known of the anomalies."""
    judged = study.same.anomalies
    learners = study.others.detectors
    known = mean_and_spread(_part(study.same, judged, learners))
    unknown = mean_and_spread(study.others)
    alone = mean_and_spread(_part(study.same, judged, [DENSITY, RECOMMENDED]))
    parts = {"this kind known": known, "others known": unknown, "none known": alone}
    columns = {
        f"{how}: {name}": cells[name] for how, cells in parts.items() for name in cells
    }
    return pd.DataFrame(columns).rename_axis(study.settings[0].name)


def alarms_table(study):
    """Return the shares of test inputs that are rejected, over kinds and seeds."""
    rows = {"this kind known": study.same, "others known": study.others}
    means = {
        how: mean_and_spread(evaluation, "realised_fpr").loc["mean"]
        for how, evaluation in rows.items()
    }
    frame = pd.DataFrame(means).reindex(study.same.detectors).fillna("-")
    return frame.rename_axis("false alarms")


def sizes_table(study):
    """Return how many anomalies there were, and how often attacks succeeded."""
    found = study.made.groupby("anomaly", sort=False).mean()
    frame = study.same.figures
    judged = frame[frame["detector"] == OURS].groupby("anomaly")["n_anomalies"].mean()
    rows = {
        kind: {
            "successful": "-" if np.isnan(row["rate"]) else f"{row['rate']:.1%}",
            "anomalies": f"{row['number']:.0f}",
            "of these judged": f"{judged.get(kind, 0):.0f}",
        }
        for kind, row in found.iterrows()
    }
    return pd.DataFrame(rows).T.rename_axis(study.settings[0].name)


# %%
# The page
# --------

READING = """\
Percent; our mean ± standard deviation over seeds, each with a network of its own if the
accuracies above differ; in brackets what the paper prints for its ResNet-18.
Attacked are {n_attack} of the test inputs themselves
(C&W: {n_slow}, one search of {cw_steps} steps); what succeeded counts, if it is
{fewest} or more. {few} Means are of what was run here. 40/40/20: four fifths
of the test inputs and of the anomalies, each attacked input on the side of the one that
it was made from, are to learn from, half of them to validate; the last fifth is judged.

- *{ours}* is the paper's detector, *{log}* the same with the
  logarithms of the norms. Both learn from four fifths of the kind that they are judged
  on, and so do LID and Mahalanobis FE (feature ensemble) and P+FE, as in their papers.
  These have {n_learn} of the network's training inputs as well, the paper's detector
  none, all others {n_fit}.
- P is input pre-processing by a step of {epsilon}, also ODIN's, for inputs in [0, 1]:
  one value for all, where the paper takes the best of several for each anomaly. The
  ensemble's layers are the first one and the stages of a ResNet, else all.
- The paper does not say which of its Mahalanobis forms Table 2 has, only that it was
  tuned: its figures stand beside the feature ensemble, which knows the anomaly. The
  plain one knows none.
- The paper does not say which class is positive in AUPR; both are here, each beside the
  same figure of the paper. Ours depends on how many inputs of either side there are.
- Detection accuracy is the best over all thresholds, both sides equally likely.
- *{density}*: a Gaussian per predicted class over the logarithms of
  the same norms; *{recommended}*: this library's detector. Both are fitted on
  in-distribution inputs alone, and judged on the same inputs as the rest.

{how_chosen}"""

USER = """\
AUROC. The detector of the paper knows the kind of anomaly that it is to find. Here:
with four fifths of that kind known; with all kinds of this page known but that one,
some of which are much like it, as BIM is like PGD; and with no anomaly known."""

FIGURE = """\
![Norms of gradients and activations](paper_a_norms_{slug}.png)

Norms of the gradients of the weights of {layers} under the confounding label, and of
what the same layers return; {n} clean test inputs, at most as many of each attack, seed
{seed}. Boxes hold the middle half, whiskers the middle nine tenths.

The table has the AUROC of a norm alone as the score, gradient / activation, means over
seeds: above 50 anomalies have larger norms, below 50 smaller ones. {verdict}"""

NOT_RUN = [
    "DenseNet (Tables 1 and 2): no trained network is here.",
    "CIFAR-10 as it was published: all images here are encoded as JPEG.",
    "SVHN, as in-distribution data or not, and LSUN (Table 2): not here. Their cells "
    "hold the paper's figures alone.",
    "The best parameters of ODIN, LID and Mahalanobis for each anomaly (Tables 1, 2): "
    "one choice for all.",
    "All 10,000 test inputs under attack, and the steps and bounds of attacks: the "
    "paper does not tell them. FGSM, BIM, PGD, IterLL: 8/255 for CIFAR-10 (JPEG), 0.3 "
    "for MNIST and digits; C&W: one search of few steps, so its changes are larger.",
    "Mahalanobis P+FE in Table 2, and where other kinds are known: for time.",
]


def sections_of(study, args):
    """Return the sections about one network, and draw its figure."""
    slug = "".join(c for c in study.name.lower() if c.isalnum())
    draw_norms(study.norms, args.output / f"paper_a_norms_{slug}.png")
    frame, verdict = tabulate_norms(study.norms)
    first = study.norms.query("seed == @args.seeds[0] and kind == 'clean'")
    figure = FIGURE.format(
        slug=slug,
        layers=", ".join(frame.index),
        n=len(first) // len(frame) // 2,
        seed=args.seeds[0],
        verdict=verdict,
    )
    part = _part(study.same, study.attacks, TABLE_1)
    table_1 = as_markdown(table(study, 1, "auroc", part))
    return [
        (f"Table 1, adversarial inputs, AUROC: {study.name}", table_1),
        (f"Table 2, out of distribution: {study.name}", table_2(study)),
        (
            f"What a user faces: {study.name}",
            f"{USER}\n\n{as_markdown(user_table(study))}",
        ),
        (f"False alarms: {study.name}", as_markdown(alarms_table(study))),
        (f"Figure 3: {study.name}", f"{figure}\n\n{as_markdown(frame)}"),
        (f"Anomalies: {study.name}", as_markdown(sizes_table(study))),
    ]


_SIZES = ("n_attack", "n_slow", "n_learn", "n_fit", "cw_steps")


def make_sections(studies, args):
    """Return pairs of heading and text."""
    sizes = {k: getattr(args, k) for k in _SIZES}
    reading = READING.format(
        ours=OURS,
        log=OURS_LOG,
        density=DENSITY,
        recommended=RECOMMENDED,
        epsilon=EPSILON,
        fewest=FEWEST,
        few=FEW,
        how_chosen=HOW_CHOSEN,
        **sizes,
    )
    settings = [setting for study in studies for setting in study.settings]
    missing = list(NOT_RUN)
    if all(setting.network != "ResNet-18" for setting in settings):
        missing.append("ResNet-18: smaller networks stand in.")
    return [
        ("Networks and data", describe(settings)),
        ("How to read the tables", reading),
        *(section for study in studies for section in sections_of(study, args)),
        ("Not run here", "\n".join(f"- {item}" for item in missing)),
    ]
