"""The page about families of networks says what works, and what raises or warns."""

import re
from pathlib import Path

import pytest
from families import FAMILIES
from family_cells import COLUMNS, Row, markdown, read_markdown

PAGE = Path(__file__).parents[1] / "doc" / "guide" / "networks.md"
ROWS = read_markdown(PAGE.read_text())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if family.slow else ())
        for name, family in FAMILIES.items()
    ],
)
def test_the_page_says_what_works(name):
    cells, family = Row(name).cells(), FAMILIES[name]
    for column, cell in cells.items():
        expected = [e[column] for e in (family.fails, family.warns) if column in e]
        assert len(cell.messages) == len(expected), (column, cell)
        assert all(map(re.search, expected, cell.messages)), (column, cell)
        assert (cell.text == "no") == (column in family.fails), (column, cell)
        assert cell.shown == ROWS[name][column].shown


def test_the_page_has_all_families():
    assert list(ROWS) == list(FAMILIES)
    assert all(list(row) == list(COLUMNS) for row in ROWS.values())
    # What the command beside the tables prints.
    for part in markdown(ROWS).split("\n\n"):
        assert part in PAGE.read_text()
