"""``python -m skgrad evaluate``: the work behind the options."""

import re
import sys
import warnings
from functools import reduce
from operator import add

import numpy as np

from .._messages import did_you_mean
from .._terminal import (
    OptionError,
    Progress,
    check_device,
    check_writable,
    one_line,
)
from ..feature_extraction import LayerActivationTransformer
from ._command_data import Anomalies, InDistribution, check_anomalies, check_id
from ._command_model import import_object, load_model, train_or_load
from ._detectors_by_name import (
    DETECTOR_KINDS,
    SUPERVISED,
    checked_names,
    find_detector,
    make_detectors,
)
from ._evaluate import check_detectors, evaluate
from ._evaluation import import_pandas
from ._fitting import needs_anomalies
from ._protocols import PROTOCOLS
from ._report import render_table
from ._report._summary import Summary, nan_mean, nan_spread
from ._report._tables import aligned, percent


def run(options):
    """Evaluate what the options ask for, print the table and write the report.

    Parameters
    ----------
    options : Namespace
        The options, as `skgrad._evaluate_options` reads them.

    Raises
    ------
    OptionError
        If an option cannot be met; nearly always before any long work.
    """
    own_detectors = _check_options(options)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Of a run that fails or is stopped: what the next one will not find.
        shown: str | tuple = ("cache:", "--cache:", "memory:")
        try:
            result, notes, files, lost = _Run(options, own_detectors)()
            _print(result, notes, files, options)
            shown = ""
        finally:
            told = dict.fromkeys(one_line(warning.message) for warning in caught)
            for text in told:
                if text.startswith(shown):
                    print(f"skgrad evaluate: {text}", file=sys.stderr)
    if lost is not None:
        raise lost


def _check_options(options):
    """Refuse what can be refused without data; return the user's own detectors."""
    files = [options.output / n for n in ("table.csv", "table.md", "report.html")]
    check_writable(options.output, files)
    check_writable(options.cache, [options.cache / "writable"], "--cache")
    try:
        import_pandas()
    except ImportError as error:
        raise OptionError(f"--output: {error}") from error
    check_device(options.device)
    if options.weights is not None and options.model is None:
        raise OptionError(
            f"--weights needs the --model that they are of; got {options.weights} "
            "alone. Such as --model skgrad.evaluation:LeNet."
        )
    check_id(options)
    check_anomalies(options)
    return _check_detectors(options)


def _check_detectors(options):
    """Refuse names that there are not, and detectors that cannot be fitted."""
    own = {}
    for text in options.detectors:
        if ":" in text and find_detector(text) is None:
            name = text.partition(":")[2]
            own[text if name in own else name] = import_object(text, "--detectors")
        elif text not in ("all", "unsupervised"):
            found = find_detector(text)
            if found is None:
                raise OptionError(
                    f"--detectors must be among all, {', '.join(DETECTOR_KINDS)}, or "
                    f"package.module:name; got {text!r}."
                    f"{did_you_mean(text, DETECTOR_KINDS)}"
                )
            if found in SUPERVISED.values():
                _check_supervision(text, options)
    return own


def _check_supervision(text, options):
    if not PROTOCOLS[options.protocol].supervised:
        raise OptionError(
            f"--detectors {text} learns from anomalies, of which protocol "
            f"{options.protocol} gives it none. Add --protocol A (the kind judged is "
            "learnt from) or --protocol A-prime (all others are), or leave it out."
        )


