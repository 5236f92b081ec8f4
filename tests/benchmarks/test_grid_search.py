"""The benchmark of grid searches runs, and both ways agree."""

import runpy
from pathlib import Path

PATH = Path(__file__).parents[2] / "benchmarks" / "grid_search.py"


def test_quick_run_prints_its_row(capsys):
    runpy.run_path(str(PATH))["main"](["--quick"])
    *_, row = (r for r in capsys.readouterr().out.splitlines() if r.startswith("|"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["lenet, LODA", "240"]
    assert float(cells[5]) > 0
    assert float(cells[6]) < 0.01
