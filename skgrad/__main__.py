"""The main job: judge the papers' detectors on embedded data, within a minute."""

import argparse
import io
import os
import sys
import warnings
from pathlib import Path

from ._terminal import (
    OneLineParser,
    OptionError,
    Progress,
    check_device,
    check_writable,
    one_line,
    rate,
    seed,
)

N_STEPS = 8


def main(arguments=None):
    """Run ``python -m skgrad``, or ``python -m skgrad evaluate``.

    Parameters
    ----------
    arguments : list of str, default=None
        The command line; None takes it from `sys.argv`.

    Returns
    -------
    int
        The exit status: 0 on success, 2 if an option cannot be met, 130 if stopped.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["evaluate"]:
        from ._evaluate_options import main as evaluate

        return evaluate(arguments[1:])
    options = _parser().parse_args(arguments)
    files = {name: options.output / name for name in ("table.csv", "scores.png")}
    try:
        check_device(options.device)
        check_writable(options.output, files.values())
        _run(options, files)
    except OptionError as error:
        print(f"skgrad: {one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _run(options, files):
    import torch

    from .evaluation import judge_digits, render_table

    # The network is so small that threads would mostly wait for one another.
    torch.set_num_threads(1)
    with (
        Progress(N_STEPS, shown=not options.quiet) as on_step,
        warnings.catch_warnings(record=True) as caught,
    ):
        results, accuracy = judge_digits(
            target_fpr=options.target_fpr,
            random_state=options.seed,
            device=options.device,
            on_step=on_step,
        )
        on_step("drawing the figure")
        written, lost = _write(options, results, files)
    if not options.quiet:
        print(_heading(options, accuracy))
    print(render_table(results))
    if not options.quiet:
        print(_legend(options, results, written))
    _pass_on(caught, options.target_fpr)
    if lost is not None:
        raise OptionError(f"--output cannot be written: {lost}.") from lost


def _write(options, results, files):
    """Write what can be written; return those files, and the error if there is one."""
    from .evaluation import write_csv

    written, record = [], {"target_fpr": options.target_fpr}
    try:
        write_csv(results, files["table.csv"], random_state=options.seed, **record)
        written.append(files["table.csv"])
        if _draw(results, files["scores.png"]):
            written.append(files["scores.png"])
    except OSError as error:
        return written, error
    return written, None


def _pass_on(caught, target_fpr):
    """Say once what every detector warned of, and show other warnings as they are."""
    from .detectors import TooFewSamplesWarning

    too_few = [w for w in caught if issubclass(w.category, TooFewSamplesWarning)]
    if too_few:
        print(
            f"skgrad: --target-fpr {target_fpr:g} is less than can be promised with so "
            "few digits held out; thresholds are their lowest scores.",
            file=sys.stderr,
        )
    for warning in caught:
        if warning not in too_few:
            warnings.showwarning(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def _parser():
    parser = OneLineParser(
        prog="python -m skgrad",
        description=(
            "Train a small network on scikit-learn's digits, fit the detectors of "
            "three papers and their combination, and judge them against natural "
            "images, noise and attacks."
        ),
        epilog="python -m skgrad evaluate --help: any data, model and detectors.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seed", type=seed, default=0, help="same seed, same table")
    parser.add_argument(
        "--target-fpr",
        type=rate,
        default=0.05,
        metavar="RATE",
        help="share of in-distribution inputs that a detector may reject",
    )
    parser.add_argument(
        "--device", default="cpu", help="where the network computes, such as cuda"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("skgrad-report"),
        metavar="DIR",
        help="folder for table.csv and scores.png",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print the table and nothing else"
    )
    return parser


def _heading(options, accuracy):
    return (
        f"Network: {100 * accuracy:.1f} % accuracy on 450 test digits (seed "
        f"{options.seed}).\nEach cell: AUROC/TNR@95TPR in percent; higher is better, "
        "50/5 is chance.\n"
    )


def _legend(options, results, files):
    supervised = [r for r in results if r.detector.startswith("A")]
    n_id = min(len(r.scores_id) for r in supervised)
    n_anomalies = [len(r.scores_anomaly) for r in supervised]
    return f"""
n: anomalies; of attacks, the successful ones.
false alarms: test digits rejected at --target-fpr {options.target_fpr:g}.
max softmax: the baseline. B, C, combined: fitted on digits alone.
A: supervised, trained and tested on each anomaly in turn (40/40/20), so its
   cells rest on {n_id} digits and {min(n_anomalies)} to {max(n_anomalies)} anomalies.
Wrote {" and ".join(map(str, files)) or "no file"}."""


def _draw(results, path):
    """Draw the figure where matplotlib is there; return whether it is."""
    from .evaluation import plot_score_distributions

    try:
        plot_score_distributions(results, path)
    except ImportError as error:
        print(f"skgrad: no figure. {error}", file=sys.stderr)
        return False
    return True


def run_as_program():
    """Run `main` with the standard streams as they may be: closed, full or ASCII.

    Returns
    -------
    int
        The exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Such as the ± of a table where only ASCII can be printed.
            stream.reconfigure(errors="replace")
    try:
        status = main()
        if sys.stdout is not None:  # None if the shell closed it
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("skgrad: stopped", file=sys.stderr)
        return 130
    except OSError as error:
        if error.filename is not None:
            raise
        # Nothing more can be printed, also not by Python itself when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # whoever read has seen enough
            return 141
        print(f"skgrad: the output cannot be printed: {error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(run_as_program())
