"""The benchmark runs, and its ways compute the same thing."""

import importlib.util
from pathlib import Path

import pytest
import torch
from numpy.testing import assert_allclose

PATH = Path(__file__).parents[2] / "benchmarks" / "engine.py"


@pytest.fixture(scope="module")
def engine():
    spec = importlib.util.spec_from_file_location("benchmarks_engine", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ways_agree(engine):
    ways = engine.Ways("tiny", 3, torch.device("cpu"))
    # The loss of the rivals is summed over classes, that of the paper averaged.
    norms = ways.norms()[:, 0] * engine.N_CLASSES**2
    assert_allclose(norms, ways.norms_by_loop(), rtol=1e-4)
    assert_allclose(norms, ways.norms_by_vmap().detach(), rtol=1e-4)
    summed = ways.plain()
    assert len(summed) == norms.shape[1]
    matrices, _ = ways.cosines()
    assert_allclose(matrices, ways.cosines_by_full_passes(), atol=0.02)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is read as on Linux"
)
def test_quick_run_prints_every_row(engine, capsys):
    threads = torch.get_num_threads()
    try:
        engine.main(["--quick", "--threads", "1"])
    finally:
        torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tiny, batch 4, 2 rounds; 1 CPU threads")
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + len(engine.TIMES) + 1
    for what, *_, goal in [*engine.TIMES, engine.MEMORY]:
        (row,) = [row for row in rows if row.startswith(f"| {what} |")]
        assert row.endswith(f"| {goal} |")
        assert float(row.split("|")[2]) > 0
