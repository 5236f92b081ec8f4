"""
Paper C: one detector for all anomalies
=======================================

Redoes Tables 2 to 9 and Figure 7 of "A Uniform Framework for Anomaly Detection in Deep
Neural Networks" with LeNet on MNIST and ResNet-20 on CIFAR-10 (JPEG): the page
``paper_c.md`` has our figures beside the paper's. ``experiments.py`` says what it
needs.

    python examples/papers/paper_c.py --data-dir ~/data --networks networks
    python examples/papers/paper_c.py --quick    # digits alone, half a minute
"""

from dataclasses import dataclass, replace

import numpy as np
from experiment_pages import write_page
from experiments import Setting, load_setting, read_options
from outlier_exposure import fine_tune_with_outliers
from paper_c_tables import (
    ATTACKS,
    NOISE,
    draw_weights,
    make_sections,
    without_intervals,
)
from sklearn.preprocessing import minmax_scale

from skgrad import (
    LayerActivationTransformer,
    MostDiscriminativeLayer,
    PerClassSVDD,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad.baselines import ELO, make_baselines
from skgrad.datasets import load_dataset
from skgrad.evaluation import Evaluation, evaluate, make_anomalies
from skgrad.metrics import auroc, class_weighted

OURS, LEAKY = "uniform framework (C)", "C, authors' normalisation (leaks)"
QUICK_ATTACKS = ("FGSM", "BIM-a", "BIM-b")


# %%
# The most discriminative layer
# -----------------------------
# As the paper does it: seen inputs against one set of other data. A quarter of that
# set serves for the choice, and is not judged. The set comes in random order.


def choose_layer(setting, seed):
    """Return the choice, and the setting without the inputs that it was made by."""
    name, X = next(iter(setting.others.items()))
    mixed, judged = np.split(X, [len(X) // 4])
    y = np.repeat([1, -1], [len(setting.seen[0]), len(mixed)])
    choice = MostDiscriminativeLayer(setting.model, random_state=seed)
    choice.fit(np.concatenate([setting.seen[0], mixed]), y)
    return choice, replace(setting, others={**setting.others, name: judged})


# %%
# Detectors
# ---------
# By the names that they have among the published figures. In Tables 2 to 7 ODIN and
# Mahalanobis take no step before; that is Table 8.


def list_detectors(model, layer):
    """Return the detectors of Tables 2 to 4 and ours."""
    plain, learners = make_baselines(model), list_learners(model)
    return {
        "max softmax": plain["max softmax"],
        "ODIN": plain["ODIN"].set_params(eps=0.0),
        "Mahalanobis": plain["Mahalanobis"].set_params(layers="logits"),
        "ELO": ELO(model, layers=layer),
        **learners,
        OURS: make_uniform_detector(model, layer),
        "recommended": make_recommended_detector(model),
    }


def list_learners(model):
    """Return those that learn from known anomalies."""
    learners = make_baselines(model, learn_from_anomalies=True)
    # Without dropout in the network there is no uncertainty, the density alone.
    density = learners.get("KD+BU") or learners["KD"]
    return {"KD+BU": density, "LID": learners["LID"]}


def list_preprocessing(model):
    """Return the detectors of Table 8."""
    plain = make_baselines(model)
    maha = plain["Mahalanobis P"].set_params(layers="logits")
    return {"ODIN": plain["ODIN"], "Mahalanobis": maha}


# %%
# Judging
# -------


@dataclass
class Judged:
    """What one network with one seed gave."""

    seed: int
    setting: Setting
    mixed: str
    choice: MostDiscriminativeLayer
    anomalies: dict
    main: Evaluation
    curves: dict
    preprocessing: Evaluation | None = None
    attack_known: Evaluation | None = None


def judge(setting, seed, attacks, args, *, more=False):
    """Judge all detectors around a network; with ``more`` also Tables 8 and 9."""
    choice, setting = choose_layer(setting, seed)
    anomalies = setting.anomalies([*attacks, *NOISE], args)
    known = known_anomalies(setting, QUICK_ATTACKS if more else ["FGSM"], args)
    common = {"X_fit": setting.seen[0], "seeds": [seed], "memory": args.memory}
    model, X_test = setting.model, setting.test[0]
    detectors = list_detectors(model, choice.layer_)
    main = evaluate(
        model,
        detectors,
        X_test,
        anomalies,
        known_anomalies=known["FGSM"],
        verbose=True,
        **common,
    )
    scores = layer_scores(setting, choice.layer_, anomalies, seed, args)
    ours = [r for r in main.results if r.detector == OURS]
    main = without_intervals([*main.results, *(leaky(r, scores) for r in ours)])
    mixed = next(iter(setting.others))
    curves = weigh(ours, scores)
    judged = Judged(seed, setting, mixed, choice, anomalies, main, curves)
    if more:
        judged.preprocessing = evaluate(
            model, list_preprocessing(model), X_test, setting.others, **common
        )
        learners = list_learners(model)
        judged.attack_known = without_intervals(
            result
            for kind in QUICK_ATTACKS
            if len(known[kind].X)
            for result in evaluate(
                model,
                learners,
                X_test,
                {kind: anomalies[kind]},
                known_anomalies=known[kind],
                **common,
            ).results
        )
    return judged


def known_anomalies(setting, kinds, args):
    """Attack seen inputs, for those detectors that learn from anomalies."""
    X, y = (part[: args.n_attack] for part in setting.seen)
    return make_anomalies(
        setting.model, X, y, kinds, threat=setting.threat, memory=args.memory
    )


# %%
# Scores of the two layers
# ------------------------
# The score is a weighted sum of one per layer, so that all weights need but these.


def layer_scores(setting, layer, anomalies, seed, args):
    """Return the scores of the layer and of the logits, by kind; "" are test inputs."""
    activations = LayerActivationTransformer(
        setting.model, [layer, "logits"], memory=args.memory
    )
    features = activations.fit_transform(setting.seen[0])
    detector = PerClassSVDD(random_state=seed).fit(features)
    inputs = {"": setting.test[0]}
    inputs |= {kind: getattr(given, "X", given) for kind, given in anomalies.items()}
    scores = {}
    for kind, X in inputs.items():
        if len(X):
            scores[kind] = detector.block_scores(activations.transform(X))
    return scores


def labelled(result, scores):
    """Return labels, predicted classes and the scores of both layers of a kind."""
    both = np.concatenate([scores[""], scores.get(result.anomaly, np.empty((0, 2)))])
    classes = np.concatenate([result.classes_id, result.classes_anomaly])
    y = np.repeat([1, -1], [len(scores[""]), len(both) - len(scores[""])])
    return y, classes, both


def weigh(results, scores):
    """Return the AUROC at each weight of the logits, by kind: Figure 7."""
    curves = {}
    for result in results:
        y, classes, both = labelled(result, scores)
        if (y == -1).any():
            curves[result.anomaly] = {
                weight: class_weighted(auroc, y, both @ [1 - weight, weight], classes)
                for weight in np.linspace(0, 1, 11).round(1).tolist()
            }
    return curves


def leaky(result, scores):
    """Scale the scores of each class and layer over the test set and its anomalies.

    The authors' code does so. No detector in use could: what one input gets depends on
    which anomalies come with it.
    """
    y, classes, both = labelled(result, scores)
    for label in np.unique(classes):
        both[classes == label] = minmax_scale(both[classes == label])
    total = both.mean(axis=1)
    return replace(
        result,
        detector=LEAKY,
        scores_id=total[y == 1],
        scores_anomaly=total[y == -1],
        offset=float(np.quantile(total[y == 1], 0.05)),
        rejected_id=None,
        rejected_anomaly=None,
    )


# %%
# Outlier exposure
# ----------------
# Two passes over the inputs that detectors are fitted on, and twice as many images of
# TinyImageNet, in grey for MNIST; the paper has 50,000, for MNIST letters of E-MNIST.


def expose(setting, seed, args):
    """Return the setting with a network fine-tuned to doubt outliers."""
    X, y = setting.seen
    if setting.name == "digits":  # nothing else is embedded: their pixels, shuffled
        rng = np.random.default_rng(seed)
        outliers = rng.permuted(X.reshape(len(X), -1), axis=1).reshape(X.shape)
    else:
        outliers = load_dataset(
            "tiny-imagenet",
            data_dir=args.data_dir,
            split="train",
            shape=X.shape[1:],
            n_samples=2 * len(X),
            random_state=seed,
            memory=str(args.networks / "cache"),
        ).X
    print(f"fine-tuning with {len(outliers)} outliers")
    net = fine_tune_with_outliers(
        setting.model, X, y, outliers, max_epochs=2, random_state=seed
    )
    accuracy = float(net.score(*setting.test))
    network = f"{setting.network}, outlier exposure"
    model = net.module_.eval()
    return replace(setting, model=model, network=network, accuracy=accuracy)


# %%
# The page
# --------


def main(arguments=None):
    """Judge everything and write the page."""
    args = read_options(__doc__, arguments, settings="mnist-lenet,cifar-resnet20")
    embedded = args.quick and not args.data_dir
    names = ["digits"] if embedded else args.settings.split(",")
    plain, exposed = [], []
    for name in names:
        plain.append([])
        exposed.append([])
        for seed in args.seeds:
            print(f"{name}, seed {seed}")
            setting = load_setting(name, seed, args)
            tables_8_and_9 = name != "mnist-lenet"  # the paper has none of LeNet
            judged = judge(setting, seed, ATTACKS, args, more=tables_8_and_9)
            plain[-1].append(judged)
            tuned = expose(setting, seed, args)
            judged = judge(tuned, seed, QUICK_ATTACKS, args)
            exposed[-1].append(judged)
    figure = args.output / "paper_c_weights.png"
    draw_weights(plain, figure)
    title = "Paper C: a uniform framework for anomaly detection"
    sections = make_sections(plain, exposed, figure.name)
    return write_page("paper_c.md", title, args, sections)


if __name__ == "__main__":
    main()
