"""
Networks to judge detectors on
==============================

Each network is trained once per seed and written as a safetensors file, such as
``lenet-0.safetensors``, beside a table of accuracies. What is already there is not
trained again, so a run that was stopped goes on.

    python examples/papers/train_networks.py --data-dir ~/data --output nets
    python examples/papers/train_networks.py --networks lenet ecg --seeds 0
    python examples/papers/train_networks.py --quick        # few images, one epoch

========  =====================  ============================================
name      network                data
========  =====================  ============================================
lenet     LeNet, paper C         MNIST: 50,000 training images
cnn       MNISTNetwork, paper B  the same
resnet20  CifarResNet(20)        CIFAR-10 (JPEG), from the public weights
                                 ``weights/cifar10_resnet20.safetensors``
ecg       ECGNetwork, paper B    ECG5000: 200 of the 500 series with classes
========  =====================  ============================================

The parts of the data that the networks see are those of ``data_splits.split_mnist``
and ``split_ecg``; the detectors get others. ResNet-20 sees all training images.
"""

import argparse
import csv
import os
import time
from functools import partial
from pathlib import Path

from data_splits import split_ecg, split_mnist
from paper_networks import CifarResNet, ECGNetwork, LeNet, MNISTNetwork
from paper_training import crop_and_flip, load_network, save_network, train_network

from skgrad.datasets import load_dataset

# %%
# Data
# ----
# Each function returns training and test inputs with their classes.


def load_mnist(args, seed):
    """Return the network's share of the training images, and the test images."""
    data = args.load("mnist", split="train")
    n_fit = 300 if args.quick else 6000
    rows = split_mnist(len(data.X), n_fit=n_fit, random_state=seed).train
    test = args.load("mnist", split="test")
    return data.X[rows], data.y[rows], test.X, test.y


def load_cifar(args, seed):
    """Return all training and all test images."""
    data, test = (args.load("cifar-10-jpeg", split=s) for s in ("train", "test"))
    return data.X, data.y, test.X, test.y


def load_ecg(args, seed):
    """Return the network's share of the series, and the judge's."""
    data = args.load("ecg5000", split="train")
    parts = split_ecg(data.y, random_state=seed)
    rows, others = parts.train, parts.test
    return data.X[rows], data.y[rows], data.X[others], data.y[others]


# %%
# Networks
# --------
# Paper B trains with Nesterov momentum; its rate of 0.1 for ten epochs becomes a cosine
# over three. The public ResNet knows CIFAR-10 and learns here to see through JPEG.


def start_resnet(args):
    """Return ResNet-20 as trained by others on the original CIFAR-10."""
    path = args.data_dir / "weights" / "cifar10_resnet20.safetensors"
    return load_network(CifarResNet, path)


smoothly = {"schedule": "smooth cosine"}
NETWORKS = {
    "lenet": (
        load_mnist,
        lambda args: LeNet,
        {"max_epochs": 4, "learning_rate": 2e-3, **smoothly},
    ),
    "cnn": (
        load_mnist,
        lambda args: MNISTNetwork,
        {"max_epochs": 3, "learning_rate": 0.1, "optimizer": "sgd", **smoothly},
    ),
    "resnet20": (
        load_cifar,
        start_resnet,
        {
            "max_epochs": 1,
            "learning_rate": 0.02,
            "optimizer": "sgd",
            "augment": crop_and_flip,
            **smoothly,
        },
    ),
    "ecg": (
        load_ecg,
        lambda args: ECGNetwork,
        {
            "max_epochs": 60,
            "learning_rate": 0.01,
            "batch_size": 32,
            "optimizer": "sgd",
            "schedule": "steps",
        },
    ),
}


def train_one(name, seed, args):
    """Train and save one network; return its line of the table."""
    load, start, settings = NETWORKS[name]
    X, y, X_test, y_test = load(args, seed)
    if args.quick:
        settings = {**settings, "max_epochs": 1}
        X, y, X_test, y_test = X[:300], y[:300], X_test[:100], y_test[:100]
    started = time.perf_counter()
    net = train_network(
        start(args),
        X,
        y,
        random_state=seed,
        device=args.device,
        verbose=args.verbose,
        **settings,
    )
    seconds = time.perf_counter() - started
    save_network(net, args.output / f"{name}-{seed}.safetensors")
    return {
        "network": name,
        "seed": seed,
        "accuracy": f"{net.score(X_test, y_test):.4f}",
        "n_train": len(X),
        "n_test": len(X_test),
        "epochs": settings["max_epochs"],
        "seconds": f"{seconds:.0f}",
    }


# %%
# The table
# ---------


def read_table(path):
    """Return the lines that earlier runs have written."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(lines, path):
    """Write the lines beside the table and move them into place."""
    temporary = path.with_suffix(".part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    temporary.replace(path)


def main(arguments=None):
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("SKGRAD_DATA"))
    parser.add_argument("--download", action="store_true", help="download what lacks")
    parser.add_argument("--output", type=Path, default=Path("networks"))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="few images, one epoch")
    parser.add_argument("--verbose", action="store_true", help="a line per epoch")
    args = parser.parse_args(arguments)
    if args.data_dir is None:
        parser.error("--data-dir must be given, or SKGRAD_DATA set")
    args.output.mkdir(parents=True, exist_ok=True)
    args.load = partial(
        load_dataset,
        data_dir=args.data_dir,
        download=args.download,
        memory=str(args.output / "cache"),
    )
    table = args.output / "accuracies.csv"
    for seed in args.seeds:
        for name in args.networks:
            if (args.output / f"{name}-{seed}.safetensors").exists():
                continue
            line = train_one(name, seed, args)
            old = [
                other
                for other in read_table(table)
                if (other["network"], other["seed"]) != (name, str(seed))
            ]
            write_table([*old, line], table)
            print(*(f"{key}: {value}" for key, value in line.items()), flush=True)


if __name__ == "__main__":
    main()
