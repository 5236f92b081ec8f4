"""Why the figures of paper B do not come out: one thing varied at a time.

    python benchmarks/geometric_reproduction.py --data-dir DIR --output OUT  # 35 min
    python benchmarks/geometric_reproduction.py --quick                      # 1 min

DIR holds MNIST/raw, the image folders fashion-mnist-900 and omniglot-small and, for the
section "cifar", cifar10-jpeg and weights/cifar10jpeg_resnet20.safetensors. Without
--data-dir the digits of scikit-learn take their place. OUT receives ``records.csv``,
one row per figure, and ``tables.md``. --sections and --networks pick parts of it.

The reference: a LeNet (small, so that much can be varied), trained on 30,000 images for
4 epochs; ten statistics of signed cosines, standardised; LODA with 100 cuts and 100
bins, fitted on correctly classified training images. Judged by AUROC on validation
images; only the section "final" takes test images, other halves of the other data sets
and other seeds.
"""

import argparse
import time
from functools import cache, partial
from pathlib import Path

import geometric_reproduction_networks as parts
import numpy as np
import torch
from geometric_reproduction_detectors import (
    DETECTORS,
    GRADIENTS,
    REFERENCE,
    features_of,
    supervised,
)
from geometric_reproduction_tables import Record, write
from sklearn.model_selection import cross_val_predict

from skgrad import attacks as at
from skgrad.metrics import auroc, tnr_at_tpr

# name: (network, training); what is not named is as in the reference.
NETWORKS = {
    "reference": ({}, {}),
    "paper B's": ({"kind": "paper"}, {"n": 20_000}),
    "batch normalisation": ({"norm": True}, {}),
    "examples/papers/mnist.py": (
        {"kind": "example", "norm": True, "dropout": 0.5},
        {"adam": True, "lr": 2e-3},
    ),
    "1 epoch": ({}, {"epochs": 1}),
    "weight decay 1e-3": ({}, {"decay": 1e-3}),
    "standardised inputs": ({"standardised": True}, {}),
    "four times as wide": ({"width": 4}, {}),
    "strides, not pooling": ({"stride": 2}, {}),
    "Softplus, not ReLU": ({"activation": torch.nn.Softplus}, {}),
    "dropout 0.5": ({"dropout": 0.5}, {}),
    "rate 0.01": ({}, {"lr": 0.01}),
    "all images, 10 epochs": ({}, {"epochs": 10, "n": None}),
    "shifted images": ({}, {"augment": parts.shifted}),
    "paper B's, batch normalisation": ({"kind": "paper", "norm": True}, {"n": 20_000}),
    "paper B's, all images, 10 epochs": (
        {"kind": "paper"},
        {"epochs": 10, "n": None, "lr": 0.1, "batch": 128},
    ),
}
# Settings of the last table: gradients and detector.
FINAL = {
    "paper": ({}, REFERENCE),
    "authors' code": (GRADIENTS["authors' code: logits scaled to 10"], REFERENCE),
    "mean of S1": ({}, "mean of S1, the lower the worse"),
    "not signs": ({"sign": False}, REFERENCE),
    "Gaussian per class": ({}, "Gaussian per class"),
    "not signs, Gaussian per class": ({"sign": False}, "Gaussian per class"),
    "not signs, all cosines, Gaussian per class": (
        {"sign": False},
        "all cosines, Gaussian per class",
    ),
}


