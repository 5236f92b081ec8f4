"""
Paper B's experiments: geometric gradient analysis
==================================================

Tables 1 to 3 of Schwinn et al. (2021), "Identifying Untrustworthy Predictions in Neural
Networks by Geometric Gradient Analysis", each figure beside the paper's; the figures of
that paper are those of ``paper_b_landscape.py``. Run ``train_networks.py`` first::

    python examples/papers/paper_b.py --data-dir ~/data --networks networks

Detectors are fitted on correctly classified inputs that the network was trained on, and
learn from no anomaly. ``--settings cifar-resnet56`` takes the paper's own network for
CIFAR-10, of which there is one: the seeds draw its images alone.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from experiment_pages import (
    FEW,
    RECOMMENDED,
    as_markdown,
    describe,
    mean_and_spread,
    with_published,
    with_spread,
    write_page,
)
from experiments import load_setting, read_options
from published_results import load_published_results
from sklearn.base import clone

from skgrad.baselines import make_baselines
from skgrad.detectors import make_geometric_gradient_detector, make_recommended_detector
from skgrad.evaluation import Evaluation, evaluate

# %%
# What stands against what
# ------------------------
# The kinds of anomaly are Table 1's and Table 2's. The methods are the paper's, under
# the names that the published figures have here, and the library's recommended one.

TABLE_1 = ("noise in ball", "PGD", "rotation", "B&B Linf", "B&B L2")
ADAPTIVE = ("T-SCE", "T-MSE", "CSA")
NOISE = ("uniform noise", "Gaussian noise")
OOD, ALL = "OOD, pooled", "all, pooled"
OURS = "geometric gradients (B)"
FEWER = (5, 3)
# The paper's Fashion-MNIST alone; elsewhere all other data stand in for the paper's.
POOLED_OOD = {"MNIST": ["Fashion-MNIST"]}
# What the published figures call data that are the same, or stand in for theirs.
PUBLISHED = {"MNIST": "MNIST", "CIFAR-10 (JPEG)": "CIFAR-10", "ECG5000": "UCR ECG"}


def make_detectors(setting):
    """Return the detectors by name: all have only in-distribution inputs to fit on."""
    model = setting.model
    baselines = make_baselines(model, bounds=setting.threat.bounds)
    ours = make_geometric_gradient_detector(model)
    if setting.name.startswith("CIFAR"):
        ours.set_params(detect__n_bins=500)
    fewer = {
        f"{OURS}, top {n}": clone(ours).set_params(cosines__top_n=n)
        for n in FEWER
        if n < len(np.unique(setting.seen[1]))
    }
    return {
        "max softmax": baselines["max softmax"],
        "ODIN": baselines["ODIN"],
        "Mahalanobis": baselines["Mahalanobis FE"],
        OURS: ours,
        **fewer,
        "recommended": make_recommended_detector(model),
    }


# %%
# One data set, all seeds
# -----------------------


@dataclass
class Study:
    """Everything that was found out with one network architecture."""

    settings: list
    evaluation: Evaluation
    rates: pd.DataFrame

    @property
    def name(self):
        """The data set and the network."""
        return f"{self.settings[0].name}, {self.settings[0].network}"


def study(name, args):
    """Judge all detectors on one network per seed."""
    settings, results, rates = [], [], []
    for seed in args.seeds:
        print(f"{name}, seed {seed}")
        setting = load_setting(name, seed, args)
        anomalies = setting.anomalies(kinds_of(args), args)
        evaluation = evaluate(
            setting.model,
            make_detectors(setting),
            setting.test[0],
            anomalies,
            y_test=setting.test[1],
            X_fit=setting.seen[0],
            y_fit=setting.seen[1],
            protocol="B",
            seeds=(seed,),
            memory=args.memory,
            verbose=True,
        )
        rate = {
            kind: getattr(a, "success_rate", np.nan) for kind, a in anomalies.items()
        }
        settings.append(setting)
        results += evaluation.results + pooled(evaluation, rate, setting)
        rates.append(rate)
    # Seeds tell more than bootstrap intervals, and those of the pool would be wrong.
    return Study(settings, Evaluation(results), pd.DataFrame(rates))


def kinds_of(args):
    """Name the anomalies to make."""
    kinds = [*TABLE_1, *NOISE, *ADAPTIVE]
    if args.quick:  # it takes a minute to compile
        kinds = [kind for kind in kinds if not kind.startswith("B&B")]
    return kinds


def pooled(evaluation, rates, setting):
    """Put kinds of anomaly together, in the proportions that they have in the paper.

    The paper attacks every test input, counts what succeeds, and takes about as many
    out-of-distribution inputs as there are test inputs. Here some kinds are fewer, so
    their scores are repeated.
    """
    ood = [*POOLED_OOD.get(setting.name, setting.others), *NOISE]
    pools = {OOD: ood, ALL: [*TABLE_1, *ood]}
    results = []
    for detector in evaluation.detectors:
        found = {r.anomaly: r for r in evaluation.results if r.detector == detector}
        for pool, kinds in pools.items():
            parts = [found[kind] for kind in kinds if kind in found]
            results.append(
                _pool(pool, [p for p in parts if len(p.scores_anomaly)], rates)
            )
    return results


def _pool(pool, parts, rates):
    """Return the result of a detector on some kinds of anomaly together."""
    first, n_id = parts[0], len(parts[0].scores_id)
    shares = [np.nan_to_num(rates[part.anomaly], nan=1.0) for part in parts]
    sizes = [max(1, round(share * n_id)) for share in shares]
    joined = {
        name: np.concatenate(
            [np.resize(getattr(p, name), n) for p, n in zip(parts, sizes, strict=True)]
        )
        for name in ("scores_anomaly", "rejected_anomaly", "classes_anomaly")
    }
    return replace(first, anomaly=pool, **joined)


# %%
# Tables
# ------
# In each cell our mean over seeds with the standard deviation, in percent, and in
# brackets what the paper prints there.

POOL_METRICS = {"auroc": "AUROC", "aupr_in": "AUPR-in", "aupr_out": "AUPR-out"}


def table_1(study):
    """Return TNR@95TPR per kind, the pool's metrics and the rate of false alarms."""
    columns = [d for d in study.evaluation.detectors if not d.startswith(f"{OURS}, ")]
    tnr = beside(study, "tnr_at_95tpr", "Table 1")[columns]
    kinds = [k for k in tnr.index if k not in (*ADAPTIVE, "mean", ALL)]
    rows = [tnr.loc[kinds].rename(index=lambda kind: f"{kind}, TNR")]
    for metric, shown in POOL_METRICS.items():
        row = beside(study, metric, "Table 1").loc[[ALL], columns]
        rows.append(row.rename(index={ALL: f"all, pooled: {shown}"}))
    alarms = mean_and_spread(study.evaluation, "realised_fpr").loc[[ALL], columns]
    rows.append(alarms.rename(index={ALL: "false alarms (5 asked for)"}))
    return pd.concat(rows).rename_axis(study.name)


