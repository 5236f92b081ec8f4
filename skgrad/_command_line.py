"""The options of ``python -m skgrad`` and ``python -m skgrad evaluate``.

Nothing here imports torch, so that ``--help`` answers at once.
"""

import argparse
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming_option(option):
    """Raise errors of a part of the work as those of an option.

    User code runs inside, such as a module that is imported, so any error may come.
    """
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{option}: {kind}{error}") from error


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


# Types of options; what the library checks itself is read as it is.


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


def _names(text):
    """Read a list separated by commas; what comes twice counts once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def _seeds(text):
    return list(dict.fromkeys(map(_seed, _names(text))))


def _protocol(text):
    # Shells take an apostrophe for the beginning of a string.
    return text.upper().replace("-PRIME", "'")


# Parsers


def _parser(command, **text):
    return OneLineParser(
        prog=f"python -m {command}",
        formatter_class=_Defaults,
        allow_abbrev=False,
        **text,
    )


def _add_common(parser, folder, files):
    add = parser.add_argument
    share = "share of in-distribution inputs that a detector may reject"
    add("--target-fpr", metavar="RATE", type=_rate, default=0.05, help=share)
    add("--device", default="cpu", help="where the model computes, such as cuda")
    output = {"metavar": "DIR", "type": Path, "help": f"folder for {files}"}
    add("--output", default=Path(folder), **output)
    add("--quiet", action="store_true", help="show the table and nothing else")


def demo_parser():
    """Return the parser of ``python -m skgrad``."""
    parser = _parser(
        "skgrad",
        description=(
            "Train a small network on scikit-learn's digits, fit the detectors of "
            "three papers and their combination, and evaluate them against natural "
            "images, noise and attacks."
        ),
        epilog="python -m skgrad evaluate --help: any data, model and detectors.",
    )
    parser.add_argument("--seed", type=_seed, default=0, help="same seed, same table")
    _add_common(parser, "skgrad-report", "table.csv and scores.png")
    return parser


def evaluate_parser():
    """Return the parser of ``python -m skgrad evaluate``."""
    parser = _parser(
        "skgrad evaluate",
        description=(
            "Evaluate detectors around a model against anomalies, and write table.csv, "
            "table.md and report.html. What was computed is kept in --output: the same "
            "command again continues where it was stopped."
        ),
        epilog=(
            "Example: python -m skgrad evaluate --model package.module:net "
            "--id images/ --anomalies other.npy,pgd --detectors recommended,c "
            "--output report"
        ),
    )
    add = parser.add_argument
    add("--id", metavar="DATA", default="digits", help=_ID)
    add("--fit", metavar="DATA", help=_FIT)
    anomalies = {"type": _names, "default": "photo-patches,uniform-noise,fgsm,pgd"}
    add("--anomalies", metavar="LIST", help=_ANOMALIES, **anomalies)
    add("--near", metavar="LIST", help=_NEAR, type=_names, default=[])
    add("--data-dir", metavar="DIR", type=Path, help="folder of named data")
    add("--download", action="store_true", help="download what is missing")
    add("--model", metavar="PACKAGE.MODULE:NAME", help=_MODEL)
    add("--weights", metavar="FILE", type=Path, help=_WEIGHTS)
    detectors = {"type": _names, "default": "recommended,b,c,max-softmax"}
    add("--detectors", metavar="LIST", help=_DETECTORS, **detectors)
    protocols = {"type": _protocol, "choices": ["A", "A'", "B", "C"], "default": "C"}
    add("--protocol", help=_PROTOCOL, **protocols)
    add("--seeds", metavar="LIST", type=_seeds, default="0", help=_SEEDS)
    for flag, default, text in (
        ("--n-fit", 3000, "inputs to fit detectors on"),
        ("--n-test", 1500, "in-distribution test inputs"),
        ("--n-anomalies", 1000, "inputs of other data and noise"),
        ("--n-attack", 300, "inputs to attack"),
        ("--n-slow", 60, "of them for attacks that are slow"),
    ):
        sizes = {"metavar": "N", "type": _count, "default": default}
        add(flag, help=f"{text}, at most", **sizes)
    _add_common(parser, "skgrad-evaluation", "the tables and the report")
    return parser


_ID = """in-distribution data: a name such as mnist, a folder of images, or a file .npy
or .npz with X and y"""
_FIT = """inputs to fit detectors on; if not given, the training part of named data, or
other folds of a folder or file"""
_ANOMALIES = """comma-separated: attacks and noise such as pgd, cw, fooling-images,
misclassified; names of data; folders and files"""
_NEAR = """those of --anomalies that resemble the in-distribution data: near data in
the means by group; other data are then far data"""
_MODEL = """a torch module, a fitted skorch net, or a function that returns one; needed
unless --id is digits, for which a small network is trained"""
_WEIGHTS = "weights of the model: .safetensors, or a state_dict of torch"
_DETECTORS = """comma-separated: recommended, a, b, c, names of baselines such as
mahalanobis; all; or package.module:name of a function that receives the model and
returns a detector"""
_PROTOCOL = "what detectors are fitted on: A, A' (or A-prime), B or C"
_SEEDS = """comma-separated: one repetition each, of the draw of inputs and anomalies
and of the detectors; the network stays the same"""
