"""Choose what `make_recommended_detector` is made of, on data that no table reports.

    python benchmarks/recommended.py --data-dir DIR           # the table of RESULTS.md
    python benchmarks/recommended.py --data-dir DIR --quick   # few inputs, two variants
    python benchmarks/recommended.py --data-dir DIR --settings speech text

DIR holds MNIST/raw, cifar10-jpeg, tiny-imagenet32-jpeg, ucr and weights, as
``recommended_settings.py`` reads them, and for some settings more, see
``settings_of_today.py``. Detectors see in-distribution inputs alone.
Printed is the mean AUROC over the anomalies of each setting, averaged over the seeds of
the held-out samples; "seen" is ResNet-20 with detectors fitted on images that it was
trained on. Misclassified inputs are told from those classified correctly.
"""

import argparse
from pathlib import Path

import numpy as np
from recommended_settings import SETTINGS
from settings_of_today import SETTINGS as SETTINGS_OF_TODAY
from sklearn.metrics import roc_auc_score

from skgrad import (
    LODA,
    ClassConditionalGaussian,
    CombinedDetector,
    ConfoundingGradientTransformer,
    Energy,
    LayerActivationTransformer,
    MaxSoftmaxProbability,
    PerClassSVDD,
)
from skgrad._several import Several
from skgrad.feature_extraction import FeatureArray
from skgrad.torch_engine.layers import candidate_layers, spread_layers
from skgrad.torch_engine.model_state import frozen
from skgrad.torch_engine.probe import Probe


def gaussian(covariance=0.5):
    """Return the density of all but the logits."""
    return ClassConditionalGaussian(include_logits=False, covariance=covariance)


PARTS = {
    "confidence": MaxSoftmaxProbability(),
    "energy": Energy(),
    "density": gaussian(),
}


def combined(*names, two_sided=("energy",), **others):
    """Combine some of the parts, and others."""
    parts = [(name, PARTS[name]) for name in names] + list(others.items())
    both = [name for name in two_sided if name in names]
    return CombinedDetector(parts, two_sided=both)


ALL = tuple(PARTS)
ALL_SETTINGS = {**SETTINGS, **SETTINGS_OF_TODAY}
# Name of the variant -> gradients or none, number of layers, detector. Layers are
# convolutions and linear layers spread over the depth; 99 are all.
VARIANTS = {
    "recommended": (True, 4, combined(*ALL)),
    "confidence alone": (False, 0, PARTS["confidence"]),
    "energy alone": (False, 0, PARTS["energy"]),
    "density alone": (True, 4, PARTS["density"]),
    "density alone, gradients and first layer": (True, 1, PARTS["density"]),
    "SVDD of the first layer and the logits (paper C)": (False, 1, PerClassSVDD()),
    "without confidence": (True, 4, combined("energy", "density")),
    "without energy": (True, 4, combined("confidence", "density")),
    "without density": (False, 0, combined("confidence", "energy")),
    "energy one-sided": (True, 4, combined(*ALL, two_sided=())),
    "density two-sided too": (True, 4, combined(*ALL, two_sided=("energy", "density"))),
    **{
        f"covariance {share} tied": (
            True,
            4,
            combined("confidence", "energy", density=gaussian(share)),
        )
        for share in (0.0, 0.2, 0.8, 1.0)
    },
    "without gradients": (False, 4, combined(*ALL)),
    "without layers": (True, 0, combined(*ALL)),
    "first layer only": (True, 1, combined(*ALL)),
    "two layers": (True, 2, combined(*ALL)),
    "eight layers": (True, 8, combined(*ALL)),
    "all layers": (True, 99, combined(*ALL)),
    "and LODA over everything": (True, 4, combined(*ALL, cuts=LODA())),
    "and SVDD of layers and logits": (True, 4, combined(*ALL, svdd=PerClassSVDD())),
}


