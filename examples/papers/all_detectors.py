"""
Every detector against every anomaly
====================================

The recommended detector, those of the three papers and all baselines in one run, on
MNIST and on CIFAR-10 (JPEG). All are fitted on the same in-distribution inputs, which
the network was not trained on, and see no anomaly. A second table tells how detectors
do that learn from anomalies of other kinds, a third one how far an attack gets that
knows the detector.

    python examples/papers/all_detectors.py --data-dir ~/data --networks networks
    python examples/papers/all_detectors.py --quick          # digits, few images

It needs what ``train_networks.py`` wrote and ``pip install ".[attacks,ood]"``.
A run that was stopped goes on where it stopped.
"""

from functools import partial

import numpy as np
import pandas as pd
from experiment_pages import (
    FEW,
    RECOMMENDED,
    as_markdown,
    describe,
    draw_heat_map,
    mean_and_spread,
    with_spread,
    without_few,
    write_page,
)
from experiments import load_setting, read_options
from joblib import Memory
from more_images import load_more_images
from sklearn.pipeline import Pipeline

from skgrad import (
    ConformalDetector,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad._seeding import seed_estimator
from skgrad.attacks import adaptive_pgd, pgd
from skgrad.baselines import PyTorchOODDetector, make_baselines
from skgrad.evaluation import Evaluation, evaluate
from skgrad.torch_engine.fingerprint import network_identity

# %%
# What is judged
# --------------
# Brendel & Bethge's attack is compiled at its first use, which takes longer than all
# the rest of a quick run.
KINDS = [
    *("Gaussian noise", "uniform noise", "fooling images", "misclassified"),
    *("noise in ball", "rotation", "Semantic", "FGSM", "BIM-a", "BIM-b", "IterLL"),
    *("PGD", "PGD L2", "T-SCE", "T-MSE", "C&W", "JSMA", "B&B Linf", "B&B L2", "CSA"),
]
COMPILED = ("B&B Linf", "B&B L2")
# Detectors of pytorch-ood that go by other ideas than the papers'.
OTHERS = ("SHE", "KLMatching")


def list_detectors(setting, memory=None):
    """Return the detectors by name: ours, the papers', pytorch-ood's.

    With ``memory`` the baselines over the last layer share one pass. What cannot judge
    the inputs of a setting is left out.
    """
    model, sizes = setting.model, {"batch_size": setting.batch_size}
    baselines = make_baselines(model, bounds=setting.threat.bounds, **sizes)
    baselines["feature squeezing"].set_params(bit_depth=setting.bit_depth)
    for detector in baselines.values():
        if isinstance(detector, Pipeline):
            detector[0].set_params(memory=memory)
    detectors = {
        "recommended": make_recommended_detector(model, **sizes),
        "B: LODA": make_geometric_gradient_detector(model, **sizes),
        "C: SVDD": make_uniform_detector(model, setting.first_layer, **sizes),
        **baselines,
        **{
            f"{name} of pytorch-ood": PyTorchOODDetector(model, name, **sizes)
            for name in OTHERS
        },
    }
    return {name: d for name, d in detectors.items() if name not in setting.cannot}


def list_learners(setting):
    """Return paper A's detector, which learns from anomalies, and ours beside it.

    Baselines that can learn from anomalies do so in ``paper_a.py`` and ``paper_c.py``;
    here each would pass all images through the network once per kind.
    """
    model, sizes = setting.model, {"batch_size": setting.batch_size}
    mlp = make_confounding_gradient_detector(model, log=True, **sizes)
    return {
        "recommended": make_recommended_detector(model, **sizes),
        "A: MLP": ConformalDetector(mlp),
    }


# %%
# One network
# -----------


def judge(setting, seed, args):
    """Return all detectors against all anomalies, and those that learn from them."""
    left_out = list(filter(None, args.without.split(",")))
    kinds = [kind for kind in KINDS if not (args.quick and kind in COMPILED)]
    anomalies = setting.anomalies([k for k in kinds if k not in left_out], args)
    if setting.name == "CIFAR-10 (JPEG)":
        anomalies = load_more_images(seed, args) | anomalies
    learners = list_learners(setting)
    detectors = list_detectors(setting, args.memory)
    unknown = set(left_out) - {*KINDS, *detectors}
    if unknown:
        raise ValueError(f"--without must name kinds or detectors; got {unknown}.")
    detectors = {name: d for name, d in detectors.items() if name not in left_out}
    common = {"memory": args.memory, "seeds": [seed], "verbose": True}
    known_nothing = evaluate(
        setting.model,
        detectors,
        setting.test[0],
        anomalies,
        X_fit=setting.fresh[0],
        protocol="C",
        **common,
    )
    if "A'" not in args.protocols.split(","):
        return known_nothing, Evaluation([]), anomalies
    learnt = evaluate(
        setting.model,
        learners,
        setting.test[0],
        {name: made for name, made in anomalies.items() if _size(made) >= 20},
        X_fit=setting.fresh[0],
        protocol="A'",
        **common,
    )
    return known_nothing, learnt, anomalies


def _size(anomalies):
    return len(getattr(anomalies, "X", anomalies))


def attack_knowingly(setting, seed, args):
    """Return how often attacks deceive the network and a detector together."""
    threat = setting.threat
    options = {"eps": threat.eps, "bounds": threat.bounds, "random_state": seed}
    if threat.n_steps:
        options["n_steps"] = threat.n_steps
    X, y = (part[: args.n_slow] for part in setting.attacked)
    # The network's own hash in its place, as joblib's depends on where tensors lie, and
    # what else of the setting the detectors take.
    shares = Memory(args.memory, verbose=0).cache(share_passed, ignore=["setting"])
    identity = network_identity(setting.model), setting.first_layer
    return {
        f"{name}, {how}": shares(
            setting, identity, name, how, setting.fresh[0], X, y, options
        )
        for name in ("recommended", "C: SVDD")
        for how in ("PGD", "adaptive PGD")
        if setting.kinds is None or "PGD" in setting.kinds
    }


def share_passed(setting, identity, name, how, X_fit, X, y, options):
    """Return the share of inputs that an attack lets pass network and detector."""
    # Of the held-out inputs, and of the noise that some are changed by.
    seeded = {"random_state": options["random_state"], "overwrite": True}
    detector = seed_estimator(list_detectors(setting)[name], **seeded).fit(X_fit)
    attack = pgd if how == "PGD" else partial(adaptive_pgd, detector=detector)
    result = attack(setting.model, X, y, **options)
    passed = detector.predict(result.X_adv) == 1
    return float(np.mean(passed & result.success))


# %%
# The page
# --------

READING = """\
AUROC in percent, mean ± standard deviation over seeds, each with a network of its own
if the accuracies below differ.
{few} Most kinds are attacks, some of them much alike
(BIM-b, IterLL, PGD), and a mean over kinds is mostly theirs. So there are means by
group, and one over groups, in which each group counts once: near data (TinyImageNet
and ImageNet beside CIFAR-10, Omniglot beside MNIST), far data, misclassified images,
noise, minimal attacks that end where the prediction changes (BIM-a, C&W, JSMA, B&B),
strong attacks (all others with gradients), changed inputs (noise in the ball, rotation,
negatives).
The group of each kind stands beside it below. The *regret* of a detector is by how many
points the best of the others is better at a kind, 0 if none is.

- Detectors are fitted on at most {n_fit} in-distribution inputs that the network was
  not trained on. Papers B and C fit theirs on inputs that it was trained on, B on
  correctly classified ones.
- No parameter was searched. C looks at the first layer and the logits; B has 100 bins;
  ODIN and Mahalanobis P take a step of 0.0014; ELO and the ensembles know no
  anomaly: ELO chooses its layer by some that it makes itself, uniform noise among
  them; the ensembles combine their layers as this library does without labels.
  Detectors of pytorch-ood have their defaults.
- Of attacks what deceives the network counts. Misclassified inputs are also among the
  in-distribution test inputs, as many as the accuracy tells.
{learning}- Seconds and memory are for orientation: others may have used the machine.
  Of detectors that share a pass through the network the first one bears its cost.
- `report.html` and `table.csv` in the folder of each network hold all metrics with 95 %
  intervals; their means and regrets count every kind.

{recommended}"""
LEARNING = """\
- Where other kinds are known (protocol A'), all have four fifths of the test inputs to
  fit on as well, paper A's classifier those alone, and the last fifth is judged. Of
  each known kind four fifths are learnt from. They were made from the same inputs as
  the kind that is judged, and attacks that are much alike are among them: an anomaly
  is hardly ever of a kind quite unknown there.
"""


def describe_attacks(made):
    """Return the rate of success and the cost of each attack as text."""
    heads = "| kind | group | anomalies | success | seconds |"
    lines = [heads, "|---|---|--:|--:|--:|"]
    for kind in made[0]:
        of_kind = [anomalies[kind] for anomalies in made]
        rates = [getattr(found, "success_rate", np.nan) for found in of_kind]
        seconds = [getattr(found, "seconds", np.nan) for found in of_kind]
        sizes = "/".join(str(_size(found)) for found in of_kind)
        rate = "-" if np.isnan(rates).all() else f"{100 * np.nanmean(rates):.1f} %"
        cost = "-" if np.isnan(seconds).all() else f"{np.nanmean(seconds):.0f}"
        lines.append(f"| {kind} | {of_kind[0].group} | {sizes} | {rate} | {cost} |")
    return "\n".join(lines)


def ranking(evaluation):
    """Return each detector's means by group, regrets, worst kind and false alarms."""
    counted = without_few(evaluation)
    areas = counted.summary().drop("mean")
    regrets = counted.regret().drop("mean")
    over = {
        "over groups": _mean_over_seeds(counted, "group"),
        "over kinds": _mean_over_seeds(counted, "kind"),
    }
    by_group = counted.summary(by="group")
    by_detector = evaluation.figures.groupby("detector", sort=False)
    alarms = by_detector["realised_fpr"].mean()
    order = by_group.loc["mean"].sort_values(ascending=False).index
    table = pd.DataFrame({name: means[order] for name, means in over.items()})
    table = table.join(by_group.drop("mean").T)
    table["mean regret"] = regrets.mean()
    for name, figures, where in (
        ("largest regret", regrets.max(), regrets.idxmax()),
        ("least", areas.min(), areas.idxmin()),
    ):
        table[name] = [f"{100 * figures[d]:.1f} ({where[d]})" for d in order]
    table["false alarms"] = [f"{100 * alarms[d]:.1f} %" for d in order]
    return as_markdown(table)


def _mean_over_seeds(evaluation, by):
    """Return the mean over kinds or groups of each detector as text."""
    mean, spread = (
        evaluation.summary(by=by, spread=wish).loc["mean"] for wish in (False, True)
    )
    return mean.combine(spread, with_spread)


def costs(evaluation):
    """Return seconds and memory per detector as text."""
    by_detector = evaluation.figures.groupby("detector", sort=False)
    table = by_detector[["fit_seconds", "score_seconds", "peak_memory_mb"]].mean()
    # For each kind the in-distribution inputs count again.
    table.columns = ["fit, s", "score, s", "memory, MB"]
    return as_markdown(table, percent=False)


def sections(names, args):
    """Yield the heading and text of each part of the page."""
    for name in names:
        settings, made, adaptive = [], [], []
        judged, learnt = Evaluation([]), Evaluation([])
        for seed in args.seeds:
            setting = load_setting(name, seed, args)
            one, two, anomalies = judge(setting, seed, args)
            judged, learnt = judged + one, learnt + two
            adaptive.append(attack_knowingly(setting, seed, args))
            settings.append(setting)
            made.append(anomalies)
        where = f"{settings[0].name}, {settings[0].network}"
        judged.write(args.output / f"all_detectors_{name}", title=where)
        yield (
            where,
            (
                f"{describe(settings)}\n\nNumbers of anomalies per seed, success and "
                f"seconds as means over the seeds:\n\n{describe_attacks(made)}"
            ),
        )
        counted, figure = without_few(judged), f"all_detectors_{name}.png"
        auroc = counted.summary().drop(index="mean")
        draw_heat_map(auroc, counted.groups, args.output / figure)
        yield (
            f"{where}: fitted on in-distribution inputs alone",
            f"![AUROC of each detector at each kind of anomaly]({figure})\n\n"
            + as_markdown(mean_and_spread(judged).T),
        )
        yield (
            f"{where}: means, and false alarms at a target of 5 %",
            "Mean AUROC over groups and over all kinds, and the means by group; the "
            "mean regret, and the largest with its kind; the kind with the least "
            "AUROC.\n\n" + ranking(judged),
        )
        yield f"{where}: costs", costs(judged)
        if learnt.results:
            yield (
                f"{where}: all other kinds of anomaly known (protocol A')",
                as_markdown(mean_and_spread(learnt)),
            )
        if not adaptive[0]:
            continue
        yield (
            f"{where}: attacks that know the detector",
            f"Share of at most {args.n_slow} attacked inputs that deceive network and "
            "detector together, per seed.\n\n"
            + "\n".join(
                f"- {row}: " + ", ".join(f"{found[row]:.0%}" for found in adaptive)
                for row in adaptive[0]
            ),
        )


def main(arguments=None):
    """Judge, write the page, and return its path."""
    # Kinds and detectors to leave out, for networks that are slow; data to judge beside
    # CIFAR-10, by their names in `load_dataset`.
    defaults = {
        "settings": "mnist-lenet,cifar-resnet20",
        "protocols": "C,A'",
        "without": "",
        "more": "",
    }
    args = read_options(__doc__, arguments, **defaults)
    names = args.settings.split(",")
    if args.data_dir is None:
        names = ["digits"]
    others = [name for name in names if not name.startswith("cifar-")]
    if args.more and others:
        raise ValueError(
            f"--more judges further images beside CIFAR-10 alone; got {args.more!r} "
            f"with --settings {', '.join(others)}. Leave these, or --more, out."
        )
    title = "Every detector against every anomaly"
    learning = LEARNING if "A'" in args.protocols.split(",") else ""
    facts = {"few": FEW, "recommended": RECOMMENDED, "n_fit": args.n_fit}
    reading = READING.format(learning=learning, **facts)
    parts = [("How to read it", reading), *sections(names, args)]
    return write_page("all_detectors.md", title, args, parts)


if __name__ == "__main__":
    main()
