"""Records and tables of `geometric_reproduction.py`."""

import csv
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass
class Record:
    """One figure of the tables."""

    section: str
    network: str
    variation: str
    seed: int
    kind: str
    n: int
    auroc: float
    tnr: float = np.nan
    mean_s1: float = np.nan


FIGURES = {
    "auroc": "AUROC in percent",
    "tnr": "TNR at 95 % TPR in percent",
    "mean_s1": "median of the mean of S1",
}


def table(records, section, value):
    """Return the Markdown table of a section: rows vary, columns are kinds.

    Of the section that varies the kinds, the other way about.
    """
    cells = {}
    for r in records:
        if r.section == section and (value == "mean_s1" or r.kind != "known"):
            row = f"{r.network}, {r.variation}"
            cells.setdefault((row, r.kind), []).append(getattr(r, value))
    rows, columns = (list(dict.fromkeys(key[axis] for key in cells)) for axis in (0, 1))
    if section == "kinds":
        cells = {key[::-1]: values for key, values in cells.items()}
        rows, columns = columns, rows
    lines = [f"| {' | '.join(['', *columns])} |", "|---" * (1 + len(columns)) + "|"]
    digits, scale = (2, 1) if value == "mean_s1" else (1, 100)
    for row in rows:
        means = [np.mean(cells.get((row, c), np.nan)) for c in columns]
        text = ["-" if np.isnan(m) else f"{scale * m:.{digits}f}" for m in means]
        lines.append(f"| {' | '.join([row, *text])} |")
    return "\n".join(lines)


def write(experiment, folder):
    """Write all records and tables so far."""
    tables = []
    for section in dict.fromkeys(r.section for r in experiment.records):
        for value, title in FIGURES.items():
            # The mean of S1 does not depend on the detector.
            if value == "mean_s1" and section in ("detectors", "information"):
                continue
            text = table(experiment.records, section, value)
            tables.append(f"{section}: {title}\n\n{text}")
    notes = "\n".join(f"- {line}" for line in experiment.notes)
    text = "\n\n".join([*tables, notes]) + "\n"
    if folder is None:
        return text
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.md").write_text(text)
    with (folder / "records.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(Record.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(r) for r in experiment.records)
    return text