def table_2(studies):
    """Return success and identification of the adaptive attacks."""
    parts = []
    for study in studies:
        kinds = ["PGD", *ADAPTIVE]
        rates = study.rates[kinds]
        # The published rows of success name no method.
        success = pd.DataFrame({"none": map(with_spread, rates.mean(), rates.std())})
        success = success.set_axis(kinds)
        success = with_published(
            success, published(study, "attack_success", "Sec. 5.3")
        )
        tnr = beside(study, "tnr_at_95tpr", "Table 2")[[OURS, "recommended"]]
        part = success.rename(columns={"none": "success"}).join(tnr)
        parts.append(part.rename(index=lambda kind, name=study.name: f"{name}: {kind}"))
    return pd.concat(parts).rename_axis("attack")


def table_3(studies):
    """Return the pool's metrics with fewer classes."""
    rows = {}
    for study in studies:
        text = {m: mean_and_spread(study.evaluation, m) for m in POOL_METRICS}
        for name in [d for d in study.evaluation.detectors if d.startswith(OURS)]:
            shown = (
                f"{study.name}: {name.removeprefix(f'{OURS}, ').replace(OURS, 'all')}"
            )
            rows[shown] = {
                label: text[metric].loc[ALL, name]
                for metric, label in POOL_METRICS.items()
            }
    return pd.DataFrame(rows).T.rename_axis("classes compared")


def beside(study, metric, table):
    """Return our cells with the paper's in brackets, kinds by detectors."""
    text = mean_and_spread(study.evaluation, metric)
    return with_published(text, published(study, metric, table))


def published(study, metric, table):
    """Return the paper's numbers, of which there may be none."""
    rows = load_published_results("B").query("metric == @metric and table == @table")
    return rows[rows["in_distribution"] == PUBLISHED.get(study.settings[0].name)]


