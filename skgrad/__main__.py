"""The main job: judge the papers' detectors on embedded data, in about a minute."""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

N_STEPS = 7


def main(arguments=None):
    """Run ``python -m skgrad``.

    Parameters
    ----------
    arguments : list of str, default=None
        The command line; None takes it from `sys.argv`.

    Returns
    -------
    int
        The exit status, 0 on success.
    """
    options = _parser().parse_args(arguments)
    # Imported after the command line is read: --help answers at once.
    from .evaluation import judge_digits, render_table, write_csv
    from .torch_engine.model_state import check_device

    try:
        check_device(options.device)
        options.output.mkdir(parents=True, exist_ok=True)
    except (ValueError, OSError) as error:
        print(f"skgrad: {error}", file=sys.stderr)
        return 2
    with _Progress(shown=not options.quiet) as on_step:
        results, accuracy = judge_digits(
            target_fpr=options.target_fpr,
            random_state=options.seed,
            device=options.device,
            on_step=on_step,
        )
        on_step("drawing")
        files = [options.output / "table.csv"]
        write_csv(
            results,
            files[0],
            target_fpr=options.target_fpr,
            random_state=options.seed,
        )
        files += _figure(results, options.output / "scores.png")
    if not options.quiet:
        print(_heading(options, accuracy))
    print(render_table(results))
    if not options.quiet:
        print(_legend(options, files))
    return 0


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
        f"{options.seed}).\nEach cell: AUROC / TNR@95TPR, in percent; higher is "
        "better, 50 / 5 is chance.\n"
    )


def _legend(options, files):
    return (
        f"\nfalse alarms: test digits rejected at --target-fpr {options.target_fpr:g} "
        "(A: mean over its seven tests).\n"
        "n: anomalies; of attacks, the successful ones. A is supervised, trained and "
        "tested on\neach anomaly in turn (40/40/20); the others see in-distribution "
        "data alone.\n"
        "Wrote " + " and ".join(str(file) for file in files) + "."
    )


def _figure(results, path):
    """Draw the figure where matplotlib is there; return the files written."""
    from .evaluation import plot_score_distributions

    try:
        plot_score_distributions(results, path)
    except ImportError as error:
        message = "No figure without matplotlib: pip install 'skgrad[plot]'"
        print(f"{message} ({error})", file=sys.stderr)
        return []
    return [path]


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
    sys.exit(main())
