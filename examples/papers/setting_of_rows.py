"""
A setting of rows: a network behind a scaler, on made-up measurements
=====================================================================

Rows that look like those of forest cover: heights, angles, distances, light, and kinds
of soil as columns of zeros and ones. They come out of scikit-learn's
``make_classification``, so that what a value may be is known. The network is trained
here. No rows chose the recommended detector.
"""

import numpy as np
from paper_training import load_network, save_network, train_network
from scipy.special import expit
from setting import Setting, anomaly_sets, is_right, threat
from sklearn.datasets import make_classification
from sklearn.preprocessing import StandardScaler
from torch import nn

# Nothing can be turned; B&B, made for images, finds one in twenty within its steps.
KINDS = (
    *("Gaussian noise", "uniform noise", "misclassified", "noise in ball", "FGSM"),
    *("BIM-a", "BIM-b", "IterLL", "PGD", "PGD L2", "T-SCE", "C&W", "JSMA"),
)
N_CLASSES, N_SOILS = 6, 4
# Number of columns of each unit.
HEIGHTS, ANGLES, DISTANCES, LIGHTS = 2, 3, 3, 2
ABOUT = """\
A perceptron (64 and 32 units), trained for each seed on 4000 rows of five classes; a
sixth is left out. Rows are made by scikit-learn's `make_classification`, other ones for
each seed, and given units: 2 heights in metres, 3 angles from 0 to 90 degrees, 3
distances above 0, 2 amounts of light from 0 to 255, and one of 4 soils as zeros and a
one. The network has them from a standard scaler, and attacks change them behind it, by
at most 0.1 standard deviations. **No rows chose the recommended detector.**

Kinds, made in the units: the class left out; heights in feet; each numeric column in
the place of the next; values that cannot be (angles and light above their largest
value, distances below 0), one of a row, drawn; two soils or none; each column drawn
from another row. "Gaussian noise" and "uniform noise" lie between the smallest and the
largest scaled value. Left out: feature squeezing, which is made for images."""


def perceptron():
    """Three linear layers, 5 classes."""
    layers = [nn.Linear(10 + N_SOILS, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, N_CLASSES - 1))


def load(seed, args):
    """Return a network trained on rows of five classes, and others."""
    X, y = measurements(seed)
    left_out, known = X[y == N_CLASSES - 1], y < N_CLASSES - 1
    X, y = X[known], y[known]
    sizes = [4000, args.n_fit, args.n_test, args.n_attack]
    rows = np.split(np.arange(len(X)), np.cumsum(sizes))
    scaler = StandardScaler().fit(X[rows[0]])

    def scaled(X):
        return scaler.transform(X).astype(np.float32)

    ours, fresh, test, attacked = ((scaled(X[part]), y[part]) for part in rows[:4])
    path = args.networks / f"rows-{seed}.safetensors"
    if not path.exists():
        args.networks.mkdir(parents=True, exist_ok=True)
        how = {"max_epochs": 20, "learning_rate": 2e-3, "random_state": seed}
        save_network(train_network(perceptron, *ours, **how), path)
    model = load_network(perceptron, path)
    rest, y_rest = scaled(X[rows[4]]), y[rows[4]]
    right = is_right(model, rest, y_rest)
    n, rng = args.n_anomalies, np.random.default_rng(seed)
    made = {}
    for group, kinds in wrong(X[rows[4]][:n], rng).items():
        kinds = {kind: scaled(found) for kind, found in kinds.items()}
        made |= anomaly_sets(group, kinds)
    everything = scaled(X)
    limits = float(everything.min()), float(everything.max())
    return Setting(
        "made-up rows",
        "perceptron",
        model,
        float(right.mean()),
        ours,
        fresh,
        test,
        attacked,
        {},
        threat(0.1, seed, args, bounds=limits),
        rest[~right][: args.n_mistakes or n],
        made=anomaly_sets("near data", {"class left out": scaled(left_out[:n])}) | made,
        kinds=KINDS,
        cannot=("feature squeezing",),
        first_layer="0",
        about=ABOUT,
    )


def measurements(seed, n_samples=14_000):
    """Return rows in their units, and classes."""
    Z, y = make_classification(
        n_samples,
        n_features=11,
        n_informative=9,
        n_redundant=2,
        n_classes=N_CLASSES,
        n_clusters_per_class=1,
        class_sep=1.5,
        flip_y=0.02,
        random_state=seed,
    )
    Z = (Z - Z.mean(0)) / Z.std(0)
    ends = np.cumsum([HEIGHTS, ANGLES, DISTANCES, LIGHTS])
    height, angle, distance, light, soil = np.split(Z, ends, axis=1)
    soils = np.digitize(soil[:, 0], [-0.7, 0.0, 0.7])
    columns = [2800 + 300 * height, 90 * expit(angle), np.exp(5 + distance)]
    return np.hstack([*columns, 255 * expit(light), np.eye(N_SOILS)[soils]]), y


def wrong(X, rng):
    """Return rows as they come out of mistakes, by group and name."""
    heights, soils, numeric = slice(HEIGHTS), slice(-N_SOILS, None), slice(-N_SOILS)
    feet, moved, impossible, unclear = (X.copy() for _ in range(4))
    feet[:, heights] /= 0.3048
    moved[:, numeric] = np.roll(X[:, numeric], 1, axis=1)
    column = rng.integers(HEIGHTS, X.shape[1] - N_SOILS, size=len(X))
    # Of angles and light nothing is above the largest; of distances all is above 0.
    sign = np.where((column >= 5) & (column < 8), -1, 1)
    largest = np.abs(X).max(axis=0)[column]
    impossible[np.arange(len(X)), column] = sign * 1.5 * largest
    unclear[:, soils] = (rng.random(len(X)) < 0.5)[:, None] * rolled_soils(X[:, soils])
    mixed = np.column_stack([rng.permutation(column) for column in X.T])
    return {
        "far data": {"columns moved": moved, "heights in feet": feet},
        "changed inputs": {"impossible values": impossible, "no or two soils": unclear},
        "noise": {"columns mixed": mixed},
    }


def rolled_soils(soils):
    """Return each soil and the next."""
    return soils + np.roll(soils, 1, axis=1)
