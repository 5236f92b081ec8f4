"""What it costs to average over the channels of a layer in place of its positions.

    python benchmarks/channel_axes.py             # the table of RESULTS.md
    python benchmarks/channel_axes.py --quick     # one seed, few epochs
    python benchmarks/channel_axes.py --data-dir FOLDER   # with FOLDER/spoken-digits

Small transformers and recurrent networks are trained on digits, images of scikit-learn
and recordings of Jackson et al. Detectors look at their layers with the channel axis
that `fit` finds and with axis 1, that of convolutions, and compare held-out digits with
anomalies by the AUROC.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from scipy.io import wavfile
from settings_of_speech import spectrogram
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from torch import nn

from skgrad import LODA, LayerActivationTransformer, PerClassSVDD
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


def spoken_digits(folder):
    """Return recordings as 32 times of 40 bands, their digits, and anomalies."""
    files = sorted(folder.glob("**/*.wav"))
    sounds = [wavfile.read(file)[1].astype(np.float32) / 2**15 for file in files]
    rng = np.random.default_rng(0)
    X = np.stack([spectrogram(sound) for sound in sounds])
    mean, spread = X.mean(), X.std()
    loudness = [sound.std() for sound in sounds[:500]]
    noise = [rng.normal(scale=one, size=4000) for one in loudness]
    backwards = [sound[::-1] for sound in sounds[:500]]
    kinds = {"noise": noise, "backwards": backwards}
    anomalies = {
        name: (np.stack([spectrogram(sound) for sound in kind]) - mean) / spread
        for name, kind in kinds.items()
    }
    y = np.array([int(file.name[0]) for file in files])
    return (X - mean) / spread, y, anomalies


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


def areas(net, layers, axis, X_fit, X_test, anomalies, seed):
    """Return the AUROC by kind of anomaly, a mean over two detectors."""
    found = {kind: [] for kind in anomalies}
    for detect in (PerClassSVDD(random_state=seed), LODA(random_state=seed)):
        features = LayerActivationTransformer(
            net, [*layers, "logits"], channel_axis=axis
        )
        detector = make_pipeline(features, detect).fit(X_fit)
        usual = detector.score_samples(X_test)
        for kind, X in anomalies.items():
            scores = detector.score_samples(X)
            y = np.repeat([1, -1], [len(usual), len(scores)])
            found[kind].append(auroc(y, np.concatenate([usual, scores])))
    return {kind: np.mean(values) for kind, values in found.items()}


def compare(name, data, n_seeds, n_epochs):
    """Print a row per network and kind of anomaly."""
    for kind_of_net, (make, layers) in NETWORKS.items():
        rows, accuracies = {}, []
        for seed in range(n_seeds):
            X, y, anomalies = data(seed)
            # A part trains the network, one the detectors, one is the test.
            X_train, X_rest, y_train, y_rest = train_test_split(
                X, y, test_size=0.5, stratify=y, random_state=seed
            )
            X_fit, X_test, _, y_test = train_test_split(
                X_rest, y_rest, test_size=0.4, stratify=y_rest, random_state=seed
            )
            net = trained(make, X_train, y_train, n_epochs, seed)
            with torch.no_grad():
                right = net(torch.from_numpy(X_test)).argmax(dim=1).numpy() == y_test
            accuracies.append(right.mean())
            for axis in ("auto", 1):
                found = areas(net, layers, axis, X_fit, X_test, anomalies, seed)
                for kind, area in found.items():
                    rows.setdefault(kind, {}).setdefault(axis, []).append(area)
        for kind, by_axis in rows.items():
            auto, first = (100 * np.mean(by_axis[axis]) for axis in ("auto", 1))
            accuracy = 100 * np.mean(accuracies)
            print(
                f"| {name} | {kind_of_net} ({accuracy:.1f}) | {kind} | {auto:.1f} | "
                f"{first:.1f} |",
                flush=True,
            )


def main(arguments=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args(arguments)
    n_seeds, n_epochs = (1, 5) if options.quick else (3, 60)
    print("| data | network (accuracy) | anomalies | found axis | axis 1 |")
    print("|---|---|---|---|---|")
    compare("digits, images", image_digits, n_seeds, n_epochs)
    if options.data_dir is not None:
        spoken = spoken_digits(options.data_dir / "spoken-digits")
        compare("digits, spoken", lambda seed: spoken, n_seeds, n_epochs)


if __name__ == "__main__":
    main()
