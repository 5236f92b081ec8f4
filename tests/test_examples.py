"""The examples run."""

import runpy
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("plot_*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_draws(path, monkeypatch):
    mpl.use("Agg")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    try:
        runpy.run_path(str(path))
    finally:
        plt.close("all")
    assert shown
    assert shown[0]


def write_idx(path, values):
    """Write bytes in the format of the MNIST files."""
    header = bytes([0, 0, 8, values.ndim])
    sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(header + sizes + values.astype(np.uint8).tobytes())


@pytest.fixture
def small_mnist(tmp_path):
    """Put digits of 8 x 8 pixels where the script looks for MNIST and the others."""
    digits = load_digits()
    images = np.pad(digits.images.repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, rows in (("train", slice(0, 1000)), ("t10k", slice(1000, None))):
        write_idx(raw / f"{part}-images-idx3-ubyte", 15 * images[rows])
        write_idx(raw / f"{part}-labels-idx1-ubyte", digits.target[rows])
    for name in ("fashion-mnist-900", "omniglot-small"):
        folder = tmp_path / name / "kind"
        folder.mkdir(parents=True)
        for i in range(30):
            noise = np.random.default_rng(i).integers(256, size=(20, 20))
            Image.fromarray(noise.astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path


def test_mnist_script_prints_its_table(small_mnist, capsys):
    path = Path(__file__).parents[1] / "examples" / "mnist.py"
    state = torch.get_rng_state()
    try:
        script = runpy.run_path(str(path))
        script["main"](["--data-dir", str(small_mnist), "--quick"])
    finally:
        torch.set_rng_state(state)
    lines = capsys.readouterr().out.splitlines()
    assert "detectors fitted on 300" in lines[0] + lines[1]
    rows = {line[:13].strip(): line for line in lines}
    assert {"Fashion-MNIST", "Omniglot", "Gaussian nois", "FGSM, eps 0.3"} <= set(rows)
    areas = [float(cell.split("/")[0]) for cell in rows["mean"].split()[1::2]]
    assert len(areas) == 4
    assert areas[-1] > 80


def test_rivals_script_prints_both_tables(small_mnist, capsys, monkeypatch, tmp_path):
    pytest.importorskip("pytorch_ood")
    folder = Path(__file__).parents[1] / "examples"
    monkeypatch.syspath_prepend(folder)
    state = torch.get_rng_state()
    try:
        script = runpy.run_path(str(folder / "mnist_rivals.py"))
        output = tmp_path / "rivals"
        script["main"](
            ["--data-dir", str(small_mnist), "--quick", "--output", str(output)]
        )
    finally:
        torch.set_rng_state(state)
    attacks = pd.read_csv(output / "attacks.csv", index_col="attack")
    assert attacks.success.between(0, 1).all()
    assert attacks.success["PGD Linf"] > 0.5
    detectors = pd.read_csv(output / "detectors.csv", index_col="detector")
    kinds = detectors.drop(columns=["false alarms", "seconds"])
    assert len(detectors) > 20
    # An attack without success has no figures, every other has all of them.
    assert (kinds.isna().sum() % len(detectors) == 0).all()
    assert detectors["Gaussian noise"]["recommended"] > 0.8
    assert "Mahalanobis FE, FGSM known" in capsys.readouterr().out


def test_paper_c_writes_its_page(monkeypatch, tmp_path):
    pytest.importorskip("foolbox")
    pytest.importorskip("art")
    monkeypatch.delenv("SKGRAD_DATA", raising=False)
    folder = Path(__file__).parents[1] / "examples"
    monkeypatch.syspath_prepend(folder)
    state = torch.get_rng_state()
    try:
        script = runpy.run_path(str(folder / "paper_c.py"))
        options = ["--output", str(tmp_path), "--cache", str(tmp_path / "cache")]
        path = script["main"](["--quick", *options])
    finally:
        torch.set_rng_state(state)
    page = path.read_text()
    for number in range(2, 10):
        assert f"\n## Table {number}: " in page
    rows = [line.strip("| ").split(" | ") for line in page.splitlines()]
    rows = {row[0]: row[1:] for row in rows if len(row) == 10}
    assert len(rows["FGSM"]) == 9
    assert all(0 <= float(cell) <= 100 for cell in rows["FGSM"])
    assert "- Table 2, VGG-16 (CIFAR-10): TinyImageNet, LSUN" in page
    with Image.open(tmp_path / "paper_c_weights.png") as figure:
        assert figure.width > 400


def test_there_are_examples():
    assert EXAMPLES
