"""
Paper A's experiments: confounding gradients
============================================

Tables 1 and 2 and Figure 3 of Lee, Prabhushankar and AlRegib (2022), "Gradient-Based
Adversarial and Out-of-Distribution Detection", our figures beside the paper's. Its
detector learns from the very kind of anomaly that it is to find; a third table tells
what is left for a user who does not know that kind, or no anomaly at all. Run
``train_networks.py`` first::

    python examples/paper_a.py --data-dir ~/data --networks networks
    python examples/paper_a.py --quick    # digits alone, half a minute
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from experiments import (
    Setting,
    as_markdown,
    describe,
    load_setting,
    mean_and_spread,
    read_options,
    with_published,
    write_page,
)
from paper_a_norms import compare_norms, draw_norms, tabulate_norms
from sklearn.pipeline import make_pipeline, make_union

from skgrad import (
    ClassConditionalGaussian,
    ConfoundingGradientTransformer,
    LayerActivationTransformer,
)
from skgrad.baselines import make_baselines
from skgrad.detectors import (
    make_confounding_gradient_detector,
    make_recommended_detector,
)
from skgrad.evaluation import Evaluation, evaluate, load_published_results

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
# The feature ensemble's layers in its own paper: the first one and every stage.
STAGES = ["bn1", "layer1", "layer2", "layer3"]
# One step for all, where the paper takes the best for each anomaly.
EPSILON = 0.0014
# Attacks that succeed less often than this are left out: nothing to learn from.
FEWEST = 8


def learn_from_nothing(model):
    """Return the detectors that are fitted on in-distribution inputs alone."""
    plain = make_baselines(model)
    names = ["max softmax", "ODIN", "energy", "Mahalanobis", "Mahalanobis P"]
    gradients = ConfoundingGradientTransformer(model, log=True)
    logits = LayerActivationTransformer(model, "logits")
    density = ClassConditionalGaussian(include_logits=False)
    plain["ODIN"].set_params(epsilon=EPSILON)
    plain["Mahalanobis P"].set_params(epsilon=EPSILON)
    return {name: plain[name] for name in names} | {
        DENSITY: make_pipeline(make_union(gradients, logits), density),
        RECOMMENDED: make_recommended_detector(model),
    }


def learn_from_anomalies(model):
    """Return the detectors that learn from known anomalies."""
    learners = make_baselines(model, learn_from_anomalies=True)
    ensembles = {name: learners[name] for name in MAHALANOBIS[2:]}
    ensembles["Mahalanobis P+FE"].set_params(epsilon=EPSILON)
    if hasattr(model, "layer3"):
        for ensemble in ensembles.values():
            ensemble.set_params(layers=STAGES)
    baselines = {"LID": learners["LID"]} | ensembles
    for baseline in baselines.values():
        # Leaves more inputs to the Gaussians and neighbours.
        baseline.set_params(reference_fraction=0.1, calibration_fraction=0.1)
    return baselines | {
        OURS: make_confounding_gradient_detector(model),
        OURS_LOG: make_confounding_gradient_detector(model, log=True),
    }


# %%
# One network, all seeds
# ----------------------


@dataclass
class Study:
    """What was found out about networks of one kind, one for each seed."""

    settings: list[Setting]
    made: pd.DataFrame
    same: Evaluation
    others: Evaluation
    norms: pd.DataFrame

    @property
    def name(self):
        """The data set and the network."""
        return f"{self.settings[0].name}, {self.settings[0].network}"

    @property
    def attacks(self):
        """The attacks that are judged."""
        return [kind for kind in self.same.anomalies if kind in ATTACKS]


def study(name, args):
    """Judge all detectors on one network per seed."""
    settings, made, same, others, norms = [], [], [], [], []
    for seed in args.seeds:
        print(f"{name}, seed {seed}")
        setting = load_setting(name, seed, args)
        anomalies = make_anomalies(setting, args)
        made += [_row(kind, found) for kind, found in anomalies.items()]
        anomalies = {k: a for k, a in anomalies.items() if _count(a) >= FEWEST}
        same += judge_same(setting, anomalies, seed, args)
        others += judge_others(setting, anomalies, seed, args)
        norms.append(compare_norms(setting, anomalies, ATTACKS, seed, args))
        settings.append(setting)
    # Seeds tell more than the bootstrap does, which takes its time.
    tables = (Evaluation(results, n_resamples=0) for results in (same, others))
    return Study(settings, pd.DataFrame(made), *tables, pd.concat(norms))


def make_anomalies(setting, args):
    """Attack the test inputs themselves, as the paper does."""
    kinds = [kind for kind in ATTACKS if kind != "C&W"]
    made = setting.anomalies([*kinds, *NOISE], args, of_test=True)
    # One search of some steps in place of nine of thousands.
    threat = replace(setting.threat, n_steps=20 if args.quick else args.cw_steps)
    setting = replace(setting, threat=threat)
    made |= setting.anomalies(["C&W"], args, of_test=True)
    kinds = [*ATTACKS, *setting.others, *NOISE]
    return {kind: made[kind] for kind in kinds}


def _row(kind, found):
    rate = getattr(found, "success_rate", np.nan)
    return {"anomaly": kind, "number": _count(found), "rate": rate}


def _count(found):
    return len(getattr(found, "X", found))


def judge_same(setting, anomalies, seed, args):
    """Judge against the kind of anomaly that learners know: Tables 1 and 2."""
    attacks = {kind: found for kind, found in anomalies.items() if kind in ATTACKS}
    learners = learn_from_anomalies(setting.model)
    slow = {name: learners.pop(name) for name in [MAHALANOBIS[-1]]}
    plain = learn_from_nothing(setting.model)
    judge = _Judge(setting, seed, args, "A")
    return [
        *judge(plain, anomalies, args.n_fit),
        *judge(learners, anomalies, args.n_learn),
        *judge(slow, attacks, args.n_learn),
    ]


def judge_others(setting, anomalies, seed, args):
    """Judge learners against the kind that they do not know."""
    learners = learn_from_anomalies(setting.model)
    # For each kind its many passes would go over all anomalies of all other kinds.
    del learners[MAHALANOBIS[-1]]
    return _Judge(setting, seed, args, "A'")(learners, anomalies, args.n_learn)


@dataclass
class _Judge:
    """Judge detectors under a protocol, with so many inputs that the network saw."""

    setting: Setting
    seed: int
    args: object
    protocol: str

    def __call__(self, detectors, anomalies, n_fit):
        return evaluate(
            self.setting.model,
            detectors,
            self.setting.test[0],
            anomalies,
            X_fit=self.setting.seen[0][:n_fit],
            protocol=self.protocol,
            seeds=(self.seed,),
            cache=self.args.cache,
            on_step=print,
        ).results


# %%
# Tables
# ------
# In each cell our mean over seeds with the standard deviation, in percent, and in
# brackets what the paper prints there.

PUBLISHED = {"CIFAR-10 (JPEG)": "CIFAR-10"}
METRICS = {
    "auroc": ("AUROC", "auroc"),
    "detection_accuracy": ("Detection accuracy", "detection_accuracy"),
    "aupr_in": ("AUPR, in-distribution inputs positive", "aupr"),
    "aupr_out": ("AUPR, anomalies positive", "aupr"),
}


def table(study, number, metric, kinds, detectors):
    """Return our cells, with those of a table of the paper in brackets."""
    text = mean_and_spread(_part(study.same, kinds, detectors), metric)
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
    return Evaluation(results, n_resamples=0)


def table_2(study):
    """Return a table for each metric, as Markdown."""
    kinds = [kind for kind in study.same.anomalies if kind not in ATTACKS]
    parts = [
        f"{shown}:\n\n{as_markdown(table(study, 2, metric, kinds, TABLE_2))}"
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
    frame = study.same.frame
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
Percent; our mean ± standard deviation over networks and seeds, in brackets what the
paper prints for its ResNet-18. Attacked are {n_attack} of the test inputs themselves
(C&W: {n_slow}); what succeeded counts, if it is {fewest} or more. 40/40/20: four fifths of the test inputs and of
the anomalies, each attacked input on the side of the one it was made from, are to learn
from, half of it to validate; the last fifth is judged.

- *{ours}* is the paper's detector, *{log}* the same with the logarithms of the norms.
  Both learn from four fifths of the kind that they are judged on, and so do LID and
  Mahalanobis FE (feature ensemble) and P+FE, as in their papers. These have {n_learn} of
  the network's training inputs besides, all others {n_fit}; the paper's detector none.
- P is input pre-processing by a step of {epsilon}, also ODIN's, for inputs in [0, 1]:
  one value for all, where the paper takes the best of several for each anomaly. The
  ensemble's layers are the first one and the three stages of a ResNet, else all.
- The paper does not say which of its Mahalanobis forms Table 2 has, only that it was
  tuned: its figures stand beside the feature ensemble, which knows the anomaly. The
  plain one knows none.
- The paper does not say which class is positive in AUPR; both are here, each beside the
  same figure of the paper. Ours depends on how many inputs of either side there are.
- Detection accuracy is the best over all thresholds, both sides equally likely.
- *{density}*: a Gaussian per predicted class over the logarithms of the same norms;
  *{recommended}*: this library's detector. Both are fitted on in-distribution inputs
  alone, and judged on the same inputs as the rest."""

