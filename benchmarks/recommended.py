"""Choose what `make_recommended_detector` is made of, on data that no table reports.

    python benchmarks/recommended.py --data-dir DIR --cache CACHE
    python benchmarks/recommended.py --data-dir DIR --settings ecg lenet mlp

DIR holds what ``recommended_settings.py`` and ``settings_of_today.py`` read. CACHE
keeps trained networks and the features of each setting, so that a second run takes
minutes. Detectors see in-distribution inputs alone. Variants that look at gradients
are there where every setting has gradients, see ``recommended_features.py``.

All variants are sums of the log p-values of some parts, each up to a largest one. So
one `CombinedDetector` of all parts is fitted for each setting and seed. The rivals are
fitted by themselves.

The regret of a variant against one kind of anomaly is the AUROC of the best rival for
that kind less its own, at least 0. Misclassified inputs are told from those classified
correctly.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import Memory
from recommended_features import SETTINGS, WITH_GRADIENTS, features_of
from settings_of_today import GROUPS
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skgrad import (
    ClassConditionalGaussian,
    CombinedDetector,
    ConfidenceDrop,
    Energy,
    MaxSoftmaxProbability,
    StableConfidence,
)
from skgrad.detectors import CORE, FDBD, GEN, NCI, RMDS, DeepKNN, MaxLogit, ViM
from skgrad.feature_extraction import FeatureArray


def selected(X, prefixes):
    """Return the columns whose names begin with one of the prefixes."""
    keep = [name.startswith(prefixes) for name in X.feature_names]
    return FeatureArray(np.asarray(X)[:, keep], X.feature_names[keep])


def over(prefixes, detector):
    """Have a detector look at some columns alone."""
    choose = FunctionTransformer(selected, kw_args={"prefixes": tuple(prefixes)})
    return make_pipeline(choose, detector)


def density(*prefixes):
    """Return the density of some columns, without the logits."""
    detector = ClassConditionalGaussian(covariance=0.5, include_logits=False)
    return over(prefixes, detector)


LAST = {"layer": "penultimate"}
RIVALS = {
    "softmax": MaxSoftmaxProbability(),
    "max logit": MaxLogit(),
    "energy alone": Energy(),
    "GEN alone": GEN(),
    "density of layers alone": density("layers__"),
    # The classes of some settings have few inputs to fit on.
    "DeepKNN": DeepKNN(n_neighbors=10, **LAST),
    "RMDS": RMDS(**LAST),
    "RMDS++": RMDS(normalize=True, **LAST),
    "FDBD": FDBD(**LAST),
    "ViM": ViM(**LAST),
    "NCI": NCI(**LAST),
    "CORE": CORE(**LAST),
    "feature squeezing": None,  # a column of its own
}

# What changes the inputs, by name; "auto" is what `Stability` chooses.
CHANGES = {
    "auto": [],
    "noise": ["noise"],
    "mask": ["mask"],
    "noise and shift": ["noise", "shift"],
    "noise and blur": ["noise", "blur"],
    "noise and flip": ["noise", "flip"],
    "all": ["noise", "shift", "blur", "flip", "mask", "drop"],
}


def parts_of(setting):
    """Return the parts of all variants, by name."""
    parts = {
        "softmax": MaxSoftmaxProbability(),
        "GEN": GEN(),
        "energy": Energy(),
        "layers": density("layers__"),
        "KNN": DeepKNN(n_neighbors=10, **LAST),
    }
    if has_gradients(setting):
        parts["layers, gradients"] = density("layers__", "gradients__")
    for label, wanted in CHANGES.items():
        # Where inputs have none of these changes, the first that they have.
        found = [c for c in wanted if c in setting["changes"]] or setting["changes"][:1]
        found = setting["auto"] if label == "auto" else found
        columns = [f"stability__log_odds_{c}" for c in ("unchanged", *found)]
        parts[f"stable: {label}"] = over(columns, StableConfidence())
        parts[f"drop: {label}"] = over(columns, ConfidenceDrop())
    columns = [f"stability__log_odds_{c}" for c in ("unchanged", *setting["auto"])]
    parts["stable: worst"] = over(columns, StableConfidence(copies="worst"))
    parts["drop: worst"] = over(columns, ConfidenceDrop(copies="worst"))
    # High scores of these may be suspicious too.
    both = [name for name in parts if name.startswith(("energy", "drop"))]
    return parts | {f"{name}, two-sided": parts[name] for name in both}


def has_gradients(setting):
    """Return True if the features of a setting hold gradient norms."""
    names = setting["matrices"]["fit"].feature_names
    return any(name.startswith("gradients__") for name in names)


def third(changes="auto", **others):
    """Return the parts of the third edition, and others: weights, largest p-values."""
    parts = {"GEN": (1, 1), "layers": (1, 0.5), f"stable: {changes}": (1, 1)}
    return parts | {f"drop: {changes}": (1, 0.2)} | others


def without(name, **others):
    """Return the parts of the third edition without one, and others."""
    return {part: how for part, how in third().items() if part != name} | others


def whole(*names):
    """Return parts of weight 1 whose p-values all count."""
    return dict.fromkeys(names, (1, 1))


STABLE, DROP, ENERGY = "stable: auto", "drop: auto", "energy, two-sided"
LOW = {"layers": (1, 0.5), ENERGY: (1, 0.2)}
# Name of the variant -> weights of its parts, and the largest p-values that count.
VARIANTS = {
    "first edition": whole("softmax", "layers, gradients", ENERGY),
    # The first without gradients.
    "second edition, low": whole("softmax", "layers", ENERGY),
    "second edition, medium": whole("GEN", "layers", STABLE, f"{DROP}, two-sided"),
    "third edition, low": {"softmax": (1, 1), **LOW},
    "low, GEN in place of softmax": {"GEN": (1, 1), **LOW},
    "third edition, medium": third(),
    "third edition, high": without("layers", **{"layers, gradients": (1, 0.5)}),
    "softmax in place of GEN": without("GEN", softmax=(1, 1)),
    "softmax and energy, half each": without("GEN", softmax=(0.5, 1), energy=(0.5, 1)),
    "without GEN": without("GEN"),
    "without density": without("layers"),
    "without stability": without(STABLE),
    "without drop": without(DROP),
    "drop two-sided": without(DROP, **{f"{DROP}, two-sided": (1, 0.2)}),
    "density counts whole": third(layers=(1, 1)),
    "drop counts whole": third(**{DROP: (1, 1)}),
    "both count whole": third(layers=(1, 1), **{DROP: (1, 1)}),
    "density to 0.3": third(layers=(1, 0.3)),
    "drop to 0.3": third(**{DROP: (1, 0.3)}),
    "drop to 0.1": third(**{DROP: (1, 0.1)}),
    "all to 0.3": dict.fromkeys(third(), (1, 0.3)),
    "and DeepKNN to 0.3": third(KNN=(1, 0.3)),
    "worst of the copies": third("worst"),
    **{f"changes: {name}": third(name) for name in CHANGES if name != "auto"},
}


def scores_of(setting, variants, seed):
    """Return scores by detector and by matrix, of all variants and rivals."""
    matrices = dict(setting["matrices"])
    fit = matrices.pop("fit")
    parts = parts_of(setting)
    both = [name for name in parts if name.endswith("two-sided")]
    combined = CombinedDetector([*parts.items()], two_sided=both, random_state=seed)
    combined.fit(fit)
    log_p = {k: combined.log_p_values(X) for k, X in matrices.items()}
    places = {name: place for place, name in enumerate(parts)}
    scores = {}
    for label, chosen in variants.items():
        columns = [places[part] for part in chosen]
        weights, largest = np.transpose([*chosen.values()])
        scores[label] = {
            kind: np.minimum(p[:, columns], np.log(largest)) @ weights
            for kind, p in log_p.items()
        }
    for name, rival in RIVALS.items():
        if rival is None:
            column = fit.feature_names == "squeezing__score"
            scores[name] = {k: X[:, column] for k, X in matrices.items() if any(column)}
        else:
            rival.set_params(**seed_of(rival, seed)).fit(fit)
            scores[name] = {k: rival.score_samples(X) for k, X in matrices.items()}
    return scores


def seed_of(detector, seed):
    """Return the parameter that seeds a detector, also one at the end of a pipeline."""
    names = [n for n in detector.get_params() if n.endswith("random_state")]
    return dict.fromkeys(names, seed)


def areas_of(setting, variants, seeds):
    """Return the mean AUROC over seeds in percent: kinds by detectors."""
    tables = []
    for seed in range(seeds):
        scores = scores_of(setting, variants, seed)
        areas = {d: areas_by_kind(s, setting["right"]) for d, s in scores.items() if s}
        tables.append(pd.DataFrame(areas))
    return sum(tables) / len(tables)


def areas_by_kind(scores, right):
    """Return the AUROC of one detector for each kind of anomaly, in percent."""
    areas, known = {}, scores["id"]
    for kind in (name for name in scores if name != "id"):
        good, bad = known[right] if kind == "misclassified" else known, scores[kind]
        truth = np.repeat([1, 0], [len(good), len(bad)])
        areas[kind] = 100 * roc_auc_score(truth, np.concatenate([good, bad]))
    return areas


def regrets_of(areas):
    """Return by how much the best rival exceeds each detector, for each kind."""
    best = areas.loc[:, areas.columns.isin(RIVALS)].max(axis=1)
    return areas.rsub(best, axis=0).clip(lower=0)


def show(frame):
    """Print a data frame as a table of Markdown."""
    print("|", " | ".join([frame.index.name, *frame.columns]), "|")
    print("|---" * (1 + len(frame.columns)) + "|")
    for name, row in frame.iterrows():
        cells = [cell if isinstance(cell, str) else f"{cell:.1f}" for cell in row]
        print("|", " | ".join([name, *cells]), "|")
    print(flush=True)


def by_setting(areas, regrets):
    """Return mean AUROC / largest regret of each setting, means, and the worst kind."""
    means, largest = (t.groupby(level=0, sort=False) for t in (areas, regrets))
    means, largest = means.mean().T, largest.max().T
    table = means.map("{:.1f}".format) + " / " + largest.map("{:.1f}".format)
    # Feature squeezing cannot coarsen tokens.
    table = table.where(means.notna(), "-")
    groups = by_group(areas)
    table["mean"], table["of groups"] = means.mean(axis=1), groups.mean(axis=1)
    table["regret"] = regrets.mean().map("{:.2f}".format)
    table["worst kind"] = [
        f"{'/'.join(regrets[name].idxmax())} {regrets[name].max():.1f}"
        for name in regrets
    ]
    return table.rename_axis("mean AUROC / largest regret")


def by_group(areas):
    """Return the mean AUROC over the kinds of each group, of all settings."""
    groups = areas.index.get_level_values(1).map(GROUPS)
    means = areas.groupby(groups).mean()
    order = [group for group in dict.fromkeys(GROUPS.values()) if group in means.index]
    return means.loc[order].T.rename_axis("mean AUROC")


def worst_kinds(areas, regrets, name, n=12):
    """Return the kinds that others find better, and which does it best."""
    worst = regrets[name].sort_values(ascending=False)[:n].index
    rivals = areas.loc[worst, areas.columns.isin(RIVALS)]
    best = rivals.idxmax(axis=1) + " " + rivals.max(axis=1).map("{:.1f}".format)
    table = pd.DataFrame({"AUROC": areas.loc[worst, name], "best rival": best})
    table.index = ["/".join(place) for place in worst]
    return table.rename_axis(f"kind ({name})")


def main(arguments=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="where networks and features go")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument("--seeds", type=int, default=2, help="draws of held-out inputs")
    parser.add_argument("--n", type=int, default=100, help="anomalies of most kinds")
    parser.add_argument("--n-known", type=int, default=1000, help="most inputs to fit")
    args = parser.parse_args(arguments)
    networks = args.cache and str(args.cache / "networks")
    compute = Memory(args.cache, verbose=0).cache(features_of)
    variants = VARIANTS
    if not WITH_GRADIENTS.issuperset(args.settings):
        variants = {k: v for k, v in VARIANTS.items() if "layers, gradients" not in v}
    areas = {}
    for name in args.settings:
        setting = compute(name, str(args.data_dir), args.n, args.n_known, networks)
        with warnings.catch_warnings():
            # Some changes are too large for some settings, which the table shows.
            warnings.filterwarnings("ignore", "X: stability__", UserWarning)
            areas[name] = areas_of(setting, variants, args.seeds)
    areas = pd.concat(areas)
    regrets = regrets_of(areas)
    show(by_setting(areas, regrets))
    show(by_group(areas))
    show(worst_kinds(areas, regrets, "third edition, medium"))


if __name__ == "__main__":
    main()