class _Run:
    """One evaluation: the data, the model, then seed by seed."""

    def __init__(self, options, own_detectors):
        self.options, self.own = options, own_detectors
        self.model = None if options.model is None else load_model(options)
        self.data = InDistribution(options)
        self.anomalies = Anomalies(options, self.data)
        self._check_classes()

    def __call__(self):
        options = self.options
        # The data sets of the first seed are read before a network is trained.
        others = {options.seeds[0]: self.anomalies.load(options.seeds[0])}
        n_steps = 2 + len(options.seeds) * (
            len(self.anomalies.kinds) + len(self._names()) + len(self.own)
        )
        if self.model is not None:
            self._take_model(lambda line: None)
        with Progress(n_steps, shown=not options.quiet) as on_step:
            if self.model is None:
                self._take_model(on_step)
            detectors = self._make_detectors()
            parts, made = [], []
            for seed in options.seeds:
                of_seed = others.get(seed) or self.anomalies.load(seed)
                one = self._judge(seed, of_seed, detectors, on_step)
                parts.append(one[0])
                made.append(one[1])
            result = reduce(add, parts)
            on_step("writing the report")
            notes = self._notes(made)
            files, lost = self._write(result, notes)
        return result, notes, files, lost

    def _take_model(self, on_step):
        """Train or load a built-in network, and look at what the model returns."""
        options, X = self.options, self.data.test[0]
        if self.model is None:
            X_train, y_train = self.data.train
            self.model = train_or_load(
                self.data.name, X_train, y_train, options, on_step
            )
        logits = LayerActivationTransformer(self.model, "logits")
        logits.set_params(memory=str(options.cache))
        self.predict = lambda X: logits.fit(X).transform(X).argmax(axis=1)
        try:
            n_classes = logits.fit(X[:2]).transform(X[:2]).shape[1]
        except (ValueError, TypeError, RuntimeError) as error:
            raise OptionError(
                f"--model must take the inputs of --id, of shape {self.data.shape}, "
                f"and return logits; {options.model!r} does not: {error}"
            ) from error
        for name, (_, y) in (("--id", self.data.test), ("--fit", self.data.fit)):
            if y is not None and not 0 <= y.min() <= y.max() < n_classes:
                raise OptionError(
                    f"{name} must have the model's classes, 0 to {n_classes - 1}; it "
                    f"has classes {y.min()} to {y.max()}. Folders of classes are "
                    "numbered in the order of their names."
                )
        if n_classes < 3 and "B: LODA" in self._names():
            raise OptionError(
                "--detectors b compares gradients of 3 or more classes; the model "
                f"returns {n_classes} logits. Name the others, and leave b out."
            )

    def _check_classes(self):
        """Refuse protocol B without the classes that tell what is correct."""
        option, (X, y) = "--fit", self.data.fit
        if X is None:
            option, (X, y) = "--id", self.data.test
        if PROTOCOLS[self.options.protocol].correct_only and y is None:
            raise OptionError(
                f"--protocol B fits on inputs that the model classifies correctly, and "
                f"{option} has no classes. Give a .npz with y or a folder with a "
                "subfolder per class, or take --protocol C."
            )

    def _names(self):
        """Return the names in tables of the detectors that ship, each once."""
        supervised = PROTOCOLS[self.options.protocol].supervised
        every = "all" if supervised else "unsupervised"
        names = []
        for name in self.options.detectors:
            if name in ("all", "unsupervised"):
                names += checked_names(every if name == "all" else name)
            elif found := find_detector(name):
                names.append(found)
        return list(dict.fromkeys(names))

    def _make_detectors(self):
        made = make_detectors(
            self.model,
            self._names(),
            target_fpr=self.options.target_fpr,
            bounds=self.data.bounds,
        )
        for name, make in self.own.items():
            free = name if name not in made else f"{name} (own)"
            made[free] = self._own_detector(name, make)
        return made

    def _own_detector(self, name, make):
        try:
            detector = make(self.model)
            check_detectors({name: detector})
        except Exception as error:
            raise OptionError(
                f"--detectors {name} must be a function that takes the model and "
                f"returns a detector; it fails with {type(error).__name__}: {error}"
            ) from error
        if needs_anomalies(detector):
            _check_supervision(name, self.options)
        return detector

    def _judge(self, seed, others, detectors, on_step):
        """Return the evaluation of one seed, and its anomalies."""
        options = self.options
        parts = self.data.draw(seed, options)
        try:
            made = self.anomalies.make(self.model, parts, self.predict, seed, on_step)
        except (ValueError, TypeError) as error:
            raise OptionError(f"--anomalies cannot be made: {error}") from error
        X_test, y_test = parts.judged
        if not hasattr(self, "accuracy"):
            right = None if y_test is None else self.predict(X_test) == y_test
            self.accuracy = np.nan if right is None else float(right.mean())
        try:
            result = evaluate(
                self.model,
                detectors,
                X_test,
                {**others, **made},
                y_test=y_test,
                X_fit=parts.fit[0],
                y_fit=parts.fit[1],
                protocol=options.protocol,
                seeds=[seed],
                cache=options.cache,
                on_step=on_step,
            )
        except (ValueError, TypeError) as error:
            raise OptionError(_with_options(error)) from error
        return result, made

    def _write(self, result, notes):
        """Write the report; return its files, and the error if that cannot be."""
        options, title = self.options, f"Detectors on {self.data.shown}"
        try:
            return result.write(options.output, title=title, notes=notes), None
        except OSError as error:
            return [], OptionError(
                f"--output cannot be written: {error}. The scores are in the cache: "
                f"with --cache {options.cache} and another --output the same command "
                "takes them from there."
            )

    def _notes(self, made):
        options = self.options
        notes = {
            "data": self.data.shown,
            "model": options.model or f"{type(self.model).__name__}, built in",
        }
        if options.weights is not None:
            notes["weights"] = options.weights.name
        if not np.isnan(self.accuracy):
            notes["accuracy on test inputs"] = f"{self.accuracy:.1%}"
        if self.anomalies.kinds:
            notes["attacks change each value by at most"] = f"{self.anomalies.eps:.4g}"
        for kind in self.anomalies.kinds:
            rates = np.array([sets[kind].success_rate for sets in made])
            if not np.isnan(rates).any():
                notes[f"success of {kind}"] = f"{rates.mean():.1%}"
        return notes


