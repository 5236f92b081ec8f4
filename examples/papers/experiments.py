"""
What the scripts that redo the papers' experiments share
========================================================

Options and the networks with their data; ``experiment_pages.py`` writes the results.
Other kinds of inputs have files of their own, such as ``setting_of_text.py``.
The scripts are ``paper_a.py``, ``paper_b.py``, ``paper_b_landscape.py``, ``paper_c.py``
and ``all_detectors.py``; they need what ``train_networks.py`` writes::

    python examples/papers/train_networks.py --data-dir ~/data --output networks
    python examples/papers/paper_c.py --data-dir ~/data --networks networks

Data as ``skgrad.datasets.load_dataset`` finds them; CIFAR-10 (JPEG) is CIFAR-10, every
image encoded as JPEG. With ``--quick`` the scripts run on few digits of scikit-learn
when there is no ``--data-dir``.
"""

import argparse
import os
import shlex
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from data_splits import split_ecg, split_mnist
from paper_networks import (
    CifarResNet,
    CifarResNet18,
    ECGNetwork,
    LeNet,
    MNISTNetwork,
)
from paper_training import load_network
from setting import Setting, is_right, threat

from skgrad.datasets import load_dataset, load_digits_images
from skgrad.evaluation import train_digits_network

# %%
# Options
# -------


