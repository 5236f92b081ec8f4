"""The scripts and modules of examples/papers, which import each other by name."""

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "papers"
MODULES = [path.stem for path in FOLDER.glob("*.py")]


@pytest.fixture(autouse=True)
def papers(monkeypatch):
    """Put the folder on the path; return it."""
    monkeypatch.syspath_prepend(FOLDER)
    yield FOLDER
    for name in MODULES:
        sys.modules.pop(name, None)