class Experiment:
    """Keeps networks and features, so that sections share them."""

    def __init__(self, args):
        load = partial(parts.load_mnist, args.data_dir) if args.data_dir else None
        self.load = cache(load or parts.load_digits)
        self.args, self.records, self.notes = args, [], []
        self.network, self.sets = cache(self.network), cache(self.sets)

    def network(self, name, seed=0):
        """Train a network, the same for the same seed."""
        how, training = NETWORKS[name]
        options = {"epochs": 4, "n": 30_000, "seed": seed, **training}
        if not self.args.data_dir:
            options["epochs"] *= 10
        (X, y), n = self.load("validation").train, options.pop("n")
        torch.manual_seed(seed)
        net = parts.make_network(X.shape[2], **how)
        order = np.random.default_rng(seed).permutation(len(X))[:n]
        if name == "examples/papers/mnist.py" and self.args.state_dict:
            net = parts.load_by_order(net, self.args.state_dict)
        else:
            net = parts.train(net, X[order], y[order], **options)
        V, y_true = self.load("validation").judged
        logits = parts.logits_of(net, V)
        top = np.sort(logits.astype(float), axis=1)
        self.note(
            f"{name}, seed {seed}: {np.mean(logits.argmax(1) == y_true):.2%} right, "
            f"median largest logit less second {np.median(top[:, -1] - top[:, -2]):.1f}"
        )
        return net, order

    def sets(self, name, seed=0, split="validation"):
        """Return the inputs to fit on and to judge, by kind."""
        net, order = self.network(name, seed)
        source, n = self.load(split), self.args.n_anomalies
        X, y = source.train
        rows = order[: self.args.n_fit]
        right = parts.logits_of(net, X[rows]).argmax(1) == y[rows]
        kinds = parts.anomalies(net, source, n, seed + 100 * (split == "test"))
        known = source.judged[0][: self.args.n_test]
        return {"fit": X[rows][right], "known": known, **kinds}

    def chosen(self, names):
        """Return the networks asked for, else these; one in a quick run."""
        return self.args.networks or list(names)[: 1 if self.args.quick else None]

    def note(self, line):
        """Print a line, and keep it for the file."""
        print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)
        self.notes.append(line)

    def record(self, where, variation, known, found, mean_s1=None):
        """Turn scores of known inputs and of each kind into records."""
        (section, network, seed), mean_s1 = where, mean_s1 or {}
        for kind, scores in {"known": known, **found}.items():
            if len(scores):
                y = np.repeat([1, -1], [len(known), len(scores)])
                both = np.concatenate([known, scores])
                row = (section, network, variation, seed, kind, len(scores))
                figures = (auroc(y, both), tnr_at_tpr(y, both))
                median = mean_s1.get(kind, np.nan)
                self.records.append(Record(*row, *figures, median))

    def judge(self, where, variation, features, detector=REFERENCE, fit=None):
        """Fit a detector and record how it judges each kind."""
        select, make = DETECTORS[detector]
        estimator = make(where[2]).fit(select(fit or features["fit"]))
        scores = {k: estimator.score_samples(select(f)) for k, f in features.items()}
        medians = {k: np.median(f.ten[:, 0]) for k, f in features.items()}
        found = {k: s for k, s in scores.items() if k not in ("fit", "known")}
        self.record(where, variation, scores["known"], found, medians)
        write(self, self.args.output)

    def features(self, name, seed=0, split="validation", **options):
        """Return the features of all sets."""
        net, sets = self.network(name, seed)[0], self.sets(name, seed, split)
        return {k: features_of(net, X, **options) for k, X in sets.items() if len(X)}


# Sections
def networks(experiment):
    """Vary the network and its training; tell what its features could tell at most."""
    for name in experiment.chosen(NETWORKS):
        features = experiment.features(name)
        experiment.judge(("networks", name, 0), REFERENCE, features)
        judge_supervised(experiment, name, features)


def judge_supervised(experiment, name, features):
    """Judge classifiers that know the anomalies, by five folds."""
    known, where = features["known"].ten, ("information", name, 0)
    for kind in features:
        if kind in ("fit", "known"):
            continue
        X = np.concatenate([known, features[kind].ten])
        y = np.repeat([1, 0], [len(known), len(X) - len(known)])
        for bound, model in supervised().items():
            p = cross_val_predict(model, X, y, cv=5, method="predict_proba")[:, 1]
            experiment.record(where, bound, p[y == 1], {kind: p[y == 0]})


def gradients(experiment):
    """Vary how the matrices are computed."""
    for name in experiment.chosen(["reference", "paper B's"]):
        for variation, options in GRADIENTS.items():
            features = experiment.features(name, **options)
            experiment.judge(("gradients", name, 0), variation, features)
            own = {
                kind: np.mean(
                    f.matrices[np.arange(len(f.logits)), *2 * [f.predicted]] == 0
                )
                for kind, f in features.items()
            }
            if max(own.values()) > 0.001:
                shares = ", ".join(f"{kind} {share:.0%}" for kind, share in own.items())
                experiment.note(f"{name}, {variation}: map of predicted is 0: {shares}")


def detectors(experiment):
    """Vary statistics and detector."""
    for name in experiment.chosen(["reference", "batch normalisation"]):
        features = experiment.features(name)
        for detector in DETECTORS:
            experiment.judge(("detectors", name, 0), detector, features, detector)


