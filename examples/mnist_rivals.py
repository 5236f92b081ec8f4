"""
Every anomaly and every rival on MNIST
======================================

All anomalies that the three papers test, and all detectors that they compare with,
beside this library's own, on one network: two tables. The network is that of mnist.py;
the detectors are fitted on images that it was not trained on. Attacks start from test
images that the network classifies rightly, and those count that deceive it; other test
images are the in-distribution inputs.

    python examples/mnist_rivals.py --data-dir ~/data            # an hour on 2 cores
    python examples/mnist_rivals.py --data-dir ~/data --quick    # few images, few steps

The optional libraries come with ``pip install "skgrad[attacks,ood]"``.
"""

import argparse
import csv
import time
from functools import partial
from pathlib import Path

import numpy as np
from mnist import SHAPE, load_anomalies, load_mnist, train

from skgrad import (
    ConformalDetector,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad import attacks as at
from skgrad.baselines import PyTorchOODDetector, make_baselines
from skgrad.datasets import make_uniform_noise, split_mnist
from skgrad.metrics import auroc

# Paper B's for MNIST, in the maximum norm and in the Euclidean norm.
EPS, EPS_L2 = 0.3, 3.0
ADAPTIVE = "adaptive, "


# %%
# Anomalies
# ---------
# Attacks by name, as functions of the network, images and classes. The slow ones get
# fewer images. Steps, sizes and norms are the papers'.
def list_attacks(args, detectors):
    """Return the attacks, and the slow ones among them."""
    few = {"n_steps": 3} if args.quick else {}
    seeded = {"random_state": args.seed}
    targeted = {"target": "random", **seeded, **({"n_steps": 100} | few)}
    fast = {
        "noise in ball": partial(at.random_noise, eps=EPS, **seeded),
        "rotation": partial(at.rotate, **seeded),
        "semantic": at.semantic,
        "FGSM": partial(at.fgsm, eps=EPS),
        "BIM-a": partial(at.bim, eps=EPS, stop_at_success=True, **few),
        "BIM-b": partial(at.bim, eps=EPS, **few),
        "IterLL": partial(at.iterative_least_likely, eps=EPS, **few),
        "PGD Linf": partial(at.pgd, eps=EPS, **seeded, **few),
        "PGD L2": partial(at.pgd, eps=EPS_L2, norm="l2", **seeded, **few),
        "T-SCE": partial(at.pgd, eps=EPS, **targeted),
        "T-MSE": partial(at.pgd, eps=EPS, loss="mse", **targeted),
    }
    bethge = partial(at.brendel_bethge, **seeded, **few)
    adaptive = partial(at.adaptive_pgd, eps=EPS, **seeded, **few)
    wagner = {"binary_search_steps": 1, **few} if args.quick else {}
    slow = {
        "DeepFool": partial(at.foolbox_attack, attack="L2DeepFoolAttack", eps=EPS_L2),
        "C&W L2": partial(at.carlini_wagner, **seeded, **wagner),
        "B&B Linf": partial(bethge, norm="linf", eps=EPS),
        "B&B L2": partial(bethge, norm="l2", eps=EPS_L2),
        "JSMA": partial(at.jsma, gamma=0.02 if args.quick else 1.0, **seeded),
        "CSA": partial(at.cosine_similarity_attack, eps=EPS, **seeded, **few),
        **{
            f"{ADAPTIVE}{name}": partial(adaptive, detector=detectors[name])
            for name in ("C: SVDD", "recommended")
        },
    }
    if args.quick:  # compiling these takes longer than all the rest
        del slow["B&B Linf"], slow["B&B L2"]
    return fast, slow


def run_attacks(net, X, y, args, detectors):
    """Return the successful adversarial images by attack, and what they cost."""
    fast, slow = list_attacks(args, detectors)
    found, rows = {}, []
    for name, attack in {**fast, **slow}.items():
        n = args.n_slow if name in slow else args.n_attack
        start = time.perf_counter()
        result = attack(net, X[:n], y[:n])
        found[name] = result.X_adv[result.success]
        rows.append(describe(name, result, time.perf_counter() - start))
        print(f"{name}: {rows[-1]['success']:.1%}, {rows[-1]['seconds']:.0f} s")
        if name.startswith(ADAPTIVE):
            passed = detectors[name.removeprefix(ADAPTIVE)].predict(result.X_adv) == 1
            print(f"    deceived both: {np.mean(passed & result.success):.1%}")
    return found, rows


def describe(name, result, seconds):
    """Return one row of the table of attacks."""
    hit = result.success
    sizes = {
        size: float(np.median(getattr(result, size)[hit])) if hit.any() else np.nan
        for size in ("linf", "l2", "l0")
    }
    return {
        "attack": name,
        "n": len(hit),
        "success": float(hit.mean()),
        **sizes,
        "seconds": seconds,
    }


def other_anomalies(net, args):
    """Return data of other kinds, noise, and fooling images with their cost."""
    found, n, seed = load_anomalies(args), args.n_anomalies, args.seed
    start = time.perf_counter()
    X = make_uniform_noise(n, SHAPE, random_state=seed + 1)
    options = {"n_generations": 5, "confidence": 0.2} if args.quick else {}
    result = at.fooling_images(net, X, random_state=seed, **options)
    found["fooling images"] = result.X_adv[result.success]
    return found, [describe("fooling images", result, time.perf_counter() - start)]


# %%
# Detectors
# ---------
# Those that learn from anomalies learn from FGSM, as in paper C, on images of the
# fitting part; all others see none. Of pytorch-ood's some that go by other ideas.
def list_detectors(net, seed):
    """Return the detectors by name: ours, the papers', pytorch-ood's."""
    others = {"KNN": {}, "ViM": {"d": 64}, "SHE": {}, "GEN": {}, "KLMatching": {}}
    return {
        "recommended": make_recommended_detector(net, random_state=seed),
        "C: SVDD": make_uniform_detector(net, "conv1", random_state=seed),
        "B: LODA": make_geometric_gradient_detector(net, random_state=seed),
        **make_baselines(net, random_state=seed),
        **{
            f"{name} of pytorch-ood": PyTorchOODDetector(
                net, name, options=options, random_state=seed
            )
            for name, options in others.items()
        },
    }


def list_learners(net, seed):
    """Return the detectors that learn from known anomalies."""
    learners = make_baselines(net, learn_from_anomalies=True, random_state=seed)
    mlp = make_confounding_gradient_detector(net, random_state=seed)
    learners["A: MLP"] = ConformalDetector(mlp, random_state=seed)
    return {f"{name}, FGSM known": learner for name, learner in learners.items()}


def judge(detector, X_fit, y_fit, X_id, anomalies):
    """Return AUROC of each kind, the false-alarm rate and the time."""
    start = time.perf_counter()
    detector.fit(X_fit, y_fit)
    scores_id = detector.score_samples(X_id)
    row = {"false alarms": float((detector.predict(X_id) == -1).mean())}
    for kind, X in anomalies.items():
        if not len(X):  # no attack succeeded
            row[kind] = np.nan
            continue
        y = np.repeat([1, -1], [len(X_id), len(X)])
        row[kind] = auroc(y, np.concatenate([scores_id, detector.score_samples(X)]))
    # An adaptive attack aims at one detector, which the mean must not pay for.
    plain = [row[kind] for kind in anomalies if not kind.startswith(ADAPTIVE)]
    row["mean"] = float(np.nanmean(plain))
    return row | {"seconds": time.perf_counter() - start}


# %%
# The two tables
# --------------
def save(rows, path):
    """Write rows with the same keys as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def print_attacks(rows):
    """Print success rates, median sizes of the successful changes, and seconds."""
    print(f"\n{'attack':<16}{'n':>6}{'success':>9}", end="")
    print(f"{'Linf':>8}{'L2':>8}{'L0':>7}{'seconds':>9}")
    for row in rows:
        print(
            f"{row['attack']:<16}{row['n']:>6}{row['success']:>9.1%}"
            f"{row['linf']:>8.3f}{row['l2']:>8.2f}{row['l0']:>7.0f}"
            f"{row['seconds']:>9.1f}"
        )


def print_detectors(rows):
    """Print a line per kind of anomaly and a column per detector, some at a time."""
    kinds = [key for key in rows[0] if key not in ("detector", "seconds")]
    width = max(map(len, kinds)) + 2
    for start in range(0, len(rows), 4):
        block = rows[start : start + 4]
        print("\n" + " " * width + "".join(f"{r['detector']:>28}" for r in block))
        for kind in kinds:
            cells = "".join(f"{100 * row[kind]:>28.1f}" for row in block)
            print(f"{kind:<{width}}{cells}")


def load_network(X, y, X_test, y_test, args):
    """Train the network of mnist.py, and say how good it is."""
    net = train(X, y, max_epochs=5 if args.quick else 10, random_state=args.seed)
    print(
        f"Network: {net.score(X_test, y_test):.2%} accuracy on {len(X_test)} test "
        f"images (seed {args.seed})."
    )
    return net


def parse(arguments):
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("--data-dir", default="data", help="where the data are")
    parser.add_argument("--download", action="store_true", help="download what lacks")
    parser.add_argument("--output", default="rivals", type=Path, help="for CSV files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n-fit", type=int, default=6000, help="for the detectors")
    parser.add_argument("--n-test", type=int, default=2000, help="in-distribution")
    parser.add_argument("--n-anomalies", type=int, default=1000, help="of each kind")
    parser.add_argument("--n-attack", type=int, default=500, help="images to attack")
    parser.add_argument("--n-slow", type=int, default=100, help="with slow attacks")
    parser.add_argument("--quick", action="store_true", help="few images, few steps")
    args = parser.parse_args(arguments)
    if args.quick:
        args.n_fit, args.n_test = 300, 60
        args.n_anomalies = args.n_attack = args.n_slow = 30
    return args


def main(arguments=None):
    """Make the anomalies, fit and judge the detectors, print the tables."""
    args = parse(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    X, y, X_test, y_test = load_mnist(args.data_dir, download=args.download)
    max_train = 2000 if args.quick else None
    parts = split_mnist(
        len(X), n_fit=args.n_fit, max_train=max_train, random_state=args.seed
    )
    fit, train = parts.fit, parts.train
    net = load_network(X[train], y[train], X_test, y_test, args)

    X_id, sources = X_test[-args.n_test :], slice(0, -args.n_test)
    right = np.flatnonzero(net.predict(X_test[sources]) == y_test[sources])
    detectors = list_detectors(net, args.seed)
    for attacked in ("C: SVDD", "recommended"):
        detectors[attacked].fit(X[fit])
    attacked = X_test[right], y_test[right]
    adversarial, rows = run_attacks(net, *attacked, args, detectors)
    anomalies, of_fooling = other_anomalies(net, args)
    anomalies |= adversarial
    print_attacks(rows + of_fooling)
    save(rows + of_fooling, args.output / "attacks.csv")

    learners = list_learners(net, args.seed)
    if args.quick:
        for slowest in (detectors["KD+BU"], learners["KD+BU, FGSM known"]):
            slowest.set_params(n_passes=2)
    known = at.fgsm(net, X[fit], y[fit], eps=EPS)
    known = known.X_adv[known.success][: args.n_attack]
    both = np.concatenate([X[fit], known]), np.repeat([1, -1], [len(fit), len(known)])
    rows = []
    for name, detector in {**detectors, **learners}.items():
        data = both if name in learners else (X[fit], None)
        rows.append({"detector": name, **judge(detector, *data, X_id, anomalies)})
        print(f"{name}: mean {rows[-1]['mean']:.3f}, {rows[-1]['seconds']:.0f} s")
        save(rows, args.output / "detectors.csv")
    print_detectors(rows)


if __name__ == "__main__":
    main()