def read_options(description, arguments=None, **defaults):
    """Read the command line that all scripts share.

    Keyword arguments are other defaults, and further options of one script.
    """
    # Shortened options would escape `_without_folders`.
    parser = argparse.ArgumentParser(
        description=description.strip().split("\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("--data-dir", type=Path, default=os.environ.get("SKGRAD_DATA"))
    add("--download", action="store_true", help="download what lacks")
    add("--networks", type=Path, default=Path("networks"), help="trained networks")
    add("--output", type=Path, default=Path("results"), help="for the pages")
    add("--memory", default="cache", help="features and scores")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--n-fit", type=int, default=2000, help="inputs to fit detectors on")
    add("--n-test", type=int, default=1000, help="in-distribution test inputs")
    add("--n-anomalies", type=int, default=500, help="of other data sets")
    add("--n-attack", type=int, default=200, help="inputs to attack, and of noise")
    add("--n-slow", type=int, default=40, help="inputs for slow attacks")
    add("--n-mistakes", type=int, default=0, help="0: those among the attacked ones")
    add("--quick", action="store_true", help="few inputs, few steps, one seed")
    for name, value in defaults.items():
        flag = "--" + name.replace("_", "-")
        if flag not in parser._option_string_actions:
            add(flag, type=type(value), default=value)
    parser.set_defaults(**defaults)
    args = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    args.command = _without_folders([sys.argv[0], *words])
    if args.quick:
        args.seeds = args.seeds[:1]
        # A fifth of four fifths must hold 19, the fewest for 5 % of alarms.
        args.n_fit, args.n_test, args.n_anomalies = 200, 120, 30
        args.n_attack, args.n_slow = 30, 10
    args.output.mkdir(parents=True, exist_ok=True)
    return args


def _without_folders(argv):
    """Return the command for the page, without where things lie on this machine."""
    command = [f"examples/papers/{Path(argv[0]).name}"]
    folders = {"--data-dir": "DIR", "--networks": "", "--memory": "", "--output": ""}
    words = iter(argv[1:])
    for word in words:
        option, with_value, _ = word.partition("=")
        if option not in folders:
            command.append(word)
            continue
        if not with_value:
            next(words, None)
        if folders[option]:
            command += [option, folders[option]]
    return shlex.join(command)


# %%
# Networks and their data
# -----------------------


def load_setting(name, seed, args):
    """Return a network and its data.

    ``name`` is one of mnist-lenet, mnist-cnn, cifar-resnet20, cifar-resnet56,
    cifar-resnet18, ecg, imagenet-lite0, imagenet-lite2, text, speech, rows, or digits,
    which needs no data.
    """
    if name in SETTINGS:
        return SETTINGS[name](name, seed, args)
    # Read late: each imports this file, and packages that the others do not need.
    kind, _, network = name.partition("-")
    options = {"network": network} if network else {}
    return import_module(f"setting_of_{kind}").load(seed, args, **options)


def _loader(args):
    return partial(
        load_dataset,
        data_dir=args.data_dir,
        download=args.download,
        memory=str(args.networks / "cache"),
    )


DATA = {
    "TinyImageNet": "tiny-imagenet",
    "Fashion-MNIST": "fashion-mnist",
    "Omniglot": "omniglot",
}


def _others(names, shape, seed, args):
    """Draw other data by their names in tables."""
    sizes = {"n_samples": args.n_anomalies, "random_state": seed, "shape": shape}
    return {name: _loader(args)(DATA[name], **sizes).X for name in names}


def _parts(X, y, sizes, seed):
    """Cut random parts of the given sizes, none of an input twice."""
    order = np.random.default_rng(seed).permutation(len(X))
    ends = np.cumsum(sizes)[:-1]
    return [(X[rows], y[rows]) for rows in np.split(order[: sum(sizes)], ends)]


def _mistakes(X, right, sizes, seed, args):
    """Return misclassified inputs that are in none of `_parts`, None if not asked."""
    if not args.n_mistakes:
        return None
    rest = np.random.default_rng(seed).permutation(len(X))[sum(sizes) :]
    return X[rest[~right[rest]][: args.n_mistakes]]


def _mnist(name, seed, args):
    network = name.removeprefix("mnist-")
    kind = {"lenet": LeNet, "cnn": MNISTNetwork}[network]
    model = load_network(kind, args.networks / f"{network}-{seed}.safetensors")
    load = _loader(args)
    train, test = (load("mnist", split=split) for split in ("train", "test"))
    rows = split_mnist(len(train.X), random_state=seed)
    seen = np.random.default_rng(seed).permutation(rows.train)[: args.n_fit]
    fresh = rows.fit[: args.n_fit]
    # The last 2,000 test images are the easier ones: drawn at random, parts are alike.
    sizes = [args.n_test, args.n_attack]
    judged, attacked = _parts(test.X, test.y, sizes, seed)
    right = is_right(model, test.X, test.y)
    others = {
        shown: load(
            data, shape=(1, 28, 28), n_samples=args.n_anomalies, random_state=seed
        ).X
        for shown, data in (
            ("Fashion-MNIST", "fashion-mnist"),
            ("Omniglot", "omniglot"),
        )
    }
    return Setting(
        "MNIST",
        {"lenet": "LeNet", "cnn": "paper B's CNN"}[network],
        model,
        float(right.mean()),
        (train.X[seen], train.y[seen]),
        (train.X[fresh], train.y[fresh]),
        judged,
        attacked,
        others,
        threat(0.3, seed, args),
        _mistakes(test.X, right, sizes, seed, args),
    )


def _cifar_network(name, seed, args):
    """Load ResNet-20, of which there is one per seed, or another, trained once."""
    if name == "cifar-resnet20":
        return load_network(CifarResNet, args.networks / f"resnet20-{seed}.safetensors")
    network = {
        "cifar-resnet56": partial(CifarResNet, 56),
        "cifar-resnet18": CifarResNet18,
    }[name]
    file = name.replace("-", "10jpeg_") + ".safetensors"
    model = load_network(network, Path(args.data_dir or "") / "weights" / file)
    # A third of the time of ResNet-56's backward passes on a CPU.
    return model.to(memory_format=torch.channels_last)


def _cifar(name, seed, args):
    model = _cifar_network(name, seed, args)
    load = _loader(args)
    train, test = (load("cifar-10-jpeg", split=split) for split in ("train", "test"))
    (seen,) = _parts(train.X, train.y, [args.n_fit], seed)
    # Images 800 to 999 of each class chose the recommended detector: never judged.
    used = np.arange(len(test.X)) % 1000 >= 800
    X, y = test.X[~used], test.y[~used]
    right = is_right(model, X, y)
    sizes = [args.n_test, args.n_attack, max(args.n_fit - int(used.sum()), 0)]
    judged, attacked, more = _parts(X, y, sizes, seed)
    fresh = [np.concatenate([test.X[used], more[0]]), np.append(test.y[used], more[1])]
    rows = np.random.default_rng(seed).permutation(len(fresh[0]))[: args.n_fit]
    others = _others(list(DATA), (3, 32, 32), seed, args)
    return Setting(
        "CIFAR-10 (JPEG)",
        name.replace("cifar-resnet", "ResNet-"),
        model,
        float(right.mean()),
        seen,
        tuple(part[rows] for part in fresh),
        judged,
        attacked,
        others,
        threat(8 / 255, seed, args),
        _mistakes(X, right, sizes, seed, args),
    )


def _ecg(name, seed, args):
    model = load_network(ECGNetwork, args.networks / f"ecg-{seed}.safetensors")
    load = _loader(args)
    data = load("ecg5000", split="train")
    rows = split_ecg(data.y, random_state=seed)
    seen, fresh, test = (
        (data.X[part], data.y[part]) for part in (rows.train, rows.fit, rows.test)
    )
    shape = data.X.shape[1:]
    other = load("ecg200", shape=shape, n_samples=200, random_state=seed).X
    limits = float(data.X.min()), float(data.X.max())
    return Setting(
        "ECG5000",
        "paper B's 1-D CNN",
        model,
        float(is_right(model, *test).mean()),
        seen,
        fresh,
        test,
        # There are too few series to attack others than those that were trained on.
        seen,
        {"ECG200": other},
        threat(0.1, seed, args, bounds=limits),
    )


def _digits(name, seed, args):
    """Embedded data for --quick."""
    digits = load_digits_images()
    net = train_digits_network(digits.X_train, digits.y_train, random_state=seed)
    model = net.module_.eval()
    X, y = digits.X_test, digits.y_test
    sizes = [min(args.n_test, 300), min(args.n_attack, 150)]
    judged, attacked = _parts(X, y, sizes, seed)
    patches = load_dataset(
        "photo-patches", shape=(1, 8, 8), n_samples=args.n_anomalies, random_state=seed
    )
    return Setting(
        "digits",
        "small CNN",
        model,
        float(is_right(model, X, y).mean()),
        (digits.X_train[: args.n_fit], digits.y_train[: args.n_fit]),
        (digits.X_fit[: args.n_fit], digits.y_fit[: args.n_fit]),
        judged,
        attacked,
        {"photo patches": patches.X},
        threat(0.3, seed, args),
    )


SETTINGS = {
    "mnist-lenet": _mnist,
    "mnist-cnn": _mnist,
    "cifar-resnet20": _cifar,
    "cifar-resnet56": _cifar,
    "cifar-resnet18": _cifar,
    "ecg": _ecg,
    "digits": _digits,
}