def fits(experiment):
    """Vary what the detector is fitted on, and which known inputs count."""
    where, features = ("fits", "reference", 0), experiment.features("reference")
    net, order = experiment.network("reference")
    source, n_fit = experiment.load("validation"), experiment.args.n_fit
    for which, (X, y), rows in (
        ("trained on", source.train, order[:n_fit]),
        ("unseen", source.unseen, slice(n_fit)),
    ):
        every = features_of(net, X[rows])
        right = every.predicted == y[rows]
        for what, fit in (("all", every), ("correct", every.take(right))):
            name = f"fitted on images {which}, {what}"
            experiment.judge(where, name, features, fit=fit)
    fewer = features["fit"].take(slice(n_fit // 5))
    experiment.judge(where, "fitted on a fifth as many", features, fit=fewer)
    known = features["known"]
    right = known.predicted == source.judged[1][: len(known.logits)]
    only = {**features, "known": known.take(right)}
    experiment.judge(where, "judged on correct images alone", only)


def kinds(experiment):
    """Vary the anomalies."""
    n = experiment.args.n_anomalies
    for name in experiment.chosen(["reference"]):
        net, _ = experiment.network(name)
        X, y = experiment.load("validation").judged
        right = parts.logits_of(net, X).argmax(1) == y
        # Those that the reference set of anomalies starts from.
        later = right & (np.arange(len(X)) >= len(X) // 2)
        found = parts.anomaly_variants(net, X[later], y[later], n, 0)
        found["misclassified"] = X[~right][:n]
        features = experiment.features(name)
        more = {k: features_of(net, A) for k, A in found.items() if len(A) > 4}
        experiment.judge(("kinds", name, 0), REFERENCE, {**features, **more})


def final(experiment):
    """Judge a few settings on what chose none of them."""
    for name in experiment.chosen(["reference"]):
        for seed in range(1, 1 + experiment.args.seeds):
            made = {}
            for variation, (options, detector) in FINAL.items():
                key = str(options)
                if key not in made:
                    made[key] = experiment.features(name, seed, "test", **options)
                where = ("final", name, seed)
                experiment.judge(where, variation, made[key], detector)


def cifar(experiment):
    """Glance at CIFAR-10 (JPEG), test images 000-799 of each class alone."""
    from recommended_settings import CifarResNet, load_network
    from recommended_settings import read_images as read

    root = Path(experiment.args.data_dir)
    net = load_network(CifarResNet, root / "weights/cifar10jpeg_resnet20.safetensors")
    folders = sorted((root / "cifar10-jpeg/test").iterdir())
    images = [read(folder, "0[0-7]*.jpg", "RGB", 40) for folder in folders]
    X, y = torch.cat(images).numpy(), np.repeat(np.arange(10), 40)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    seen = read(root / "cifar10-jpeg/train", "*/*.jpg", "RGB", 400).numpy()
    tiny = read(root / "tiny-imagenet32-jpeg/train", "*/*.jpg", "RGB", 80).numpy()
    right = parts.logits_of(net, X[200:]).argmax(1) == y[200:]
    X_right, y_right = X[200:][right], y[200:][right]
    attack = at.pgd(net, X_right[:40], y_right[:40], eps=8 / 255, random_state=0)
    turned = at.rotate(net, X_right, y_right, random_state=0)
    sets = {"fit": seen, "known": X[:200], "TinyImageNet": tiny}
    sets |= parts.noises(80, X.shape[1:], 0)
    sets |= {
        "rotation": turned.X_adv[turned.success],
        "PGD": attack.X_adv[attack.success],
    }
    where = ("cifar", "ResNet-20", 0)
    names = "reference: signs, exact", "authors' code: logits scaled to 10"
    tries = {name: GRADIENTS[name] for name in names}
    tries["maximum over channels"] = {"channel_reduction": "max"}
    for variation, options in tries.items():
        found = {k: features_of(net, A, **options) for k, A in sets.items()}
        for detector in ("500 bins", "mean of S1, the lower the worse"):
            experiment.judge(where, f"{variation}, {detector}", found, detector)


def attack(experiment):
    """Vary the cosine similarity attack; the share of successes is the figure."""
    X, y = experiment.load("validation").judged
    n, steps = (10, 3) if experiment.args.quick else (20, 100)
    reference = {"softplus_beta": 10.0, "cosine_weight": 0.8}
    tries = {
        "beta 10, weight 0.8": {},
        "beta 1 (torch's default)": {"softplus_beta": 1.0},
        "beta 100": {"softplus_beta": 100.0},
        "weight 1": {"cosine_weight": 1.0},
    }
    for name in experiment.chosen(["reference", "batch normalisation"]):
        net, _ = experiment.network(name)
        right = parts.logits_of(net, X).argmax(1) == y
        for variation, options in tries.items():
            result = at.cosine_similarity_attack(
                net, X[right][:n], y[right][:n], eps=parts.EPS, n_steps=steps,
                random_state=0, **{**reference, **options},
            )  # fmt: skip
            ten = features_of(net, result.X_adv).ten[:, 0]
            experiment.note(
                f"CSA, {name}, {variation}: {result.success.mean():.0%} of {n} "
                f"succeed, median mean of S1 {np.median(ten):.2f}"
            )


SECTIONS = {
    f.__name__: f
    for f in (gradients, kinds, detectors, fits, attack, networks, final, cifar)
}


def main(arguments=None):
    """Run the sections asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", help="where the data are; none: digits")
    parser.add_argument("--output", help="folder for records.csv and tables.md")
    parser.add_argument("--state-dict", help="weights of the network of mnist.py")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, help="only these")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--seeds", type=int, default=3, help="of the section final")
    parser.add_argument("--n-fit", type=int, default=1000, help="for the detectors")
    parser.add_argument("--n-test", type=int, default=500, help="known images")
    parser.add_argument("--n-anomalies", type=int, default=300, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="few networks, few images")
    args = parser.parse_args(arguments)
    if args.quick:
        args.n_fit, args.n_test, args.n_anomalies, args.seeds = 300, 150, 40, 1
    experiment = Experiment(args)
    for section in args.sections:
        if section == "cifar" and not args.data_dir:
            continue
        SECTIONS[section](experiment)
    print(write(experiment, args.output))


if __name__ == "__main__":
    main()
