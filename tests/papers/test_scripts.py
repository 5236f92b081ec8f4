"""The scripts of the papers' experiments run on embedded digits."""

import re
import runpy

import numpy as np
import pandas as pd
import pytest
from idx_files import write_idx
from PIL import Image
from sklearn.datasets import load_digits

from skgrad.evaluation import Evaluation, Result


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

    words = "a/b.py --data-dir=/x/y --memory /x/z --networks=/x --quick"
    assert shown(words.split()) == "examples/papers/b.py --data-dir DIR --quick"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "said", "n_pictures"),
    [
        ("paper_a", ["## Table 1, ", "## Table 2, ", "## What a user faces"], 1),
        ("paper_b", ["## Table 1: ", "## Table 2: ", "all, pooled: AUROC"], 0),
        ("paper_b_landscape", ["## Figure 3: zeta of Theorem 1"], 4),
        ("paper_c", [f"\n## Table {number}: " for number in range(2, 10)], 1),
        ("all_detectors", ["(protocol A')", "- recommended, adaptive PGD: "], 1),
    ],
)
def test_script_writes_its_page(name, said, n_pictures, papers, tmp_path, monkeypatch):
    for library in ("foolbox", "pytorch_ood"):
        pytest.importorskip(library)
    monkeypatch.delenv("SKGRAD_DATA", raising=False)
    script = runpy.run_path(str(papers / f"{name}.py"))
    folders = ["--output", str(tmp_path), "--memory", str(tmp_path / "memory")]
    page = script["main"](["--quick", *folders]).read_text(encoding="utf-8")
    assert [text for text in said if text not in page] == []
    pictures = [*tmp_path.glob("*.png")]
    assert len(pictures) == n_pictures
    for picture in pictures:
        assert picture.stat().st_size > 1000
        assert f"({picture.name})" in page


def made_up_sounds(folder):
    """Write tones, a digit each, of five speakers, as recordings of spoken digits."""
    from scipy.io import wavfile

    (folder / "spoken-digits").mkdir()
    rng, times = np.random.default_rng(0), np.arange(4000) / 8000
    for speaker, digit, i in np.ndindex(5, 10, 30):
        tone = np.sin(2 * np.pi * (300 + 300 * digit + 20 * speaker) * times)
        sound = 2**13 * (tone + 0.1 * rng.normal(size=4000))
        name = f"spoken-digits/{digit}_speaker{speaker}_{i}.wav"
        wavfile.write(folder / name, 8000, sound.astype(np.int16))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "write", "needs", "said"),
    [
        ("speech", made_up_sounds, ["foolbox"], ["| unseen speakers |", "| ODIN |"]),
        # Its rows are made up by the setting itself.
        ("rows", lambda folder: None, ["foolbox"], ["| impossible values |"]),
    ],
)
def test_other_inputs_have_a_page(setting, write, needs, said, papers, tmp_path):
    for library in ("pytorch_ood", *needs):
        pytest.importorskip(library)
    write(tmp_path)
    main = runpy.run_path(str(papers / "all_detectors.py"))["main"]
    options = ["--quick", "--settings", setting, "--protocols", "C"]
    for name in ("data-dir", "networks", "memory", "output"):
        options += [f"--{name}", str(tmp_path)]
    page = main(options).read_text(encoding="utf-8")
    assert [text for text in [*said, "| recommended |"] if text not in page] == []


def test_more_images_stand_beside_cifar_alone(papers, tmp_path):
    main = runpy.run_path(str(papers / "all_detectors.py"))["main"]
    options = ["--quick", "--more", "svhn", "--output", str(tmp_path)]
    with pytest.raises(
        ValueError, match=r"CIFAR-10 alone; got 'svhn' .*digits\. Leave"
    ):
        main(options)


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
    rows = {line[:13].strip(): line for line in lines}
    assert {"Fashion-MNIST", "Omniglot", "Gaussian nois", "FGSM, eps 0.3"} <= set(rows)
    areas = [float(area) for area in re.findall(r"([\d.]+)/", rows["mean"])]
    assert len(areas) == 4
    assert areas[-1] > 80


@pytest.mark.slow
def test_networks_are_trained_once(small_mnist, papers, capsys, tmp_path):
    values = np.random.default_rng(0).normal(size=(400, 140))
    series = np.column_stack([np.arange(400) % 4 + 1, values])
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
