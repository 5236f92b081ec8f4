"""Runs that are stopped, and streams that are closed: what was done is not lost."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from recording_detectors import Distance, linear_model, rows

from skgrad import _files
from skgrad.evaluation import _fitting, evaluate

KIND = "Faults"
X_TEST, X_FIT = rows(30, seed=1)[0], rows(40, seed=2)[0]
KINDS = {"far": rows(15, 3, 3.0)[0], "noise": rows(12, seed=4, shift=1.0)[0]}
N_STEPS = 2 * 2 * (1 + len(KINDS))  # detectors, seeds, the test inputs and each kind


def judge(cache=None):
    detectors = {"d": Distance(), "e": Distance(power=2.0)}
    return evaluate(
        linear_model(),
        detectors,
        X_TEST,
        KINDS,
        X_fit=X_FIT,
        seeds=[0, 1],
        cache=cache,
    )


def stopping(function, k, calls):
    """Return the function, which is interrupted at its k-th call."""

    def run(*args):
        calls.append(1)
        if len(calls) == k:
            raise KeyboardInterrupt
        return function(*args)

    return run


@pytest.fixture(scope="module")
def uninterrupted():
    return judge()


def same(one, two):
    return all(
        np.array_equal(a.scores_id, b.scores_id)
        and np.array_equal(a.scores_anomaly, b.scores_anomaly)
        and np.array_equal(a.rejected_id, b.rejected_id)
        for a, b in zip(one.results, two.results, strict=True)
    )


@pytest.mark.parametrize("k", [1, 2, 5, 7, N_STEPS])
@pytest.mark.parametrize("where", ["scoring", "writing"])
def test_evaluation_goes_on(where, k, tmp_path, monkeypatch, counted, uninterrupted):
    home, name = {
        "scoring": (_fitting.Judge, "_score"),
        "writing": (_files, "_to_disk"),
    }[where]
    calls = []
    with monkeypatch.context() as patch:
        patch.setattr(home, name, stopping(getattr(home, name), k, calls))
        with pytest.raises(KeyboardInterrupt) as caught:
            judge(tmp_path)
    (note,) = caught.value.__notes__
    assert "same call goes on where it was" in note
    assert str(tmp_path) in note
    assert len(list((tmp_path / "scores").iterdir())) == k - 1
    scored, score = [], _fitting.Judge._score
    with monkeypatch.context() as patch:
        patch.setattr(_fitting.Judge, "_score", stopping(score, 0, scored))
        found = judge(tmp_path)
    assert len(scored) == N_STEPS - (k - 1)
    assert same(found, uninterrupted)
    counted(KIND, f"evaluate: stopped while {where}", "survived: goes on, same result")


def test_without_a_cache_no_promise_is_made(monkeypatch, counted):
    monkeypatch.setattr(_fitting.Judge, "_score", stopping(None, 1, []))
    with pytest.raises(KeyboardInterrupt) as caught:
        judge()
    assert "Give cache=" in caught.value.__notes__[0]
    counted(KIND, "evaluate: stopped without cache", "stopped: a way out for next time")


def heed_interrupts():
    """Undo what a shell does to the programs that it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_signal_to_the_command(tmp_path, counted):
    command = [sys.executable, "-m", "skgrad", "evaluate", "--output", str(tmp_path)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    # The cache is made when all options were checked.
    while not (tmp_path / "cache").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert "The same command goes on where it was" in err
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.name[0] == "."]
    counted(KIND, "python -m skgrad evaluate: SIGINT", "stopped: 130, one line")


PRINTER = """
import sys
import skgrad.__main__ as main_job
def work():
    print("mean \\u00b1 deviation\\n" * {n})
    return 0
main_job.main = work
sys.exit(main_job.run_as_program())
"""


def printed(n, **options):
    return subprocess.run(
        [sys.executable, "-c", PRINTER.format(n=n)],
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("n", [1, 10_000])
def test_nobody_reads(n, counted):
    ours, theirs = os.pipe()
    os.close(ours)
    done = printed(n, stdout=theirs)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")
    counted(KIND, "python -m skgrad | head -1", "survived: ends quietly, 141")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")
def test_output_is_full(counted):
    with open("/dev/full", "w") as full:
        done = printed(10, stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith("skgrad: the output cannot be printed: [Errno 28]")
    assert done.stderr.count("\n") == 1
    counted(KIND, "python -m skgrad > full disk", "refused: one line, status 1")


def test_only_ascii_can_be_printed(counted):
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "TERM": "dumb"}
    done = printed(1, stdout=subprocess.PIPE, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mean ? deviation")
    counted(KIND, "python -m skgrad in an ASCII terminal", "survived: ? for ±")


def test_output_is_closed(counted):
    command = f'"{sys.executable}" -c "$CODE" >&-'
    done = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "CODE": PRINTER.format(n=3)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    counted(KIND, "python -m skgrad >&-", "survived: ends quietly, 0")
