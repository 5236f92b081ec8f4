"""
Every detector against every anomaly
====================================

The recommended detector, those of the three papers and all baselines in one run, on
MNIST and on CIFAR-10 (JPEG). All are fitted on the same in-distribution inputs, which
the network was not trained on, and see no anomaly. A second table tells how detectors
do that learn from anomalies of other kinds, a third one how far an attack gets that
knows the detector.

    python examples/all_detectors.py --data-dir ~/data --networks networks
    python examples/all_detectors.py --quick          # digits, few images

It needs what ``train_networks.py`` wrote and ``pip install "skgrad[attacks,ood]"``.
A run that was stopped goes on where it stopped.
"""

from functools import partial

import experiments
import numpy as np
from experiments import as_markdown, describe, load_setting, mean_and_spread, write_page

from skgrad import (
    ConformalDetector,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad.attacks import adaptive_pgd, pgd
from skgrad.baselines import PyTorchOODDetector, make_baselines
from skgrad.evaluation import evaluate

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
OTHERS = {"KNN": {}, "ViM": {"d": 32}, "SHE": {}, "GEN": {}, "KLMatching": {}}


def list_detectors(model):
    """Return the detectors by name: ours, the papers', pytorch-ood's."""
    return {
        "recommended": make_recommended_detector(model),
        "B: LODA": make_geometric_gradient_detector(model),
        "C: SVDD": make_uniform_detector(model, "conv1"),
        **make_baselines(model),
        **{
            f"{name} of pytorch-ood": PyTorchOODDetector(model, name, options=options)
            for name, options in OTHERS.items()
        },
    }


def list_learners(model):
    """Return paper A's detector, which learns from anomalies, and ours beside it.

    Baselines that can learn from anomalies do so in ``paper_a.py`` and ``paper_c.py``;
    here each would pass all images through the network once per kind.
    """
    mlp = make_confounding_gradient_detector(model, log=True)
    return {
        "recommended": make_recommended_detector(model),
        "A: MLP": ConformalDetector(mlp),
    }


# %%
# One network
# -----------


def judge(setting, seed, args):
    """Return all detectors against all anomalies, and those that learn from them."""
    kinds = [kind for kind in KINDS if not (args.quick and kind in COMPILED)]
    anomalies = setting.anomalies(kinds, args)
    detectors, learners = list_detectors(setting.model), list_learners(setting.model)
    common = {"cache": args.cache, "seeds": [seed], "verbose": True, "on_step": print}
    known_nothing = evaluate(
        setting.model,
        detectors,
        setting.test[0],
        anomalies,
        X_fit=setting.fresh[0],
        protocol="C",
        **common,
    )
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
    rows = {}
    few = {"n_steps": 3} if args.quick else {}
    threat = setting.threat
    X, y = (part[: args.n_slow] for part in setting.attacked)
    common = {
        "eps": threat.eps,
        "bounds": threat.bounds,
        "random_state": seed,
        **few,
    }
    for name in ("recommended", "C: SVDD"):
        detector = list_detectors(setting.model)[name]
        detector.set_params(detect__random_state=seed).fit(setting.fresh[0])
        for how, attack in (
            ("PGD", pgd),
            ("adaptive PGD", partial(adaptive_pgd, detector=detector)),
        ):
            result = attack(setting.model, X, y, **common)
            passed = detector.predict(result.X_adv) == 1
            rows[f"{name}, {how}"] = float(np.mean(passed & result.success))
    return rows


# %%
# The page
# --------


def describe_attacks(made):
    """Return the rate of success and the cost of each attack as text."""
    lines = ["| kind | anomalies | success | seconds |", "|---|--:|--:|--:|"]
    for kind in made[0]:
        of_kind = [anomalies[kind] for anomalies in made]
        rates = [getattr(found, "success_rate", np.nan) for found in of_kind]
        seconds = [getattr(found, "seconds", np.nan) for found in of_kind]
        sizes = "/".join(str(_size(found)) for found in of_kind)
        rate = "-" if np.isnan(rates).all() else f"{100 * np.mean(rates):.1f} %"
        cost = "-" if np.isnan(seconds).all() else f"{np.mean(seconds):.0f}"
        lines.append(f"| {kind} | {sizes} | {rate} | {cost} |")
    return "\n".join(lines)


def costs(evaluation):
    """Return false alarms, seconds and memory per detector as text."""
    frame = evaluation.figures
    by_detector = frame.groupby("detector", sort=False)
    table = by_detector[["realised_fpr", "fit_seconds", "peak_memory_mb"]].mean()
    # Each kind counts the in-distribution inputs once more.
    table["score_seconds"] = by_detector["score_seconds"].mean()
    table["realised_fpr"] *= 100
    table["mean AUROC"] = 100 * evaluation.summary().loc["mean"]
    table["least AUROC"] = 100 * evaluation.summary().drop("mean").min()
    table = table.sort_values("mean AUROC", ascending=False)
    table.columns = [
        "false alarms, %",
        "fit, s",
        "memory, MB",
        "score, s",
        "mean AUROC",
        "least AUROC",
    ]
    return as_markdown(table, percent=False)


def sections(names, args):
    """Yield the heading and text of each part of the page."""
    for name in names:
        settings, judged, learnt, made, adaptive = [], None, None, [], []
        for seed in args.seeds:
            setting = load_setting(name, seed, args)
            one, two, anomalies = judge(setting, seed, args)
            judged = one if judged is None else judged + one
            learnt = two if learnt is None else learnt + two
            adaptive.append(attack_knowingly(setting, seed, args))
            settings.append(setting)
            made.append(anomalies)
        where = f"{settings[0].name}, {settings[0].network}"
        judged.write(args.output / f"all_detectors_{name}", title=where)
        yield where, f"{describe(settings)}\n\n{describe_attacks(made)}"
        yield (
            f"{where}: fitted on in-distribution inputs alone",
            "AUROC in percent, mean ± standard deviation over the seeds.\n\n"
            + as_markdown(mean_and_spread(judged).T),
        )
        yield f"{where}: false alarms at a target of 5 %, and costs", costs(judged)
        yield (
            f"{where}: all other kinds of anomaly known (protocol A')",
            as_markdown(mean_and_spread(learnt)),
        )
        yield (
            f"{where}: attacks that know the detector",
            "Share of images that deceive network and detector together, per seed.\n\n"
            + "\n".join(
                f"- {row}: " + ", ".join(f"{found[row]:.0%}" for found in adaptive)
                for row in adaptive[0]
            ),
        )


def main(arguments=None):
    """Judge, write the page, and return its path."""
    args = experiments.read_options(
        __doc__, arguments, settings="mnist-lenet,cifar-resnet20"
    )
    names = args.settings.split(",")
    if args.data_dir is None:
        names = ["digits"]
    title = "Every detector against every anomaly"
    return write_page("all_detectors.md", title, args, list(sections(names, args)))


if __name__ == "__main__":
    main()
