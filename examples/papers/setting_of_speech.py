"""
A setting of sound: a small network on spoken digits
====================================================

The network and the spectrograms are those of ``benchmarks/settings_of_speech.py``,
which chose the recommended detector; here other recordings are judged.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from setting import Setting, anomaly_sets, is_right, threat

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from recommended_settings import cached, train
from settings_of_speech import (
    divided,
    recordings,
    spectrograms,
    speech_net,
    unlike_speech,
)

# A spectrogram that is turned or inverted is no sound.
KINDS = (
    *("Gaussian noise", "uniform noise", "fooling images", "misclassified"),
    *("noise in ball", "FGSM", "BIM-a", "BIM-b", "IterLL", "PGD", "PGD L2", "T-SCE"),
    *("C&W", "JSMA", "B&B Linf", "B&B L2"),
)
ABOUT = """\
A network of three convolutions, trained for each seed, over logarithmic spectrograms
(40 bands, 32 times, standardised) of the Free Spoken Digit Dataset. The choice of the
recommended detector saw all recordings of three speakers, and 100 of the other two.
**Here the other two are known**: the 100 recordings and 250 more train the network, and
detectors are fitted on and judged with the rest, half of which counts in the accuracy.
For unseen speakers those three are left. Their recordings were in-distribution inputs
of the choice, so of this kind alone they are not new.

Other kinds: sine tones, chords of three tones with overtones that die away, white
noise, all as loud as the recordings; recordings backwards; spectrograms with their
times in random order. "Gaussian noise", "uniform noise" and "fooling images" are
spectrograms. Attacks change the spectrogram, by at most 0.2 standard deviations."""


def load(seed, args):
    """Return a network that knows two speakers, and recordings."""
    sounds, digits, speakers = recordings(Path(args.data_dir) / "spoken-digits")
    # The draw that chose the recommended detector.
    unseen, free = divided(speakers, np.random.default_rng(0))
    used, free = free[:100], free[100:]
    rng = np.random.default_rng(seed)
    cuts = (np.array([5, 10, 15]) * len(free) / 18).astype(int)
    ours, fit, test, attacked = np.split(rng.permutation(free), cuts)
    ours, judged = np.append(used, ours), np.append(test, attacked)
    x = spectrograms(sounds)
    mean, std = x[ours].mean(), x[ours].std()
    x, y = (x - mean) / std, torch.from_numpy(digits)
    learn = partial(train, speech_net, x[ours], y[ours], epochs=20, batch=32, seed=seed)
    model = cached(args.networks, f"speech-{seed}", speech_net, learn)
    parts = (ours, fit[: args.n_fit], test[: args.n_test], attacked[: args.n_attack])
    few = [sounds[i] for i in test[: args.n_anomalies]]
    made = anomaly_sets("near data", {"unseen speakers": x[unseen[: args.n_anomalies]]})
    for group, kinds in unlike(few, rng).items():
        kinds = {kind: (spectrograms(s) - mean) / std for kind, s in kinds.items()}
        made |= anomaly_sets(group, kinds)
    mixed = torch.stack([one[:, rng.permutation(32)] for one in x[attacked]])
    return Setting(
        "spoken digits",
        "three convolutions",
        model,
        float(is_right(model, x[judged].numpy(), digits[judged]).mean()),
        *((x[rows].numpy(), digits[rows]) for rows in parts),
        {},
        threat(0.2, seed, args, bounds=(float(x.min()), float(x.max()))),
        made=made | anomaly_sets("noise", {"times shuffled": mixed}),
        kinds=KINDS,
        first_layer="0",
        bit_depth=5,
        about=ABOUT,
    )


def unlike(sounds, rng):
    """Return sounds that are no speech, by group and name."""
    kinds = unlike_speech(sounds, rng)
    chords = [chord(sound.std(), rng) for sound in sounds]
    return {
        "far data": {"tones": kinds["tones"], "chords": chords},
        "noise": {"white noise": kinds["Gaussian"]},
        "changed inputs": {"backwards": kinds["backwards"]},
    }


def chord(loudness, rng):
    """Return half a second of three tones with overtones that die away."""
    times = np.arange(4000) / 8000
    tones = rng.uniform(100, 800, size=(3, 1)) * np.arange(1, 4)
    waves = [
        np.sin(2 * np.pi * f * times) / k for t in tones for k, f in enumerate(t, 1)
    ]
    sound = np.exp(-5 * times) * np.sum(waves, axis=0)
    return loudness * sound / sound.std()
