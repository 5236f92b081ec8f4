"""The inputs of the command line: in-distribution data and anomalies."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import row_prints
from .._messages import did_you_mean
from .._terminal import OptionError
from ..datasets import load_dataset, load_digits_images, split_mnist
from ..datasets._load import _MADE, _NAMED, _as_name
from ._command_model import BUILT_IN
from ._make_anomalies import (
    ANOMALY_KINDS,
    Threat,
    find_anomaly_kind,
    make_anomalies,
)
from ._protocols import PROTOCOLS

# Held out of the training part for detectors, while a built-in network is trained.
_N_UNSEEN = 6000
# Test images from this one on, within each class, chose the recommended detector.
_N_NEVER_USED = 800
# Fewer are not parted into folds or into 40/40/20.
_FEWEST = 10
# What some attacks need, of the extra "attacks".
_LIBRARIES = {
    "C&W": ["foolbox"],
    "JSMA": ["art"],
    "B&B Linf": ["foolbox", "numba"],
    "B&B L2": ["foolbox", "numba"],
}


def data_name(text):
    """Return the name of a data set that ships or is known, None for a path."""
    try:
        return _as_name(text)
    except ValueError:
        return None


def load(option, text, options, **how):
    """Load data that an option asks for; errors name the option."""
    try:
        return load_dataset(
            text,
            data_dir=options.data_dir,
            download=options.download,
            cache_dir=options.cache / "images",
            **how,
        )
    except (ValueError, OSError) as error:
        message = str(error).replace("name_or_path must be", f"{option} must be")
        message = message.replace("data_dir must", "--data-dir must")
        message = message.replace("data_dir=...", "--data-dir DIR")
        message = message.replace("download=True", "--download")
        message = message.replace(
            "shape must say which size to bring images of several sizes to; got "
            "shape=None and",
            "images must have one size, so resize them to it first; got",
        )
        raise OptionError(
            message if option in message else f"{option} {text}: {message}"
        ) from error


@dataclass
class Parts:
    """What is drawn for one seed: inputs and their classes, or None."""

    fit: tuple
    judged: tuple
    spare: tuple


class InDistribution:
    """The in-distribution data: what there is to fit on and to judge with.

    Attributes
    ----------
    test, fit, train : tuple of (ndarray, ndarray)
        Inputs and classes to judge with; to fit on, None and None without any; and to
        train a built-in network on.
    """

    def __init__(self, options):
        self.name = data_name(options.id)
        found = load("--id", options.id, options)
        self.test = found.X, found.y
        self.shown = found.name
        self.shape = found.X.shape[1:]
        if self.name in ("cifar-10", "cifar-10-jpeg"):
            rows = _rank_in_class(found.y) < _N_NEVER_USED
            self.test = found.X[rows], found.y[rows]
        # Else one might be judged, and its equal be fitted on or be an anomaly.
        self.test = _taken(self.test, _first_rows(self.test[0]))
        self.train: Any = None
        self.fit = self._to_fit(options)
        self.bounds = (0.0, 1.0)
        if len(self.shape) < 3:
            values = [X for X in (self.test[0], self.fit[0]) if X is not None]
            self.bounds = (
                min(float(X.min()) for X in values),
                max(float(X.max()) for X in values),
            )

    def _to_fit(self, options):
        """Return what to fit on, and set aside what to train a network on."""
        fit = None
        if self.name == "digits":
            digits = load_digits_images()
            self.train = digits.X_train, digits.y_train
            fit = digits.X_fit, digits.y_fit
        elif options.model is None:
            data = load("--id", options.id, options, split="train")
            n_unseen = max(_N_UNSEEN, options.n_fit)
            rows = split_mnist(len(data.X), n_fit=min(n_unseen, len(data.X) // 2))
            self.train = data.X[rows.train], data.y[rows.train]
            fit = data.X[rows.fit], data.y[rows.fit]
        if options.fit is not None:
            data = load("--fit", options.fit, options, split="train", shape=self.shape)
            return data.X, data.y
        if fit is not None:
            return fit
        # Of other data there is one part, and folds of it are judged.
        if self.name is None or self.name in ("omniglot", *_MADE):
            return None, None
        data = load("--id", options.id, options, split="train", shape=self.shape)
        return data.X, data.y

    def draw(self, seed, options):
        """Draw the parts for one seed, no input in two of them."""
        rng = np.random.default_rng(seed)
        X = self.test[0]
        n_spare = min(options.n_attack, len(X) // 3)
        n_judged = min(options.n_test, len(X) - n_spare)
        order = rng.permutation(len(X))
        self._check_enough(n_judged, options)
        judged, spare = np.split(order[: n_judged + n_spare], [n_judged])
        X_fit, y_fit = self.fit
        if X_fit is not None:
            rows = rng.permutation(len(X_fit))[: options.n_fit]
            tested = set(row_prints(X[order[: n_judged + n_spare]]))
            new = [p not in tested for p in row_prints(X_fit[rows], X.dtype)]
            rows = rows[np.array(new)]
            if not len(rows):
                raise OptionError(
                    f"--fit must hold other inputs than the test inputs of --id "
                    f"{options.id}; got the same ones. Give other inputs, or none: "
                    "then folds of the test inputs are fitted on in turn."
                )
            X_fit, y_fit = _taken(self.fit, rows)
        return Parts(
            (X_fit, y_fit), _taken(self.test, judged), _taken(self.test, spare)
        )

    def _check_enough(self, n_judged, options):
        parted = self.fit[0] is None or PROTOCOLS[options.protocol].supervised
        if parted and n_judged < _FEWEST:
            raise OptionError(
                f"--id must hold more inputs; of its {len(self.test[0])} different "
                f"ones {n_judged} are judged (--n-test, and a third are for attacks at "
                f"most, --n-attack), which cannot be parted. Give {2 * _FEWEST} or "
                "more."
            )


def _first_rows(X):
    """Return the rows of inputs that equal none before them."""
    first: dict = {}
    for row, content in enumerate(row_prints(X)):
        first.setdefault(content, row)
    return np.array(list(first.values()))


def _taken(data, rows):
    return data[0][rows], None if data[1] is None else data[1][rows]


def _rank_in_class(y):
    rank = np.empty(len(y), dtype=np.intp)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        rank[rows] = np.arange(len(rows))
    return rank


def check_anomalies(options):
    """Refuse names of anomalies that there are not, and what they cannot do."""
    known = [*ANOMALY_KINDS, *_NAMED, *_MADE]
    for text in options.anomalies:
        kind = find_anomaly_kind(text)
        missing = [m for m in _LIBRARIES.get(kind, ()) if find_spec(m) is None]
        if missing:
            raise OptionError(
                f"--anomalies {text} needs {', '.join(missing)}: pip install "
                "'skgrad[attacks]', or leave it out."
            )
        if kind is None and data_name(text) is None:
            _check_path(text, known)
        same = text == options.id or (
            data_name(text) == data_name(options.id) is not None
        )
        if kind is None and same:
            raise OptionError(
                f"--anomalies must be other data than --id {options.id}; got {text!r}. "
                "Leave it out."
            )


def _check_path(text, known):
    if _exists(text):
        return
    raise OptionError(
        "--anomalies must be existing folders or files, or among "
        f"{', '.join(dict.fromkeys(known))}; got {text!r}.{did_you_mean(text, known)}"
    )


class Anomalies:
    """Makes or loads the anomalies that were asked for."""

    def __init__(self, options, data):
        self.options, self.data = options, data
        kinds = [(text, find_anomaly_kind(text)) for text in options.anomalies]
        self.kinds = list(dict.fromkeys(kind for _, kind in kinds if kind))
        self.texts = [text for text, kind in kinds if not kind]
        self.eps = options.eps or _usual_eps(data.shape)
        if "misclassified" in self.kinds and data.test[1] is None:
            raise OptionError(
                "--anomalies misclassified needs the classes of --id; got "
                f"{options.id!r}, which has none. Give a .npz with y or a folder with "
                "a subfolder per class, numbered as the model's logits."
            )

    def load(self, seed):
        """Return other data by name."""
        loaded = {}
        for text in self.texts:
            found = load(
                "--anomalies",
                text,
                self.options,
                shape=self.data.shape,
                n_samples=self.options.n_anomalies,
                random_state=seed,
            )
            loaded[text if found.name in loaded else found.name] = found.X
        return loaded

    def make(self, model, parts, predict, seed, on_step):
        """Return anomalies made of the model, by name."""
        n_noise = self.options.n_anomalies
        noise = [k for k in self.kinds if k in ("Gaussian noise", "uniform noise")]
        of_spare = [k for k in self.kinds if k == "misclassified"]
        attacks = [k for k in self.kinds if k not in (*noise, *of_spare)]
        of_test = PROTOCOLS[self.options.protocol].supervised or not len(parts.spare[0])
        X, y = _taken(
            parts.judged if of_test else parts.spare, slice(self.options.n_attack)
        )
        sources = np.arange(len(X)) if of_test else None
        common = {
            "threat": Threat(
                eps=self.eps,
                bounds=self.data.bounds,
                n_slow=self.options.n_slow,
                random_state=seed,
            ),
            "cache": self.options.cache,
            "on_step": on_step,
        }
        # What has no classes is attacked where the model puts it.
        y = predict(X) if y is None else y
        judged = parts.judged[0]
        many = np.resize(judged, (n_noise, *judged.shape[1:]))
        none = np.zeros(n_noise, dtype=int)
        made = make_anomalies(model, many, none, noise, **common) if noise else {}
        made |= make_anomalies(model, X, y, attacks, sources=sources, **common)
        if of_spare:
            X_spare, y_spare = parts.spare
            made |= make_anomalies(model, X_spare, y_spare, of_spare, **common)
        return {kind: made[kind] for kind in self.kinds}


def _usual_eps(shape):
    """Return the papers' bound for grey images, colour images and series."""
    if len(shape) < 3:
        return 0.1
    return 8 / 255 if shape[0] == 3 else 0.3


def check_id(options):
    """Refuse data without a built-in network where no model is given."""
    name = data_name(options.id)
    if name is None and options.model is None and not _exists(options.id):
        load("--id", options.id, options)  # says which names there are
    if options.model is None and name not in BUILT_IN:
        raise OptionError(
            f"--model must be given for --id {options.id}, as package.module:name; "
            f"there are built-in networks for {', '.join(BUILT_IN)}."
        )


def _exists(text):
    return bool(text) and Path(text).expanduser().exists()