def n_samples(x):
    """Return the number of samples in inputs of one array or of several."""
    return len(next(iter(x.values())) if isinstance(x, dict) else x)


class Features:
    """Gradients, layers and logits of one setting, computed once."""

    def __init__(self, model, fits, x, y, anomalies):
        few = Several(x)[:3] if isinstance(x, dict) else x[:3]
        with frozen(model):
            probe = Probe(model, few, every=True)
        self.spread = {n: spread_layers(probe, n) for n in (0, 1, 2, 4, 8, 99)}
        layers = [n for n in candidate_layers(probe) if n in self.spread[99]]
        gradients = ConfoundingGradientTransformer(model, log=True).fit(x)
        layers = LayerActivationTransformer(model, [*layers, "logits"]).fit(x)
        self.fits, self.classes = list(fits), y
        self.matrices = {
            name: np.hstack([gradients.transform(part), layers.transform(part)])
            for name, part in {**fits, "id": x, **anomalies}.items()
            if n_samples(part)
        }
        self.n_gradients = len(gradients.get_feature_names_out())

    def select(self, name, with_gradients, n_layers):
        """Return the columns that a variant looks at."""
        matrix = self.matrices[name]
        layers = {*self.spread[n_layers], "logits"}
        keep = [
            with_gradients
            if i < self.n_gradients
            else column.rsplit("_", 1)[0] in layers
            for i, column in enumerate(matrix.feature_names)
        ]
        return FeatureArray(np.asarray(matrix)[:, keep], matrix.feature_names[keep])

    def judge(self, variant, fit, seed):
        """Return the AUROC of each kind of anomaly, in percent."""
        *columns, detector = variant
        detector.set_params(random_state=seed).fit(self.select(fit, *columns))
        known = self.select("id", *columns)
        scores = detector.score_samples(known)
        logits = [n.startswith("logits_") for n in known.feature_names]
        right = np.asarray(known)[:, logits].argmax(axis=1) == self.classes
        areas = {}
        for kind in self.matrices.keys() - {"id", *self.fits}:
            good = scores[right] if kind == "misclassified" else scores
            bad = detector.score_samples(self.select(kind, *columns))
            truth = np.repeat([1, 0], [len(good), len(bad)])
            areas[kind] = 100 * roc_auc_score(truth, np.concatenate([good, bad]))
        return areas


def main(arguments=None):
    """Print one line per variant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few inputs and variants")
    parser.add_argument(
        "--settings", nargs="+", choices=ALL_SETTINGS, default=[*SETTINGS]
    )
    parser.add_argument("--cache", type=Path, help="where trained networks are kept")
    args = parser.parse_args(arguments)
    size = (60 if args.quick else 300, 0, args.cache)
    settings = {
        (name, fit): features
        for name in args.settings
        for parts in [ALL_SETTINGS[name](args.data_dir, *size)]
        for features in [Features(parts[0], *parts[1:3], parts[3].numpy(), parts[4])]
        for fit in features.fits
    }
    heads = [name if fit == "fit" else fit for name, fit in settings]
    print("| variant |", " | ".join(heads), "| mean | worst kind of anomaly |")
    print("|---" * (len(heads) + 3) + "|")
    for label, variant in list(VARIANTS.items())[: 2 if args.quick else None]:
        rows = {}
        for head, ((_, fit), features) in zip(heads, settings.items(), strict=True):
            areas = [features.judge(variant, fit, seed) for seed in range(args.seeds)]
            rows[head] = {k: np.mean([a[k] for a in areas]) for k in areas[0]}
        means = [np.mean(list(row.values())) for row in rows.values()]
        value, *worst = min(
            (area, head, kind)
            for head, row in rows.items()
            for kind, area in row.items()
        )
        cells = " | ".join(f"{mean:.1f}" for mean in [*means, np.mean(means)])
        print(f"| {label} | {cells} | {', '.join(worst)}: {value:.1f} |", flush=True)


if __name__ == "__main__":
    main()
