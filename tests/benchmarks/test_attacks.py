"""The benchmark of the attacks runs, and both libraries have equal success."""

import runpy
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "attacks.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # of foolbox
def test_quick_run_prints_every_row(capsys):
    runpy.run_path(str(PATH))["main"](["--quick"])
    rows = [r for r in capsys.readouterr().out.splitlines() if r.startswith("|")]
    assert len(rows) == 2 + 5
    for row in rows[2:]:
        cells = [cell.strip().rstrip("%") for cell in row.strip("|").split("|")]
        assert len(cells) == 11
        assert float(cells[3]) > 80
        assert all(float(cell) >= 0 for cell in cells[1:])
    # Without a random start the images are the same up to rounding.
    for row in (rows[2], rows[3], rows[6]):
        assert float(row.split("|")[6].strip().rstrip("%")) > 99