USER = """\
AUROC. The detector of the paper knows the kind of anomaly that it is to find. Here:
with four fifths of that kind known; with all kinds of this page known but that one; and
with no anomaly known."""

FIGURE = """\
![Norms of gradients and activations](paper_a_norms_{slug}.png)

Norms of the gradients of the weights of {layers} under the confounding label, and of
what the same layers return; {n} clean test inputs and as many of each attack, seed
{seed}. Boxes hold the middle half, whiskers the middle nine tenths.

The table has the AUROC of a norm alone as the score, gradient / activation, means over
seeds: above 50 anomalies have larger norms, below 50 smaller ones. {verdict}"""

NOT_RUN = [
    "DenseNet (Tables 1 and 2): no trained network is here.",
    "ResNet-18: ResNet-20, which is far smaller, stands in.",
    "CIFAR-10 as it was published: all images here are encoded as JPEG.",
    "SVHN, as in-distribution data or not, and LSUN (Table 2): not here. Their cells "
    "hold the paper's figures alone.",
    "The best parameters of ODIN, LID and Mahalanobis for each anomaly (Tables 1, 2): "
    "one choice for all.",
    "All 10,000 test inputs under attack, and the steps and bounds of attacks: the "
    "paper does not tell them. FGSM, BIM, PGD, IterLL: 8/255 for CIFAR-10 (JPEG), 0.3 "
    "for MNIST and digits; C&W: one search of few steps, so its changes are larger.",
    "Mahalanobis P+FE in Table 2, and where other kinds of anomaly are known: for time.",
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
    table_1 = as_markdown(table(study, 1, "auroc", study.attacks, TABLE_1))
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


def main(arguments=None):
    """Run the experiments and write the page."""
    args = read_options(
        __doc__,
        arguments,
        settings="cifar-resnet20,mnist-lenet",
        n_learn=600,
        n_anomalies=400,
        n_attack=400,
        n_slow=200,
        cw_steps=100,
        n_norms=200,
    )
    args.n_learn = min(args.n_learn, args.n_fit)
    embedded = args.quick and not args.data_dir
    names = ["digits"] if embedded else args.settings.split(",")
    studies = [study(name, args) for name in names]
    reading = READING.format(
        ours=OURS,
        log=OURS_LOG,
        density=DENSITY,
        recommended=RECOMMENDED,
        epsilon=EPSILON,
        fewest=FEWEST,
        **{k: getattr(args, k) for k in ("n_attack", "n_slow", "n_learn", "n_fit")},
    )
    settings = [setting for study in studies for setting in study.settings]
    sections = [
        ("Networks and data", describe(settings)),
        ("How to read the tables", reading),
        *(section for study in studies for section in sections_of(study, args)),
        ("Not run here", "\n".join(f"- {item}" for item in NOT_RUN)),
    ]
    return write_page("paper_a.md", "Paper A: confounding gradients", args, sections)


if __name__ == "__main__":
    main()
