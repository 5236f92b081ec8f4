"""The scripts of the papers' experiments run on embedded digits."""

import re
import runpy

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from skgrad.evaluation import Evaluation, Result


def run_script(name, output, papers, monkeypatch):
    """Run a script of experiments on the digits; return the page it writes."""
    monkeypatch.delenv("SKGRAD_DATA", raising=False)
    script = runpy.run_path(str(papers / f"{name}.py"))
    options = ["--quick", "--output", str(output), "--memory", str(output / "memory")]
    return script["main"](options).read_text(encoding="utf-8")


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


def test_few_anomalies_stand_in_brackets_and_out_of_means(papers):
    import experiment_pages

    scores = {"many": np.zeros(10), "few": np.ones(3), "once": np.ones(30)}
    results = [
        Result("d", kind, np.full(9, 0.5), found, 0.0, seed=seed)
        for seed in (0, 1)
        for kind, found in scores.items()
        if (kind, seed) != ("once", 1)
    ]
    cells = experiment_pages.mean_and_spread(Evaluation(results))["d"]
    assert cells["many"] == cells["mean"] == "100.0 ± 0.0"
    assert cells["few"] == "[0.0 ± 0.0]"
    assert cells["once"] == "[0.0]"
    alone = experiment_pages.mean_and_spread(Evaluation([results[1]]))["d"]
    assert list(alone) == ["[0.0]", "0.0"]


def test_pages_do_not_show_folders_of_the_machine(papers):
    from experiments import _without_folders as shown

    words = [
        "a/b.py",
        "--data-dir=/x/y",
        "--memory",
        "/x/z",
        "--networks=/x",
        "--quick",
    ]
    assert shown(words) == "examples/papers/b.py --data-dir DIR --quick"


@pytest.mark.slow
def test_paper_a_writes_its_page(tmp_path, papers, monkeypatch):
    pytest.importorskip("foolbox")
    page = run_script("paper_a", tmp_path, papers, monkeypatch)
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


@pytest.mark.slow
def test_paper_b_script_writes_its_tables(tmp_path, papers, monkeypatch):
    page = run_script("paper_b", tmp_path, papers, monkeypatch)
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


@pytest.mark.slow
def test_paper_b_figures_are_drawn_and_linked(tmp_path, papers, monkeypatch):
    page = run_script("paper_b_landscape", tmp_path, papers, monkeypatch)
    for number in range(1, 5):
        path = tmp_path / f"paper_b_fig_{number}.png"
        assert f"({path.name})" in page
        assert path.stat().st_size < 200_000
        assert np.asarray(Image.open(path).convert("L")).std() > 10
    zeta = page_tables(page)["Figure 3: zeta of Theorem 1"]
    shares = [float(row["zeta >= 0, correct"]) for row in zeta.values()]
    assert all(0 <= share <= 1 for share in shares)


@pytest.mark.slow
def test_paper_c_writes_its_page(tmp_path, papers, monkeypatch):
    pytest.importorskip("foolbox")
    page = run_script("paper_c", tmp_path, papers, monkeypatch)
    for number in range(2, 10):
        assert f"\n## Table {number}: " in page
    rows = [line.strip("| ").split(" | ") for line in page.splitlines()]
    rows = {row[0]: row[1:] for row in rows if len(row) == 10}
    assert len(rows["FGSM"]) == 9
    assert all(0 <= as_number(cell) <= 100 for cell in rows["FGSM"])
    assert "- Table 2, VGG-16 (CIFAR-10): TinyImageNet, LSUN" in page
    with Image.open(tmp_path / "paper_c_weights.png") as figure:
        assert figure.width > 400


@pytest.mark.slow
def test_all_detectors_writes_its_page(tmp_path, papers, monkeypatch):
    for library in ("foolbox", "pytorch_ood"):
        pytest.importorskip(library)
    page = run_script("all_detectors", tmp_path, papers, monkeypatch)
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


@pytest.mark.slow
def test_mnist_script_prints_its_table(small_mnist, papers, capsys):
    script = runpy.run_path(str(papers / "mnist.py"))
    script["main"](["--data-dir", str(small_mnist), "--quick"])
    lines = capsys.readouterr().out.splitlines()
    assert "detectors fitted on 300" in lines[0] + lines[1]
    rows = {line[:13].strip(): line for line in lines}
    assert {"Fashion-MNIST", "Omniglot", "Gaussian nois", "FGSM, eps 0.3"} <= set(rows)
    areas = [float(area) for area in re.findall(r"([\d.]+)/", rows["mean"])]
    assert len(areas) == 4
    assert areas[-1] > 80


@pytest.mark.slow
def test_networks_are_trained_once(small_mnist, papers, capsys, tmp_path):
    series = np.column_stack(
        [np.arange(400) % 4 + 1, np.random.default_rng(0).normal(size=(400, 140))]
    )
    (small_mnist / "ucr").mkdir()
    np.savetxt(small_mnist / "ucr" / "ECG5000_TRAIN.txt", series)
    output = tmp_path / "nets"
    main = runpy.run_path(str(papers / "train_networks.py"))["main"]
    options = ["--data-dir", str(small_mnist), "--output", str(output), "--quick"]
    options += ["--networks", "lenet", "ecg", "--seeds", "1"]
    main(options)
    table = pd.read_csv(output / "accuracies.csv")
    assert table.network.tolist() == ["lenet", "ecg"]
    assert table.accuracy.between(0, 1).all()
    from paper_networks import LeNet
    from paper_training import load_network

    load_network(LeNet, output / "lenet-1.safetensors")
    assert "network: ecg seed: 1 accuracy: " in capsys.readouterr().out
    (output / "ecg-1.safetensors").unlink()
    main(options)
    assert "lenet" not in capsys.readouterr().out
    again = pd.read_csv(output / "accuracies.csv").drop(columns="seconds")
    pd.testing.assert_frame_equal(again, table.drop(columns="seconds"))
