"""A setting of sounds for choosing the recommended detector: spoken digits.

A small convolutional network looks at spectrograms of recordings of three speakers, out
of the Free Spoken Digit Dataset of Jackson et al. No table judges such a network.
"""

from functools import partial

import numpy as np
import torch
from recommended_settings import adversarial, cached, train, wrong
from scipy.io import wavfile
from scipy.signal import stft
from torch import nn


def speech_net():
    """Three convolutions and a linear layer over spectrograms, 10 classes."""
    features, n_in = [], 1
    for width in (16, 32, 64):
        features += [nn.Conv2d(n_in, width, 3, padding=1), nn.BatchNorm2d(width)]
        features += [nn.ReLU(), nn.MaxPool2d(2)]
        n_in = width
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(64 * 4 * 5, 10))


def speech_setting(root, n, seed, cache=None):
    """Return 300 spoken digits of three speakers to train on, 400 to fit on, 800."""
    rng = np.random.default_rng(seed)
    sounds, digits, speakers = recordings(root / "spoken-digits")
    rows, others = divided(speakers, rng)
    x, y = spectrograms(sounds), torch.from_numpy(digits)
    mean, std = x[rows[:300]].mean(), x[rows[:300]].std()
    x = (x - mean) / std
    learn = partial(train, speech_net, x[rows[:300]], y[rows[:300]], epochs=20)
    learn = partial(learn, batch=32, seed=seed)
    model = cached(cache, f"speech_{seed}", speech_net, learn)
    fit, test = rows[300:700], rows[700:]
    kinds = unlike_speech([sounds[i] for i in test[:n]], rng)
    kinds = {kind: (spectrograms(s) - mean) / std for kind, s in kinds.items()}
    bounds = (float(x.min()), float(x.max()))
    anomalies = {
        "unseen speakers": x[others[:n]],
        **kinds,
        "shuffled": torch.stack([i[:, rng.permutation(32)] for i in x[test[:n]]]),
        **adversarial(
            model, x[test[: n // 2]], 0.1, 0.4, 1.0, bounds=bounds, seed=seed
        ),
        "misclassified": x[test][wrong(model, x[test], y[test])],
    }
    return model, {"fit": x[fit]}, x[test], y[test], anomalies


def recordings(folder):
    """Return the sounds in [-1, 1], their digits, and who speaks."""
    files = sorted(folder.glob("**/*.wav"))
    sounds = [wavfile.read(file)[1].astype(np.float32) / 2**15 for file in files]
    parts = [file.stem.split("_") for file in files]
    return sounds, np.array([int(p[0]) for p in parts]), np.array([p[1] for p in parts])


def divided(speakers, rng):
    """Return the recordings of three speakers and of the others, in random order."""
    known = np.isin(speakers, rng.permutation(np.unique(speakers))[:3])
    return [rng.permutation(np.flatnonzero(k)) for k in (known, ~known)]


def spectrograms(sounds):
    """Return logarithms of power (n, 1, 32 times, 40 bands)."""
    return torch.from_numpy(np.stack([spectrogram(s) for s in sounds]))[:, None]


def unlike_speech(sounds, rng):
    """Return noise and tones as loud as the sounds, and the sounds backwards."""
    times = np.arange(4000) / 8000
    return {
        "backwards": [sound[::-1] for sound in sounds],
        "Gaussian": [rng.normal(scale=s.std(), size=4000) for s in sounds],
        "tones": [
            s.std() * np.sqrt(2) * np.sin(2 * np.pi * rng.uniform(100, 3000) * times)
            for s in sounds
        ],
    }


def spectrogram(sound):
    """Return the logarithms of a sound's power in 40 bands at 32 times."""
    power = np.abs(stft(sound, nperseg=256, noverlap=128)[2]) ** 2
    bands = np.stack([part.mean(axis=0) for part in np.array_split(power[1:], 40)])
    places = np.linspace(0, bands.shape[1] - 1, 32).round().astype(int)
    return np.log(bands[:, places].T + 1e-8).astype(np.float32)
