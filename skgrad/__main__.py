"""``python -m skgrad``: the demo; ``python -m skgrad evaluate``: any evaluation."""

import csv
import pickle
import sys

from ._command_line import demo_parser, evaluate_parser, one_line

# What the library raises for arguments and files: here, for options.
_ERRORS = ValueError, TypeError, ImportError, OSError, pickle.PicklingError


def main(arguments=None):
    """Run the demo, or an evaluation if the first argument is ``evaluate``.

    Parameters
    ----------
    arguments : list of str, default=None
        The command line; None reads it from `sys.argv`.

    Returns
    -------
    int
        The exit status: 0 on success, 2 if an option cannot be met, 130 if stopped.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    name, kept = "skgrad", ""
    if arguments[:1] == ["evaluate"]:
        name, options = "skgrad evaluate", evaluate_parser().parse_args(arguments[1:])
        options.memory = options.output / "memory"
        kept = f". The same command continues with what is in {options.memory}"
    else:
        options = demo_parser().parse_args(arguments)
    try:
        # Imported here, as torch takes seconds, which --help should not cost.
        if kept:
            from .evaluation._command import run
        else:
            run = _run_demo
        run(options)
    except _ERRORS as error:
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: stopped{kept}", file=sys.stderr)
        return 130
    return 0


def _run_demo(options):
    import torch

    from .evaluation import render_table
    from .evaluation._demo import run_demo
    from .torch_engine.model_state import check_device

    options.output.mkdir(parents=True, exist_ok=True)
    check_device(options.device)
    # The network is so small that threads would mostly wait for one another.
    torch.set_num_threads(1)
    results, accuracy = run_demo(
        target_fpr=options.target_fpr,
        random_state=options.seed,
        device=options.device,
        verbose=not options.quiet,
    )
    files = [_write_csv(results, options), *_draw(results, options)]
    if options.quiet:
        print(render_table(results))
        return
    print(
        f"Network: {100 * accuracy:.1f} % accuracy on 450 test digits (seed "
        f"{options.seed}).\nEach cell: AUROC/TNR@95TPR in percent; higher is "
        f"better, 50/5 is chance.\n\n{render_table(results)}"
    )
    print(_legend(results, options.target_fpr, files))


def _write_csv(results, options):
    """Write a line per detector and kind of anomaly; the demo needs no pandas."""
    from ._files import replacing

    lines = [
        {
            "detector": r.detector,
            "anomaly": r.anomaly,
            "n_in_distribution": len(r.scores_id),
            "n_anomalies": len(r.scores_anomaly),
            **{name: f"{value:.6f}" for name, value in r.metrics.items()},
            "target_fpr": options.target_fpr,
            "realised_fpr": f"{r.realised_fpr:.6f}",
            "seed": options.seed,
        }
        for r in results
    ]
    path = options.output / "table.csv"
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return path


def _legend(results, target_fpr, files):
    supervised = [r for r in results if r.detector.startswith("A")]
    n_id = min(len(r.scores_id) for r in supervised)
    n_anomalies = [len(r.scores_anomaly) for r in supervised]
    return f"""
n: anomalies; of attacks, the successful ones.
regret: by how many points of AUROC the best detector is better.
false alarms: test digits rejected at --target-fpr {target_fpr:g}.
max softmax: the baseline. B, C, combined: fitted on digits alone.
A: supervised, trained and tested on each anomaly in turn (40/40/20), so its
   cells rest on {n_id} digits and {min(n_anomalies)} to {max(n_anomalies)} anomalies.
Wrote {" and ".join(map(str, files))}."""


def _draw(results, options):
    """Draw the figure if matplotlib is installed; return the files written."""
    from ._files import replacing
    from .evaluation import Evaluation
    from .evaluation._figures import draw_distributions

    try:
        figure = draw_distributions(Evaluation(results))
    except ImportError as error:
        print(f"skgrad: no figure. {error}", file=sys.stderr)
        return []
    path = options.output / "scores.png"
    with replacing(path) as part:
        figure.savefig(part, dpi=100)
    return [path]


if __name__ == "__main__":
    sys.exit(main())
