"""The options of ``python -m skgrad`` and ``python -m skgrad evaluate``.

Nothing here imports torch, so that ``--help`` answers at once.
"""

import argparse
from contextlib import contextmanager
from pathlib import Path


class OptionError(Exception):
    """An option that is well-formed but cannot be met."""


@contextmanager
def naming_option(option):
    """Raise errors of a part of the work as those of an option.

    User code runs inside, such as a module that is imported, so any error may come.
    """
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise OptionError(f"{option}: {kind}{error}") from error


def one_line(message):
    """Return a message in one line that is not too long to read."""
    text = " ".join(str(message).split())
    return text if len(text) <= 1000 else f"{text[:1000]} ..."


class OneLineParser(argparse.ArgumentParser):
    """Reads a command line; the error for a wrong one is one line."""

    def error(self, message):
        """Exit with what is wrong, without the usage."""
        name = self.prog.removeprefix("python -m ")
        self.exit(2, f"{name}: {one_line(message).rstrip('.')}. See --help.\n")


class _Defaults(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action):
        """Leave out defaults that say nothing."""
        shown = action.default not in (None, False)
        return super()._get_help_string(action) if shown else action.help


# Types of options


def _number(kind, low, high, valid):
    """Return a function that reads a number between two others."""

    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = low
        if not low < value < high:
            raise argparse.ArgumentTypeError(f"must be {valid}; got {text!r}")
        return value

    return read


_seed = _number(int, -1, 2**32, f"a whole number from 0 to {2**32 - 1}")
_count = _number(int, 0, float("inf"), "a whole number of 1 or more")
_rate = _number(float, 0, 1, "a share strictly between 0 and 1, such as 0.05")
_positive = _number(float, 0, float("inf"), "a positive number such as 0.3")


def _names(text):
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError(
            f"must be a list separated by commas, of at least one; got {text!r}."
        )
    return list(dict.fromkeys(names))


def _seeds(text):
    return list(dict.fromkeys(map(_seed, _names(text))))


def _protocol(text):
    name = text.upper().replace("-PRIME", "'").replace("_PRIME", "'")
    if name not in ("A", "A'", "B", "C"):
        raise argparse.ArgumentTypeError(
            f"must be A, A' (A-prime for shells), B or C; got {text!r}."
        )
    return name


# Parsers


def _options(group, *options):
    """Add options: flag, name of the value, help, further arguments of argparse."""
    for flag, value, text, how in options:
        group.add_argument(flag, metavar=value, help=text, **how)


def _add_common(parser, folder, files):
    share = "share of in-distribution inputs that a detector may reject"
    device = "where the model computes, such as cuda"
    output = {"type": Path, "default": Path(folder)}
    _options(
        parser,
        ("--target-fpr", "RATE", share, {"type": _rate, "default": 0.05}),
        ("--device", "DEVICE", device, {"default": "cpu"}),
        ("--output", "DIR", f"folder for {files}", output),
    )
    parser.add_argument(
        "--quiet", action="store_true", help="show the table and nothing else"
    )


def demo_parser():
    """Return the parser of ``python -m skgrad``."""
    parser = OneLineParser(
        prog="python -m skgrad",
        description=(
            "Train a small network on scikit-learn's digits, fit the detectors of "
            "three papers and their combination, and evaluate them against natural "
            "images, noise and attacks."
        ),
        epilog="python -m skgrad evaluate --help: any data, model and detectors.",
        formatter_class=_Defaults,
    )
    same = "same seed, same table"
    _options(parser, ("--seed", "SEED", same, {"type": _seed, "default": 0}))
    _add_common(parser, "skgrad-report", "table.csv and scores.png")
    return parser


def evaluate_parser():
    """Return the parser of ``python -m skgrad evaluate``."""
    parser = OneLineParser(
        prog="python -m skgrad evaluate",
        description=(
            "Evaluate detectors around a model against anomalies, and write table.csv, "
            "table.md and report.html. The scores are kept in --memory: the same "
            "command again continues where it was stopped."
        ),
        epilog=(
            "Example: python -m skgrad evaluate --model package.module:net "
            "--id images/ --anomalies other.npy,pgd --detectors recommended,c "
            "--output report"
        ),
        formatter_class=_Defaults,
        allow_abbrev=False,
    )
    data = parser.add_argument_group("data")
    anomalies = {"type": _names, "default": "photo-patches,uniform-noise,fgsm,pgd"}
    _options(data, ("--id", "DATA", _ID, {"default": "digits"}))
    _options(data, ("--fit", "DATA", _FIT, {}))
    _options(data, ("--anomalies", "LIST", _ANOMALIES, anomalies))
    _options(data, ("--data-dir", "DIR", "folder of named data", {"type": Path}))
    data.add_argument(
        "--download", action="store_true", help="download what is missing"
    )
    detectors = {"type": _names, "default": "recommended,b,c,max-softmax"}
    _options(
        parser.add_argument_group("model and detectors"),
        ("--model", "PACKAGE.MODULE:NAME", _MODEL, {}),
        ("--weights", "FILE", _WEIGHTS, {"type": Path}),
        ("--detectors", "LIST", _DETECTORS, detectors),
        ("--protocol", "NAME", _PROTOCOL, {"type": _protocol, "default": "C"}),
        ("--seeds", "LIST", _SEEDS, {"type": _seeds, "default": "0"}),
        ("--eps", "SIZE", _EPS, {"type": _positive}),
    )
    _options(
        parser.add_argument_group("sizes"),
        *(
            (flag, "N", f"{text}, at most", {"type": _count, "default": default})
            for flag, default, text in (
                ("--n-fit", 3000, "inputs to fit detectors on"),
                ("--n-test", 1500, "in-distribution test inputs"),
                ("--n-anomalies", 1000, "inputs of other data and noise"),
                ("--n-attack", 300, "inputs to attack"),
                ("--n-slow", 60, "of them for attacks that are slow"),
            )
        ),
    )
    output = parser.add_argument_group("output")
    _add_common(output, "skgrad-evaluation", "the tables and the report")
    _options(output, ("--memory", "DIR", _MEMORY, {"type": Path}))
    return parser


_ID = """in-distribution data: a name such as mnist, a folder of images, or a file .npy
or .npz with X and y"""
_FIT = """inputs to fit detectors on; if not given, the training part of named data, or
other folds of a folder or file"""
_ANOMALIES = """comma-separated: attacks and noise such as pgd, cw, fooling-images,
misclassified; names of data; folders and files"""
_MODEL = """a torch module, a fitted skorch net, or a function that returns one; needed
unless --id is digits, for which a small network is trained"""
_WEIGHTS = "weights of the model: .safetensors, or a state_dict of torch"
_DETECTORS = """comma-separated: recommended, a, b, c, names of baselines such as
mahalanobis; all; or package.module:name of a function that receives the model and
returns a detector"""
_PROTOCOL = "what detectors are fitted on: A, A' (or A-prime), B or C"
_SEEDS = """comma-separated: one repetition each, of the draw of inputs and anomalies
and of the detectors; the network stays the same"""
_EPS = """bound on the attacks' change of each value; if not given, 8/255 for colour
images, 0.1 for series, 0.3 otherwise"""
_MEMORY = "folder that keeps what was computed; if not given, one in --output"
