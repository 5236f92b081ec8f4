"""``python -m skgrad``: the demo; ``python -m skgrad evaluate``: any evaluation."""

import sys

from ._command_line import (
    OptionError,
    demo_parser,
    evaluate_parser,
    naming_option,
    one_line,
)


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
    if arguments[:1] == ["evaluate"]:
        name, options = "skgrad evaluate", evaluate_parser().parse_args(arguments[1:])
        options.memory = options.memory or options.output / "memory"
    else:
        name, options = "skgrad", demo_parser().parse_args(arguments)
    try:
        if name == "skgrad":
            _run_demo(options)
        else:
            from .evaluation._command import run

            run(options)
    except OptionError as error:
        print(f"{name}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = getattr(options, "memory", None)
        more = f". The same command continues with what is in {kept}" if kept else ""
        print(f"{name}: stopped{more}", file=sys.stderr)
        return 130
    return 0


def _run_demo(options):
    import torch

    from .evaluation import render_table, write_csv
    from .evaluation._demo import run_demo
    from .torch_engine.model_state import check_device

    with naming_option("--output"):
        options.output.mkdir(parents=True, exist_ok=True)
    with naming_option("--device"):
        check_device(options.device)
    # The network is so small that threads would mostly wait for one another.
    torch.set_num_threads(1)
    results, accuracy = run_demo(
        target_fpr=options.target_fpr,
        random_state=options.seed,
        device=options.device,
        verbose=not options.quiet,
    )
    with naming_option("--output"):
        table = options.output / "table.csv"
        rate = options.target_fpr
        write_csv(results, table, target_fpr=rate, random_state=options.seed)
        written = [table, *_draw(results, options.output / "scores.png")]
    if not options.quiet:
        print(
            f"Network: {100 * accuracy:.1f} % accuracy on 450 test digits (seed "
            f"{options.seed}).\nEach cell: AUROC/TNR@95TPR in percent; higher is "
            "better, 50/5 is chance.\n"
        )
    print(render_table(results))
    if not options.quiet:
        print(_legend(results, rate, written))


def _legend(results, target_fpr, files):
    supervised = [r for r in results if r.detector.startswith("A")]
    n_id = min(len(r.scores_id) for r in supervised)
    n_anomalies = [len(r.scores_anomaly) for r in supervised]
    return f"""
n: anomalies; of attacks, the successful ones.
false alarms: test digits rejected at --target-fpr {target_fpr:g}.
max softmax: the baseline. B, C, combined: fitted on digits alone.
A: supervised, trained and tested on each anomaly in turn (40/40/20), so its
   cells rest on {n_id} digits and {min(n_anomalies)} to {max(n_anomalies)} anomalies.
Wrote {" and ".join(map(str, files))}."""


def _draw(results, path):
    """Draw the figure if matplotlib is installed; return the files written."""
    from ._files import replacing
    from .evaluation import Evaluation
    from .evaluation._figures import draw_distributions

    try:
        figure = draw_distributions(Evaluation(results))
    except ImportError as error:
        print(f"skgrad: no figure. {error}", file=sys.stderr)
        return []
    with replacing(path) as part:
        figure.savefig(part, dpi=100)
    return [path]


if __name__ == "__main__":
    sys.exit(main())
