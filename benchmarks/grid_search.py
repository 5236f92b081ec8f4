"""What a grid search costs: features computed once, or a pipeline with ``memory``.

    python benchmarks/grid_search.py           # the table of RESULTS.md
    python benchmarks/grid_search.py --quick   # a tiny network, to see that it runs

50 candidates of a detector behind gradient features, three folds, refitted at the end,
in one process. "one feature pass" is a transform of all rows without a cache,
"detectors alone" the search over those features: their sum is what the plain way
costs. "search" is that over the whole pipeline with ``memory``, which passes each row
through the network once per fold that it is in, whatever the number of candidates.
"""

import argparse
import platform
import tempfile
import time

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from torch import nn
from torchvision import models

from skgrad import LODA, ConformalDetector, ConfoundingGradientTransformer
from skgrad.metrics import auroc_scorer
from skgrad.model_selection import NoveltyKFold


def make_network(name):
    """Return a network with random weights and the shape of its inputs."""
    torch.manual_seed(0)
    if name == "resnet18":
        net = models.resnet18(num_classes=10)
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1), nn.Identity()
        return net.eval(), (3, 32, 32)
    layers = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    layers += [nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 10)]
    return nn.Sequential(*layers).eval(), (1, 28, 28)


def seconds(work):
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# Detectors to search, each with a parameter and its range: a very quick one, and one
# of support vectors.
DETECTORS = {
    "LODA": (LODA(random_state=0), "n_cuts", (50, 150)),
    "one-class SVM": (
        ConformalDetector(
            make_pipeline(StandardScaler(), OneClassSVM()), random_state=0
        ),
        "detector__oneclasssvm__nu",
        (0.01, 0.5),
    ),
}


def compare(name, detector_name, n_samples, n_candidates):
    """Print one row of the table."""
    model, shape = make_network(name)
    generator = np.random.default_rng(0)
    X = generator.normal(size=(n_samples, *shape)).astype(np.float32)
    y = np.where(np.arange(n_samples) % 5 == 4, -1, 1)
    X[y == -1] *= 2
    gradients = ConfoundingGradientTransformer(model, log=True).fit(X)
    one_pass = seconds(lambda: gradients.transform(X))
    features = gradients.transform(X)
    detector, parameter, ends = DETECTORS[detector_name]
    values = np.linspace(*ends, n_candidates).tolist()
    values = [int(v) for v in values] if parameter == "n_cuts" else values
    how = {"scoring": auroc_scorer, "cv": NoveltyKFold(3), "error_score": "raise"}
    alone = GridSearchCV(detector, {parameter: values}, **how)
    detectors = seconds(lambda: alone.fit(features, y))
    with tempfile.TemporaryDirectory() as folder:
        cached = ConfoundingGradientTransformer(model, log=True, memory=folder)
        pipeline = Pipeline([("gradients", cached), ("detect", detector)])
        search = GridSearchCV(pipeline, {f"detect__{parameter}": values}, **how)
        total = seconds(lambda: search.fit(X, y))
    best = np.abs(search.best_score_ - alone.best_score_)
    ratio = total / (one_pass + detectors)
    times = " | ".join(f"{t:.1f} s" for t in (one_pass, detectors, total))
    what = f"{name}, {detector_name} | {n_samples}"
    print(f"| {what} | {times} | {ratio:.2f} | {best:.1e} |", flush=True)


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tiny setting")
    quick = parser.parse_args(arguments).quick
    print(f"torch {torch.__version__}, Python {platform.python_version()}\n")
    print(
        "| network, detector | rows | one feature pass | detectors alone | search "
        "| search / sum | difference of AUROC |"
    )
    print("|---" * 7 + "|")
    if quick:
        compare("lenet", "LODA", 240, 3)
        return
    compare("lenet", "LODA", 3000, 50)
    compare("lenet", "one-class SVM", 3000, 50)
    compare("lenet", "LODA", 10_000, 50)
    compare("resnet18", "LODA", 1500, 50)


if __name__ == "__main__":
    main()
