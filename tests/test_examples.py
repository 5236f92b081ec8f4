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

from skgrad.evaluation import LeNet, load_network

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


def test_networks_are_trained_once(small_mnist, capsys, tmp_path):
    series = np.column_stack(
        [np.arange(400) % 4 + 1, np.random.default_rng(0).normal(size=(400, 140))]
    )
    (small_mnist / "ucr").mkdir()
    np.savetxt(small_mnist / "ucr" / "ECG5000_TRAIN.txt", series)
    path = Path(__file__).parents[1] / "examples" / "train_networks.py"
    output = tmp_path / "nets"
    main = runpy.run_path(str(path))["main"]
    options = ["--data-dir", str(small_mnist), "--output", str(output), "--quick"]
    options += ["--networks", "lenet", "ecg", "--seeds", "1"]
    main(options)
    table = pd.read_csv(output / "accuracies.csv")
    assert table.network.tolist() == ["lenet", "ecg"]
    assert table.accuracy.between(0, 1).all()
    load_network(LeNet, output / "lenet-1.safetensors")
    assert "network: ecg seed: 1 accuracy: " in capsys.readouterr().out
    (output / "ecg-1.safetensors").unlink()
    main(options)
    assert "lenet" not in capsys.readouterr().out
    again = pd.read_csv(output / "accuracies.csv").drop(columns="seconds")
    pd.testing.assert_frame_equal(again, table.drop(columns="seconds"))


def run_paper(name, folder, monkeypatch):
    """Run the script of a paper on the digits and return its page's sections."""
    examples = Path(__file__).parents[1] / "examples"
    monkeypatch.syspath_prepend(examples)
    monkeypatch.delenv("SKGRAD_DATA", raising=False)
    state = torch.get_rng_state()
    try:
        script = runpy.run_path(str(examples / f"{name}.py"))
        options = ["--output", str(folder), "--cache", str(folder / "cache")]
        page = script["main"](["--quick", *options])
    finally:
        torch.set_rng_state(state)
    parts = page.read_text(encoding="utf-8").split("\n## ")[1:]
    return dict(part.split("\n\n", 1) for part in parts)


def numbers(text, row):
    """Return the numbers in a row of a table of Markdown; a dash is NaN."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {row} |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")[1:]]
    return np.array([np.nan if cell == "-" else float(cell) for cell in cells])


def test_paper_a_script_writes_its_page(tmp_path, monkeypatch):
    pytest.importorskip("foolbox")
    sections = run_paper("paper_a", tmp_path, monkeypatch)
    of = "digits, small CNN"
    table_1 = sections[f"Table 1, adversarial inputs, AUROC: {of}"]
    for kind in ("FGSM", "BIM", "PGD", "C&W", "Semantic", "mean"):
        areas = numbers(table_1, kind)
        assert len(areas) == 9
        assert np.all((areas >= 0) & (areas <= 100))
    table_2 = sections[f"Table 2, out of distribution: {of}"]
    assert table_2.count("| photo patches |") == 4
    assert np.all(numbers(table_2, "Gaussian noise")[-3:] > 80)
    assert len(numbers(sections[f"What a user faces: {of}"], "mean")) == 10
    alarms = numbers(sections[f"False alarms: {of}"], "confounding gradients (A)")
    assert np.all((alarms >= 0) & (alarms <= 100))
    assert "| conv1 |" in sections[f"Figure 3: {of}"]
    figure = tmp_path / "paper_a_norms_digitssmallcnn.png"
    assert figure.name in sections[f"Figure 3: {of}"]
    with Image.open(figure) as image:
        assert image.width > 500
    assert "SVHN" in sections["Not run here"]
def run_script(name, output, monkeypatch):
    """Run a script of experiments on the digits; return the page it writes."""
    folder = Path(__file__).parents[1] / "examples"
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


def test_paper_b_script_writes_its_tables(tmp_path, monkeypatch):
    page = run_script("paper_b", tmp_path, monkeypatch)
    tables = page_tables(page)
    first = tables["Table 1: digits, small CNN"]
    methods = {"max softmax", "ODIN", "Mahalanobis", "recommended"}
    assert methods < set(first["PGD, TNR"])
    figures = [float(cell) for row in first.values() for cell in row.values()]
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


def test_there_are_examples():
    assert EXAMPLES
