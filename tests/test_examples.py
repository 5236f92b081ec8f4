"""The examples run."""

import ast
import re
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

EXAMPLES = Path(__file__).parents[1] / "examples"
GALLERY = sorted(EXAMPLES.glob("plot_*.py"))


def test_first_page_of_the_gallery_runs_and_draws(monkeypatch):
    # The build of the documentation runs them all, in a process for each.
    mpl.use("Agg")
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    try:
        runpy.run_path(str(EXAMPLES / "plot_quick_start.py"))
    finally:
        plt.close("all")
    assert shown
    assert shown[0]


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_gallery_page_is_a_story(path):
    text = path.read_text()
    title, line = ast.get_docstring(ast.parse(text)).splitlines()[:2]
    assert set(line) == {"="}
    assert len(line) == len(title)
    # Text between the code, pictures at the end at least, nothing from the network.
    assert text.count("\n# %%\n") >= 3
    assert "plt.show()" in text
    assert "download=True" not in text


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
    areas = [float(area) for area in re.findall(r"([\d.]+)/", rows["mean"])]
    assert len(areas) == 4
    assert areas[-1] > 80


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


def test_there_are_examples():
    assert GALLERY