def _with_options(error):
    """Put the options in place of the parameters that an error names."""
    text = re.sub(r"\b(anomalies|detectors)\['(.*?)'\]", r"--\1 \2", str(error))
    return text.replace("X_test", "the test inputs of --id")


def _print(result, notes, files, options):
    """Print the table, and what a reader of it should know."""
    if not options.quiet:
        accuracy = notes.get("accuracy on test inputs")
        right = f", {accuracy} of the test inputs classified correctly" * bool(accuracy)
        seeds = ", ".join(map(str, result.seeds))
        print(f"{notes['data']}; model: {notes['model']}{right}.")
        print(f"Protocol {options.protocol}; seeds: {seeds}.\n")
    print(_table(result))
    if options.quiet:
        return
    rates = [
        f"{key.removeprefix('success of ')} {value}"
        for key, value in notes.items()
        if key.startswith("success of ")
    ]
    if rates:
        print(f"\nAttacks succeed (only these inputs count): {', '.join(rates)}.")
    print(
        f"false alarms: test inputs rejected at --target-fpr {options.target_fpr:g}.\n"
        + f"Wrote {', '.join(map(str, files))}." * bool(files)
    )


def _table(result):
    """Lay out AUROC and TNR@95TPR, with the spread where there are several seeds."""
    if len(result.seeds) == 1:
        return (
            "Each cell: AUROC/TNR@95TPR in percent; higher is better, 50/5 is chance.\n"
            f"\n{render_table(result)}"
        )
    summary = Summary(result)
    tables = [
        f"{heading} in percent, mean ± standard deviation over seeds\n\n"
        + _spread_table(summary, metric)
        for heading, metric in (("AUROC", "auroc"), ("TNR@95TPR", "tnr_at_95tpr"))
    ]
    return "\n\n".join(tables)


def _spread_table(summary, metric):
    """Lay out one metric: a row per kind of anomaly, a column per detector."""
    values, rates = summary.values(metric), summary.values("realised_fpr")

    def cells(of_detectors):
        return [percent(nan_mean(v), nan_spread(v)) for v in of_detectors]

    rows = [["anomaly", *summary.detectors]]
    for j, kind in enumerate(summary.anomalies):
        rows.append([kind, *cells(values[:, j])])
    rows.append(["mean", *cells(nan_mean(values, axis=1))])
    rows.append(["false alarms", *cells(nan_mean(rates, axis=1))])
    return aligned(rows, rules=(1, len(summary.anomalies) + 1))
