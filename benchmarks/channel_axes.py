"""What it costs to average over the channels of a layer in place of its positions.

    python benchmarks/channel_axes.py             # digits, images
    python benchmarks/channel_axes.py --data-dir DIR   # the table of RESULTS.md
    python benchmarks/channel_axes.py --quick     # one seed, few epochs

Small transformers and recurrent networks are trained on digits, images of scikit-learn
and recordings of Jackson et al. (DIR/spoken-digits). With DIR as in
``settings_of_today.py`` there are also its vision transformer and its BERT. Detectors
look at layers with the channel axis that `fit` finds, averaged over all positions or at
the first or last of them, and averaged with axis 1, that of convolutions, for channels.
Held-out inputs are compared with anomalies by the AUROC.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import nn

from skgrad import (
    LODA,
    ClassConditionalGaussian,
    LayerActivationTransformer,
    PerClassSVDD,
)
from skgrad.datasets import load_digits_images, make_photo_patches, make_uniform_noise
from skgrad.metrics import auroc

WIDTH = 32


class Transformer(nn.Module):
    """Two layers of attention over tokens, and a class token."""

    def __init__(self, n_inputs, n_tokens):
        super().__init__()
        self.embed = nn.Linear(n_inputs, WIDTH)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.places = nn.Parameter(torch.randn(1, n_tokens + 1, WIDTH) / 10)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, 0.0, batch_first=True)
            for _ in range(2)
        )
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x):
        """Return the logits."""
        x = torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], dim=1)
        x = x + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


class Recurrent(nn.Module):
    """An LSTM, whose last state is classified."""

    def __init__(self, n_inputs, n_tokens):
        super().__init__()
        self.lstm = nn.LSTM(n_inputs, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x):
        """Return the logits."""
        return self.head(self.lstm(x)[0][:, -1])


# What detectors look at, by the head of a column.
LOOKS = {
    "found axis, mean": {},
    "first": {"pooling": "first"},
    "last": {"pooling": "last"},
    "axis 1, mean": {"channel_axis": 1},
}
# The columns: the density is that of the recommended detector, the others means of an
# SVDD per class and LODA.
COLUMNS = [("density", look) for look in LOOKS]
COLUMNS += [("SVDD, LODA", look) for look in LOOKS if "mean" in look]
NETWORKS = {
    "transformer": (Transformer, ["blocks.0", "blocks.1"]),
    "LSTM": (Recurrent, ["lstm"]),
}


def patches(images):
    """Cut images (n, 1, 8, 8) into 16 patches of 4 pixels."""
    cut = images.reshape(-1, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(cut.reshape(len(images), 16, 4))


def image_digits(seed):
    """Return training and test digits as patches, their classes, and anomalies."""
    digits = load_digits_images()
    X = np.concatenate([digits.X_train, digits.X_fit, digits.X_test])
    y = np.concatenate([digits.y_train, digits.y_fit, digits.y_test])
    kinds = {
        "noise": make_uniform_noise(500, (1, 8, 8), random_state=seed),
        "photographs": make_photo_patches(500, random_state=seed),
        "negative": 1 - X[:500],
    }
    anomalies = {name: patches(images) for name, images in kinds.items()}
    return patches(X).astype(np.float32), y, anomalies


def spoken_digits(folder, seed):
    """Return recordings as 32 times of 40 bands, their digits, and anomalies."""
    from settings_of_speech import recordings, spectrograms, unlike_speech

    sounds, y, _ = recordings(folder)
    X, rng = spectrograms(sounds)[:, 0].numpy(), np.random.default_rng(seed)
    some = [sounds[i] for i in rng.permutation(len(y))[:500]]
    mean, spread = X.mean(), X.std()
    anomalies = {
        name: (spectrograms(kind)[:, 0].numpy() - mean) / spread
        for name, kind in unlike_speech(some, rng).items()
    }
    return (X - mean) / spread, y, anomalies


class Case(NamedTuple):
    """A network, the layers to look at, and what it is to be judged on."""

    net: nn.Module
    layers: list
    X_fit: object
    X_test: object
    y_test: np.ndarray
    anomalies: dict


def small_networks(data, n_epochs, seed):
    """Yield a network of each kind, trained on half of the data, and the rest."""
    X, y, anomalies = data(seed)
    X_train, X_rest, y_train, y_rest = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=seed
    )
    X_fit, X_test, _, y_test = train_test_split(
        X_rest, y_rest, test_size=0.4, stratify=y_rest, random_state=seed
    )
    for kind, (make, layers) in NETWORKS.items():
        net = trained(make, X_train, y_train, n_epochs, seed)
        yield kind, Case(net, layers, X_fit, X_test, y_test, anomalies)


def trained(make, X, y, n_epochs, seed):
    """Train a network."""
    torch.manual_seed(seed)
    net = make(X.shape[2], X.shape[1])
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    X, y = torch.from_numpy(X), torch.from_numpy(y).long()
    for _ in range(n_epochs):
        for rows in torch.randperm(len(X)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(X[rows]), y[rows]).backward()
            optimizer.step()
    return net.eval()


def vision_transformer(root, cache, seed):
    """Yield a vision transformer that knows the digits 0-5 of MNIST."""
    from settings_of_today import transformer_parts

    net, fits, X, y, anomalies = transformer_parts(root, 300, seed, cache)
    layers = [f"encoder.layers.encoder_layer_{i}" for i in (1, 3)]
    kinds = ("digits 6-9", "CIFAR", "inverted", "shuffled")
    anomalies = {kind: anomalies[kind] for kind in kinds}
    yield "vision transformer", Case(net, layers, fits["fit"], X, y.numpy(), anomalies)


def bert(root, cache, seed):
    """Yield a BERT that knows 135 intents of CLINC150."""
    from settings_of_text import text_parts

    net, fits, X, y, anomalies = text_parts(root, 200, seed, cache)
    layers = [f"encoder.encoder.layer.{i}" for i in (1, 3, 5)]
    kinds = ("out of scope", "intents left out", "docstrings", "random")
    anomalies = {kind: anomalies[kind] for kind in kinds}
    yield "BERT", Case(net, layers, fits["fit"], X, y.numpy(), anomalies)


def areas(case, seed, look):
    """Yield kinds of anomalies, columns of the table, and the AUROC in percent."""
    names = [*case.layers, "logits"]
    features = LayerActivationTransformer(case.net, names, **LOOKS[look])
    fit = features.fit_transform(case.X_fit)
    usual = features.transform(case.X_test)
    unusual = {kind: features.transform(X) for kind, X in case.anomalies.items()}
    density = ClassConditionalGaussian(include_logits=False, covariance=0.5)
    others = PerClassSVDD(random_state=seed), LODA(random_state=seed)
    for name, detectors in {"density": [density], "SVDD, LODA": others}.items():
        found = [judged(one.fit(fit), usual, unusual) for one in detectors]
        for kind in unusual:
            yield kind, (name, look), np.mean([areas[kind] for areas in found])


def judged(detector, usual, unusual):
    """Return the AUROC in percent by kind of anomaly."""
    good, found = detector.score_samples(usual), {}
    for kind, X in unusual.items():
        bad = detector.score_samples(X)
        y = np.repeat([1, -1], [len(good), len(bad)])
        found[kind] = 100 * auroc(y, np.concatenate([good, bad]))
    return found


def accuracy(case):
    """Return the accuracy of the network in percent."""
    logits = LayerActivationTransformer(case.net, ["logits"]).fit_transform(case.X_test)
    return 100 * (np.asarray(logits).argmax(axis=1) == case.y_test).mean()


def compare(name, cases, n_seeds):
    """Print a row per network and kind of anomaly, of means and standard deviations."""
    accuracies, rows = {}, {}
    for seed in range(n_seeds):
        for network, case in cases(seed):
            accuracies.setdefault(network, []).append(accuracy(case))
            for look in LOOKS:
                for kind, column, area in areas(case, seed, look):
                    row = rows.setdefault((network, kind), {})
                    row.setdefault(column, []).append(area)
    for (network, kind), row in rows.items():
        cells = [f"{np.mean(row[c]):.1f} ± {np.std(row[c]):.1f}" for c in COLUMNS]
        right = f"{np.mean(accuracies[network]):.1f}"
        cells = " | ".join(cells)
        print(f"| {name} | {network} ({right}) | {kind} | {cells} |", flush=True)


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--cache", type=Path, help="where trained networks are kept")
    options = parser.parse_args(arguments)
    n_seeds, n_epochs = (1, 5) if options.quick else (3, 60)
    root = options.data_dir
    cases = {"digits, images": partial(small_networks, image_digits, n_epochs)}
    if root is not None:
        spoken = partial(spoken_digits, root / "spoken-digits")
        cases |= {
            "digits, spoken": partial(small_networks, spoken, n_epochs),
            "digits 0-5, MNIST": partial(vision_transformer, root, options.cache),
            "CLINC150": partial(bert, root, options.cache),
        }
    heads = " | ".join(f"{detector}: {look}" for detector, look in COLUMNS)
    print(f"| data | network (accuracy) | anomalies | {heads} |")
    print("|---" * (3 + len(COLUMNS)) + "|")
    for name, found in cases.items():
        compare(name, found, n_seeds)


if __name__ == "__main__":
    main()