def sizes(studies):
    """Return how many anomalies there were, and how often attacks succeeded."""
    columns = {}
    for study in studies:
        of_ours = study.evaluation.figures.query("detector == @OURS")
        counts = of_ours.groupby("anomaly")["n_anomalies"].mean().drop([OOD, ALL])
        rates = study.rates.mean()
        columns[study.name] = {
            kind: f"{n:.0f}"
            + ("" if np.isnan(rates[kind]) else f" ({rates[kind]:.1%})")
            for kind, n in counts.items()
        }
    return pd.DataFrame(columns).fillna("-").rename_axis("anomaly")


# %%
# The page
# --------

READING = f"""\
Percent; our mean ± standard deviation over seeds, each with a network of its own if the
accuracies above differ; in brackets what the paper prints for that cell.
TNR is at 95 % TPR, in-distribution inputs being positive.
{FEW}

Of attacks counts what succeeded on inputs that the network classifies correctly: of
T-SCE and T-MSE, what is taken for the target, where the paper asks for any other class.

*{OURS}* is the paper's detector; *Mahalanobis* the feature ensemble, without anomalies
to learn from, where the paper's had adversarial examples. No parameter was searched:
ODIN has a step of 0.0014 and a temperature of 1,000, the paper does not name its own.

{RECOMMENDED}

"OOD, pooled" puts the other data (for MNIST Fashion-MNIST alone, as in the paper) and
the two noises together, "all, pooled" these and the attacks of Table 1, each in the
proportion that it has when, as in the paper, all test inputs are attacked and there are
as many of each other kind: where we have fewer, scores are repeated. A kind of 15 then
weighs as one of 1,000, and is known as badly as 15 are."""

NOT_RUN = [
    "CIFAR-100 with PreResNet-164 (in all tables): neither data nor network are here. "
    "Table 3, which the paper has for CIFAR-100 alone (AUROC, AUPR-in, AUPR-out: 98.0, "
    "87.5, 99.7 with all 100 classes; 98.0, 86.9, 99.7 with 10; 97.7, 85.6, 99.7 with "
    "5), is here for data of 10 and 5 classes.",
    "SVHN as OOD data for CIFAR-10: other data stand in.",
    "CIFAR-10 as published: here every image is encoded as JPEG.",
    "UCR ECG ID 49 (42 classes, 750 points): ECG5000 (5 classes, 140 points) stands "
    "in, with ECG200 as OOD data; the numbers in brackets are of ID 49. There are so "
    "few series that those are attacked which the network was trained on and the "
    "detectors are fitted on.",
    "Mahalanobis fitted on adversarial examples.",
    "All 10,000 test inputs, and attacks on all of them: see the sizes.",
]


def not_run(args, names):
    """Say what of the paper is not on the page."""
    items = list(NOT_RUN)
    if {"cifar-resnet20", "cifar-resnet18"} & set(names):
        items.append(
            "ResNet-56, the paper's network for CIFAR-10: ResNet-20, at a third of the "
            "cost, stands in. `--settings cifar-resnet56` runs the one that there is."
        )
    if args.quick:
        items.append(
            "B&B: left out by `--quick`, as its library is compiled for a minute."
        )
    return "\n".join(f"- {item}" for item in items)


def main(arguments=None):
    """Run the experiments and write the page."""
    args = read_options(
        __doc__,
        arguments,
        settings="mnist-cnn,cifar-resnet20,ecg",
        n_test=800,
        n_anomalies=300,
        n_attack=100,
        n_slow=15,
    )
    embedded = args.quick and not args.data_dir
    names = ["digits"] if embedded else args.settings.split(",")
    studies = [study(name, args) for name in names]
    intro = describe([setting for study in studies for setting in study.settings])
    intro += f"\n\nDetectors are fitted on at most {args.n_fit} inputs."
    sections = [
        ("Networks and data", intro),
        ("How to read the tables", READING),
        *((f"Table 1: {s.name}", as_markdown(table_1(s))) for s in studies),
        ("Table 2: adaptive attacks", as_markdown(table_2(studies))),
        ("Table 3: fewer classes", as_markdown(table_3(studies))),
        ("Anomalies and success of attacks", as_markdown(sizes(studies))),
        ("Not run here", not_run(args, names)),
    ]
    return write_page("paper_b.md", "Paper B: geometric gradients", args, sections)


if __name__ == "__main__":
    main()
