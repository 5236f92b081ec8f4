"""The scripts that redo the papers' experiments run on embedded digits."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from skgrad.evaluation import Evaluation, Result


def run_script(name, output, monkeypatch):
    """Run a script of experiments on the digits; return the page it writes."""
    folder = Path(__file__).parents[1] / "examples"
    monkeypatch.delenv("SKGRAD_DATA", raising=False)
    monkeypatch.syspath_prepend(folder)
    state = torch.get_rng_state()
    try:
        script = runpy.run_path(str(folder / f"{name}.py"))
        options = ["--quick", "--output", str(output), "--cache", str(output / "cache")]
        return script["main"](options).read_text(encoding="utf-8")
    finally:
        torch.set_rng_state(state)


def page_tables(page):
    """Return the tables of a page by heading: cells by row and column."""
    tables = {}
    for section in page.split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        lines = [line for line in text.splitlines() if line.startswith("| ")]
        if lines:
            head, _, *rows = (
                [c.strip() for c in line.split("|")[1:-1]] for line in lines
            )
            tables[heading] = {
                row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows
            }
    return tables


def numbers(row):
    """Return the cells of a row as numbers; a dash is NaN."""
    return [as_number(cell) for cell in row.values()]


def as_number(cell):
    """Return a cell as a number, which is in brackets where anomalies are few."""
    return np.nan if cell == "-" else float(cell.strip("[]"))


def load_script(name, monkeypatch):
    """Return what a script defines."""
    folder = Path(__file__).parents[1] / "examples"
    monkeypatch.syspath_prepend(folder)
    return runpy.run_path(str(folder / f"{name}.py"))


def test_few_anomalies_stand_in_brackets_and_out_of_means(monkeypatch):
    pages = load_script("experiment_pages", monkeypatch)
    scores = {"many": np.zeros(10), "few": np.ones(3), "once": np.ones(30)}
    results = [
        Result("d", kind, np.full(9, 0.5), found, 0.0, seed=seed)
        for seed in (0, 1)
        for kind, found in scores.items()
        if (kind, seed) != ("once", 1)
    ]
    cells = pages["mean_and_spread"](Evaluation(results))["d"]
    assert cells["many"] == cells["mean"] == "100.0 ± 0.0"
    assert cells["few"] == "[0.0 ± 0.0]"
    assert cells["once"] == "[0.0]"
    alone = pages["mean_and_spread"](Evaluation([results[1]]))["d"]
    assert list(alone) == ["[0.0]", "0.0"]


def test_pages_do_not_tell_where_things_lie(monkeypatch):
    shown = load_script("experiments", monkeypatch)["_without_folders"]
    words = ["a/b.py", "--data-dir=/x/y", "--cache", "/x/z", "--networks=/x", "--quick"]
    assert shown(words) == "examples/b.py --data-dir DIR --quick"


def test_paper_a_writes_its_page(tmp_path, monkeypatch):
    pytest.importorskip("foolbox")
    page = run_script("paper_a", tmp_path, monkeypatch)
    tables = page_tables(page)
    of = "digits, small CNN"
    first = tables[f"Table 1, adversarial inputs, AUROC: {of}"]
    assert set(first) >= {"FGSM", "BIM", "PGD", "C&W", "Semantic", "mean"}
    assert all(0 <= area <= 100 for area in numbers(first["FGSM"]))
    assert len(first["mean"]) == 9
    second = tables[f"Table 2, out of distribution: {of}"]
    assert min(numbers(second["Gaussian noise"])[-3:]) > 80
    assert len(tables[f"What a user faces: {of}"]["mean"]) == 10
    alarms = tables[f"False alarms: {of}"]["confounding gradients (A)"]
    assert all(0 <= rate <= 100 for rate in numbers(alarms))
    assert "conv1" in tables[f"Figure 3: {of}"]
    figure = tmp_path / "paper_a_norms_digitssmallcnn.png"
    assert f"({figure.name})" in page
    with Image.open(figure) as image:
        assert image.width > 500
    assert "SVHN" in page.split("## Not run here")[1]


def test_paper_b_script_writes_its_tables(tmp_path, monkeypatch):
    page = run_script("paper_b", tmp_path, monkeypatch)
    tables = page_tables(page)
    first = tables["Table 1: digits, small CNN"]
    methods = {"max softmax", "ODIN", "Mahalanobis", "recommended"}
    assert methods < set(first["PGD, TNR"])
    figures = [as_number(cell) for row in first.values() for cell in row.values()]
    assert all(0 <= figure <= 100 for figure in figures)
    assert float(first["all, pooled: AUROC"]["recommended"]) > 80
    adaptive = tables["Table 2: adaptive attacks"]
    assert float(adaptive["digits, small CNN: PGD"]["success"]) > 50
    assert [row.split(": ")[1] for row in tables["Table 3: fewer classes"]] == [
        "all",
        "top 5",
        "top 3",
    ]
    assert "CIFAR-100" in page.split("## Not run here")[1]


def test_paper_b_figures_are_drawn_and_linked(tmp_path, monkeypatch):
    page = run_script("paper_b_landscape", tmp_path, monkeypatch)
    for number in range(1, 5):
        path = tmp_path / f"paper_b_fig_{number}.png"
        assert f"({path.name})" in page
        assert path.stat().st_size < 200_000
        assert np.asarray(Image.open(path).convert("L")).std() > 10
    zeta = page_tables(page)["Figure 3: zeta of Theorem 1"]
    shares = [float(row["zeta >= 0, correct"]) for row in zeta.values()]
    assert all(0 <= share <= 1 for share in shares)


def test_paper_c_writes_its_page(tmp_path, monkeypatch):
    pytest.importorskip("foolbox")
    pytest.importorskip("art")
    page = run_script("paper_c", tmp_path, monkeypatch)
    for number in range(2, 10):
        assert f"\n## Table {number}: " in page
    rows = [line.strip("| ").split(" | ") for line in page.splitlines()]
    rows = {row[0]: row[1:] for row in rows if len(row) == 10}
    assert len(rows["FGSM"]) == 9
    assert all(0 <= as_number(cell) <= 100 for cell in rows["FGSM"])
    assert "- Table 2, VGG-16 (CIFAR-10): TinyImageNet, LSUN" in page
    with Image.open(tmp_path / "paper_c_weights.png") as figure:
        assert figure.width > 400


def test_all_detectors_writes_its_page(tmp_path, monkeypatch):
    for library in ("foolbox", "art", "pytorch_ood"):
        pytest.importorskip(library)
    page = run_script("all_detectors", tmp_path, monkeypatch)
    tables = page_tables(page)
    of = "digits, small CNN"
    areas = tables[f"{of}: fitted on in-distribution inputs alone"]
    assert {"recommended", "B: LODA", "C: SVDD", "ODIN", "LID"} < set(areas)
    assert as_number(areas["recommended"]["uniform noise"]) > 95
    assert set(areas["recommended"]) > {"PGD", "C&W", "JSMA", "rotation", "mean"}
    means = tables[f"{of}: means, and false alarms at a target of 5 %"]
    assert len(means) == len(areas) == len(tables[f"{of}: costs"])
    assert float(means["recommended"]["noise"]) > 95
    learnt = tables[f"{of}: all other kinds of anomaly known (protocol A')"]
    assert "A: MLP" in learnt["mean"]
    assert "- recommended, adaptive PGD: " in page
    assert (tmp_path / "all_detectors_digits" / "report.html").exists()
