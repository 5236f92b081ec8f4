"""``python -m skgrad evaluate``: its options, without importing torch."""

import argparse
import sys
from pathlib import Path

from ._terminal import OneLineParser, OptionError, one_line, rate, seed

PROTOCOLS = ("A", "A'", "B", "C")


def main(arguments):
    """Run ``python -m skgrad evaluate``.

    Parameters
    ----------
    arguments : list of str
        The command line after ``evaluate``.

    Returns
    -------
    int
        The exit status: 0 on success, 2 if an option cannot be met, 130 if stopped.
    """
    options = parser().parse_args(arguments)
    options.cache = options.cache or options.output / "cache"
    try:
        from .evaluation._command_line import run

        run(options)
    except OptionError as error:
        print(f"skgrad evaluate: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "skgrad evaluate: stopped. The same command goes on where it was, with "
            f"what is in {options.cache}.",
            file=sys.stderr,
        )
        return 130
    return 0


class _Defaults(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action):
        """Leave out defaults that say nothing."""
        shown = action.default not in (None, False)
        return super()._get_help_string(action) if shown else action.help


def parser():
    """Make the parser."""
    made = OneLineParser(
        prog="python -m skgrad evaluate",
        description=(
            "Judge detectors around a model against anomalies, and write table.csv, "
            "table.md and report.html. What was computed is kept in the cache: the "
            "same command again goes on where it was stopped."
        ),
        epilog=(
            "Example: python -m skgrad evaluate --id mnist --anomalies "
            "fashion-mnist,omniglot,pgd --detectors recommended,c,max-softmax "
            "--data-dir data --output report"
        ),
        formatter_class=_Defaults,
        allow_abbrev=False,
    )
    _add_data(made.add_argument_group("data"))
    _add_model(made.add_argument_group("model and detectors"))
    _add_sizes(made.add_argument_group("sizes"))
    _add_files(made.add_argument_group("where"))
    return made


def _add_data(group):
    group.add_argument(
        "--id",
        default="digits",
        metavar="DATA",
        help="in-distribution data: a name such as mnist, a folder of images, or a "
        "file .npy or .npz with X and y",
    )
    group.add_argument(
        "--fit",
        metavar="DATA",
        help="inputs to fit detectors on; if not given, those of the training part of "
        "--id that a built-in network did not see, or other folds of a folder or file",
    )
    group.add_argument(
        "--anomalies",
        type=_names,
        default="photo-patches,uniform-noise,fgsm,pgd",
        metavar="LIST",
        help="comma-separated: attacks and noise such as pgd, cw, fooling-images, "
        "misclassified; names of data; folders and files",
    )
    group.add_argument("--data-dir", type=Path, metavar="DIR", help="of named data")
    group.add_argument(
        "--download", action="store_true", help="download what is not there"
    )


def _add_model(group):
    group.add_argument(
        "--model",
        metavar="PACKAGE.MODULE:NAME",
        help="a torch module, a fitted skorch net, or what returns one; if not given, "
        "a built-in network is trained (digits, mnist, cifar-10, cifar-10-jpeg)",
    )
    group.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="of the model: .safetensors, or a state_dict of torch",
    )
    group.add_argument(
        "--detectors",
        type=_names,
        default="recommended,b,c,max-softmax",
        metavar="LIST",
        help="comma-separated: recommended, a, b, c, names of baselines such as "
        "mahalanobis; all; or package.module:name of a function that takes the model "
        "and returns a detector",
    )
    group.add_argument(
        "--protocol",
        type=_protocol,
        default="C",
        help="who is fitted on what: A, A' (or A-prime), B or C",
    )
    group.add_argument(
        "--target-fpr",
        type=rate,
        default=0.05,
        metavar="RATE",
        help="share of in-distribution inputs that a detector may reject",
    )
    group.add_argument(
        "--seeds",
        type=_seeds,
        default="0",
        metavar="LIST",
        help="comma-separated: one repetition each, of the draw of inputs and "
        "anomalies and of the detectors; the network stays the same",
    )
    group.add_argument(
        "--eps",
        type=_positive,
        metavar="SIZE",
        help="bound on the attacks' change of each value; if not given, 8/255 for "
        "colour images, 0.1 for series, 0.3 else",
    )


def _add_sizes(group):
    for flag, default, text in (
        ("--n-fit", 3000, "inputs to fit detectors on, at most"),
        ("--n-test", 1500, "in-distribution test inputs, at most"),
        ("--n-anomalies", 1000, "inputs of other data and noise, at most"),
        ("--n-attack", 300, "inputs to attack, at most"),
        ("--n-slow", 60, "of them for attacks that are slow, at most"),
    ):
        group.add_argument(flag, type=_count, default=default, metavar="N", help=text)


def _add_files(group):
    group.add_argument(
        "--output",
        type=Path,
        default=Path("skgrad-evaluation"),
        metavar="DIR",
        help="folder for the table and the report",
    )
    group.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="folder that keeps what was computed; if not given, one in --output",
    )
    group.add_argument(
        "--device", default="cpu", help="where the model computes, such as cuda"
    )
    group.add_argument(
        "--quiet", action="store_true", help="print the table and nothing else"
    )


def _names(text):
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError(
            f"must be a list separated by commas, of at least one; got {text!r}."
        )
    return list(dict.fromkeys(names))


def _seeds(text):
    return list(dict.fromkeys(map(seed, _names(text))))


def _protocol(text):
    name = text.upper().replace("-PRIME", "'").replace("_PRIME", "'")
    if name not in PROTOCOLS:
        raise argparse.ArgumentTypeError(
            f"must be A, A' (A-prime for shells), B or C; got {text!r}."
        )
    return name


def _positive(text):
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(
            f"must be a positive number such as 0.3; got {text!r}."
        )
    return value


def _count(text):
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(
            f"must be a whole number of 1 or more; got {text!r}."
        )
    return value
