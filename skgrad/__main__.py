"""The main job: judge the papers' detectors on embedded data, within a minute."""

import argparse
import sys
import warnings
from pathlib import Path

from tqdm import tqdm

N_STEPS = 8


def main(arguments=None):
    """Run ``python -m skgrad``.

    Parameters
    ----------
    arguments : list of str, default=None
        The command line; None takes it from `sys.argv`.

    Returns
    -------
    int
        The exit status: 0 on success, 2 if an option cannot be met.
    """
    options = _parser().parse_args(arguments)
    files = {name: options.output / name for name in ("table.csv", "scores.png")}
    try:
        _check_device(options.device)
        _check_writable(options.output, files.values())
        _run(options, files)
    except _OptionError as error:
        print(f"skgrad: {error}", file=sys.stderr)
        return 2
    return 0


class _OptionError(Exception):
    """An option that is well-formed but cannot be met."""


def _check_device(device):
    # Imported after the command line is read: --help answers at once.
    from .torch_engine.model_state import check_device

    try:
        check_device(device)
    except ValueError as error:
        raise _OptionError(
            "--device must be one that torch can use here, such as cpu or cuda; got "
            f"{device!r}. {error.__cause__}"
        ) from error


def _check_writable(folder, files):
    """Find out before the work, not after it, whether the report can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            existed = file.exists()
            with file.open("ab"):
                pass
            if not existed:
                file.unlink()
    except OSError as error:
        raise _OptionError(
            f"--output must be a folder that can be written; got {str(folder)!r}: "
            f"{error.strerror or error}. Choose another with --output DIR."
        ) from error


def _run(options, files):
    import torch

    from .evaluation import judge_digits, render_table, write_csv

    # The network is so small that threads would mostly wait for one another.
    torch.set_num_threads(1)
    with (
        _Progress(shown=not options.quiet) as on_step,
        warnings.catch_warnings(record=True) as caught,
    ):
        results, accuracy = judge_digits(
            target_fpr=options.target_fpr,
            random_state=options.seed,
            device=options.device,
            on_step=on_step,
        )
        on_step("drawing the figure")
        drawn = _draw(results, files["scores.png"])
    write_csv(
        results,
        files["table.csv"],
        target_fpr=options.target_fpr,
        random_state=options.seed,
    )
    if not options.quiet:
        print(_heading(options, accuracy))
    print(render_table(results))
    if not options.quiet:
        written = [file for file in files.values() if drawn or file.suffix == ".csv"]
        print(_legend(options, results, written))
    _pass_on(caught, options.target_fpr)


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
    parser = argparse.ArgumentParser(
        prog="python -m skgrad",
        description=(
            "Train a small network on scikit-learn's digits, fit the detectors of "
            "three papers and their combination, and judge them against natural "
            "images, noise and attacks."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seed", type=_seed, default=0, help="same seed, same table")
    parser.add_argument(
        "--target-fpr",
        type=_rate,
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


def _seed(text):
    value = int(text) if text.isdecimal() else -1
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 0 to {2**32 - 1}, got {text!r}"
        )
    return value


def _rate(text):
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(
            f"must be a share strictly between 0 and 1, such as 0.05, got {text!r}"
        )
    return value


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
Wrote {" and ".join(map(str, files))}."""


def _draw(results, path):
    """Draw the figure where matplotlib is there; return whether it is."""
    from .evaluation import plot_score_distributions

    try:
        plot_score_distributions(results, path)
    except ImportError as error:
        message = "No figure without matplotlib: pip install 'skgrad[plot]'"
        print(f"skgrad: {message} ({error})", file=sys.stderr)
        return False
    return True


class _Progress:
    """A bar that names the current step, on a terminal."""

    def __init__(self, *, shown):
        # disable=None hides the bar where stderr is no terminal.
        self._bar = tqdm(
            total=N_STEPS,
            disable=None if shown else True,
            bar_format="{n_fmt}/{total_fmt} {desc} [{elapsed}]",
            leave=False,
        )
        self._started = 0

    def __enter__(self):
        return self._on_step

    def __exit__(self, *exception):
        self._bar.close()

    def _on_step(self, line):
        self._bar.n = self._started
        self._started += 1
        self._bar.set_description_str(line)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("skgrad: stopped", file=sys.stderr)
        sys.exit(130)
