"""The work of ``python -m skgrad evaluate``: options become arguments of `evaluate`."""

import importlib
import sys
import warnings
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .._command_line import naming_option, one_line
from .._messages import did_you_mean
from .._optional import import_package
from ..baselines import make_baselines
from ..datasets import load_dataset, load_digits_images
from ..datasets._load import DATASETS, ONE_PART, find_dataset
from ..detectors import (
    ConformalDetector,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from ..feature_extraction import predict_logits
from ..torch_engine.model_state import check_device, unwrap_model
from ._anomaly_set import AnomalySet
from ._demo import train_digits_network
from ._evaluate import evaluate
from ._evaluation import import_pandas
from ._leakage import is_new
from ._make_anomalies import KINDS, Threat, find_name, make_anomalies
from ._protocols import PROTOCOLS
from ._tables import render_table

# What a detector is called on the command line, if not as in tables.
_SHORT = {"a": "A: MLP", "b": "B: LODA", "c": "C: SVDD"}
_ROLES = ("X_test", "y_test", "X_fit", "y_fit")
_NOISE = ("Gaussian noise", "uniform noise")
# On the images after these of each class of CIFAR-10's test part the recommended
# detector was chosen: to test on them would flatter it.
_N_PER_CIFAR_CLASS = 800


def run(options):
    """Evaluate what the options ask for, show the table and write the report.

    ``options`` are those of `skgrad._command_line.evaluate_parser`. Warnings are shown
    at the end, each once, as one line.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            _run(options)
        finally:
            for text in dict.fromkeys(one_line(warning.message) for warning in caught):
                print(f"skgrad evaluate: {text}", file=sys.stderr)


def _run(options):
    # What is cheap comes first, so that a wrong option shows before anything is made.
    import_pandas()
    for folder in (options.output, options.memory):
        folder.mkdir(parents=True, exist_ok=True)
    check_device(options.device)
    kinds, others = _named_anomalies(options)
    model = _load_model(options)
    data = _InDistribution(options)
    if model is None:
        digits = load_digits_images()
        model = train_digits_network(
            digits.X_train, digits.y_train, device=options.device, random_state=0
        )
    detectors = _make_detectors(model, data, options)
    common = {"protocol": options.protocol, "memory": str(options.memory)}
    parts, rates = [], []
    for seed in options.seeds:
        drawn = data.draw(seed, options)
        made = _make_anomalies(model, drawn, data, kinds, seed, options)
        rates.append({kind: made[kind].success_rate for kind in kinds})
        common["anomalies"] = _load_anomalies(others, data.shape, seed, options) | made
        common |= {role: drawn[role] for role in _ROLES}
        common |= {"seeds": [seed], "verbose": not options.quiet}
        parts.append(evaluate(model, detectors, **common))
    result = reduce(add, parts)
    notes = _notes(options, data, model, rates)
    files = result.write(options.output, title=f"Detectors on {data.name}", notes=notes)
    _show(result, notes, files, options)


# What is evaluated


def _make_detectors(model, data, options):
    """Return the detectors that the options name, by their names in tables."""
    every, learners = _all_detectors(model, data, options)
    supervised = PROTOCOLS[options.protocol].supervised
    made: dict = {}
    for text in options.detectors:
        with naming_option(f"--detectors {text}"):
            found = find_name(_SHORT.get(text.lower(), text), [*every, *learners])
            if text == "all":
                made |= every | (learners if supervised else {})
            elif found is not None:
                made[found] = (every | learners)[found]
            elif ":" in text:
                made[text] = _import_object(text)(model)
            else:
                valid = ["all", *_SHORT, *every, *learners]
                raise ValueError(
                    f"must be package.module:name, or among {', '.join(valid)}."
                    f"{did_you_mean(text, valid)}"
                )
    return made


def _all_detectors(model, data, options):
    """Return detectors that need no anomalies, and those that learn from them."""
    common = {"target_fpr": options.target_fpr}
    mlp = make_confounding_gradient_detector(model)
    every = {
        "recommended": make_recommended_detector(model, **common),
        "B: LODA": make_geometric_gradient_detector(model, **common),
        # The paper's choice of one layer needs anomalies: four over the whole depth.
        "C: SVDD": make_uniform_detector(model, None, **common),
        **make_baselines(model, bounds=data.bounds, **common),
    }
    learners = make_baselines(model, learn_from_anomalies=True, **common)
    # Around the classifier, for a threshold that keeps the promised rate.
    return every, {"A: MLP": ConformalDetector(mlp, **common)} | {
        f"{name}, supervised": detector for name, detector in learners.items()
    }


def _named_anomalies(options):
    """Return the kinds of anomaly to make, and the data sets and paths to load."""
    kinds, others, valid = [], [], [*KINDS, *DATASETS]
    for text in options.anomalies:
        kind = find_name(text, KINDS)
        if kind:
            kinds.append(kind)
        elif find_dataset(text) or Path(text).expanduser().exists():
            others.append(text)
        else:
            raise ValueError(
                "--anomalies must be existing folders or files, or among "
                f"{', '.join(dict.fromkeys(valid))}; got {text!r}."
                f"{did_you_mean(text, valid)}"
            )
    for text in options.near:
        if text not in others:
            raise ValueError(
                "--near must name data of --anomalies, such as "
                f"{', '.join(others) or 'a folder'}; got {text!r}."
                f"{did_you_mean(text, others)}"
            )
    return list(dict.fromkeys(kinds)), others


def _load_model(options):
    """Return the user's model with its weights; None if a network is to be trained."""
    if options.model is None:
        if find_dataset(options.id) != "digits":
            raise ValueError(
                f"--model must be given for --id {options.id}, as package.module:name; "
                "there is a network for digits alone."
            )
        if options.weights is not None:
            raise ValueError("--weights needs the --model that they are of.")
        return None
    with naming_option(f"--model {options.model}"):
        model = _import_object(options.model)
        is_model = isinstance(model, nn.Module) or hasattr(model, "module_")
        if isinstance(model, type) or not is_model:
            model = model()
        module = unwrap_model(model)
    if options.weights is not None:
        with naming_option(f"--weights {options.weights}"):
            if options.weights.suffix == ".safetensors":
                home = import_package("safetensors.torch", "This file needs", "report")
                weights = home.load_file(options.weights)
            else:  # no code in the file is run
                weights = torch.load(options.weights, "cpu", weights_only=True)
            module.load_state_dict(weights)
    return module.to(options.device).eval()


def _import_object(path):
    """Import ``package.module:name``."""
    module, _, name = path.partition(":")
    if not module or not name:
        raise ValueError(f"must be package.module:name; got {path!r}.")
    return getattr(importlib.import_module(module), name)


# The inputs


def _load(option, text, options, **how):
    with naming_option(f"{option} {text}"):
        return load_dataset(
            text,
            data_dir=options.data_dir,
            download=options.download,
            memory=str(options.memory),
            **how,
        )


class _InDistribution:
    """The in-distribution data: what there is to fit on and to test with."""

    def __init__(self, options):
        found = _load("--id", options.id, options)
        self.name, self.shape = found.name, found.X.shape[1:]
        # An input that comes twice might be both fitted on and tested.
        flat = found.X.reshape(len(found.X), -1)
        rows = np.sort(np.unique(flat, axis=0, return_index=True)[1])
        if find_dataset(options.id) in ("cifar-10", "cifar-10-jpeg"):
            rows = rows[_place_in_class(found.y)[rows] < _N_PER_CIFAR_CLASS]
        self.test = found.X[rows], None if found.y is None else found.y[rows]
        self.fit = self._to_fit(options)
        self.bounds = (0.0, 1.0)
        if len(self.shape) < 3:  # series and rows have no natural bounds
            arrays = [X for X in (self.test[0], self.fit[0]) if X is not None]
            low, high = min(X.min() for X in arrays), max(X.max() for X in arrays)
            self.bounds = float(low), float(high)

    def _to_fit(self, options):
        """Return inputs and classes to fit on, None and None if there are none."""
        name, option, text = find_dataset(options.id), "--fit", options.fit
        if text is None:
            if name == "digits":
                # The network was trained on the training part.
                digits = load_digits_images()
                return digits.X_fit, digits.y_fit
            if name is None or name in ONE_PART:
                return None, None
            option, text = "--id", options.id
        data = _load(option, text, options, split="train", shape=self.shape)
        return data.X, data.y

    def draw(self, seed, options):
        """Draw inputs to test with, spare ones to attack and ones to fit on."""
        rng = np.random.default_rng(seed)
        X = self.test[0]
        # At most a third are attacked, so that enough are left to test with.
        n_spare = min(options.n_attack, len(X) // 3)
        n_test = min(options.n_test, len(X) - n_spare)
        drawn = rng.permutation(len(X))[: n_test + n_spare]
        found = _take(self.test, drawn[:n_test], "test")
        found |= _take(self.test, drawn[n_test:], "spare")
        if self.fit[0] is None:
            return found | {"X_fit": None, "y_fit": None}
        rows = rng.permutation(len(self.fit[0]))[: options.n_fit]
        # Some data sets hold a few inputs in both of their parts.
        rows = rows[is_new(self.fit[0][rows], X[drawn])]
        if not len(rows):
            raise ValueError(
                "--fit must hold other inputs than the test inputs of --id; got the "
                "same ones. Give others, or none: then folds are fitted on in turn."
            )
        return found | _take(self.fit, rows, "fit")


def _place_in_class(y):
    """Return how many inputs of the same class come before each."""
    order = np.argsort(y, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(y)) - np.searchsorted(y[order], y[order])
    return place


def _take(data, rows, role):
    X, y = data
    return {f"X_{role}": X[rows], f"y_{role}": None if y is None else y[rows]}


def _predict(model, X):
    return predict_logits(model, X).argmax(axis=1)


def _load_anomalies(texts, shape, seed, options):
    """Return other data by name, in the shape of the in-distribution inputs."""
    how = {"shape": shape, "n_samples": options.n_anomalies, "random_state": seed}
    found = {}
    for text in texts:
        group = "near data" if text in options.near else "far data"
        X = _load("--anomalies", text, options, **how).X
        # Who names none as near has not said that all are far.
        found[text] = AnomalySet(X, group=group if options.near else "other")
    return found


def _make_anomalies(model, drawn, data, kinds, seed, options):
    """Return the anomalies that are made for the model, by kind."""
    sizes = {"eps": _eps(data), "bounds": data.bounds, "n_slow": options.n_slow}
    common = {
        "threat": Threat(**sizes, random_state=seed),
        "verbose": not options.quiet,
    }
    common["memory"] = str(options.memory)
    # Protocols A and A' hold out attacks with their sources, which must be test inputs.
    of_test = PROTOCOLS[options.protocol].supervised or not len(drawn["X_spare"])
    part = "test" if of_test else "spare"
    X = drawn[f"X_{part}"][: options.n_attack]
    y = drawn[f"y_{part}"]
    # Inputs without classes are attacked as members of the predicted class.
    y = _predict(model, X) if y is None else y[: options.n_attack]
    sources = np.arange(len(X)) if of_test else None
    attacks = [kind for kind in kinds if kind not in (*_NOISE, "misclassified")]
    made = make_anomalies(model, X, y, attacks, sources=sources, **common)
    noise = [kind for kind in kinds if kind in _NOISE]
    if noise:  # as many as inputs of other data
        many = np.resize(drawn["X_test"], (options.n_anomalies, *data.shape))
        made |= make_anomalies(model, many, np.zeros(len(many)), noise, **common)
    if "misclassified" in kinds:
        spare = drawn["X_spare"], drawn["y_spare"]
        with naming_option("--anomalies misclassified needs the classes of --id"):
            made |= make_anomalies(model, *spare, ["misclassified"], **common)
    return {kind: made[kind] for kind in kinds}


def _eps(data):
    """Return the papers' bound on attacks for series, colour and grey images."""
    return 0.1 if len(data.shape) < 3 else 8 / 255 if data.shape[0] == 3 else 0.3


# The output


def _notes(options, data, model, rates):
    """Return what a reader of the report should know, by name."""
    X, y = data.test
    notes = {"data": data.name, "model": options.model or "DigitsNetwork, built in"}
    if y is not None:
        notes["accuracy on test inputs"] = f"{np.mean(_predict(model, X) == y):.1%}"
    if rates[0]:
        notes["attacks change each value by at most"] = f"{_eps(data):.4g}"
    means = {kind: np.mean([rate[kind] for rate in rates]) for kind in rates[0]}
    return notes | {
        f"success of {kind}": f"{mean:.1%}"
        for kind, mean in means.items()
        if not np.isnan(mean)  # noise has none
    }


def _show(result, notes, files, options):
    """Write the table to stdout, and what a reader of it should know."""
    cells = "Each cell: AUROC/TNR@95TPR in percent; higher is better, 50/5 is chance."
    table = f"{cells}\n\n{render_table(result)}"
    if options.quiet:
        print(table)
        return
    accuracy = notes.get("accuracy on test inputs")
    right = f", {accuracy} of the test inputs classified correctly" if accuracy else ""
    seeds = ", ".join(map(str, result.seeds))
    regret = "regret: by how many points of AUROC the best detector is better.\n"
    print(
        f"{notes['data']}; model: {notes['model']}{right}.\n"
        f"Protocol {options.protocol}; seeds: {seeds}.\n\n{table}\n\n"
        f"{regret if len(result.detectors) > 1 else ''}"
        f"false alarms: test inputs rejected at --target-fpr {options.target_fpr:g}.\n"
        f"Wrote {', '.join(map(str, files))}."
    )
