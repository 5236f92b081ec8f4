"""The benchmark of LODA runs, and prints both tables."""

import runpy
from pathlib import Path

PATH = Path(__file__).parents[2] / "benchmarks" / "loda.py"


def test_quick_run_prints_every_row(capsys):
    runpy.run_path(str(PATH))["main"](["--quick"])
    rows = [r for r in capsys.readouterr().out.splitlines() if r.startswith("|")]
    assert len(rows) == 2 + 3 + 2 + 6
    for row in rows[-6:]:
        areas = [float(cell.split()[0]) for cell in row.split("|")[2:-1]]
        assert len(areas) == 6
        assert all(0 <= area <= 100 for area in areas)
