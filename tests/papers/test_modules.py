"""Networks, training, splits and published figures of the papers."""

from argparse import Namespace

import numpy as np
import pandas as pd
import torch
from idx_files import write_idx
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from torch import nn

# Published figures


def test_every_published_cell_is_there():
    from published_results import load_published_results

    published = load_published_results()
    assert published["value"].between(0, 100).all()
    assert not published.duplicated([*published][:-1]).any()
    parts = [load_published_results(paper) for paper in "ABC"]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), published)
    # Rows x methods x metrics of each table, less what is not printed or illegible.
    assert published.groupby("paper").size().to_dict() == {
        "A": 12 * 7 + 12 * (5 * 3 - 1),
        "B": 3 * 4 + 15 * 9 - 3 + 3 * 3 + 3 * 3,
        "C": (2 * (18 + 25) * 5 + 2 * 15 * 4 - 1 + 8 * 3 + 10 * 3) * 2,
    }


def test_published_figures_agree_with_one_another():
    from published_results import load_published_results

    published = load_published_results()
    own = published.query("paper == 'C' and method == 'uniform framework (C)'")
    keys = ["model", "in_distribution", "anomaly", "metric"]
    own = own.pivot(index=keys, columns="table", values="value")
    # Where paper C prints its own method twice, misreading one would show.
    for first, second, count in ((2, 8, 16), (3, 9, 20)):
        first, second = f"Table {first}", f"Table {second}"
        both = own[[first, second]].dropna()
        assert len(both) == count
        assert_allclose(both[first], both[second])
    # The ROC curve passes (1 - TNR, 0.95), so AUROC >= 0.95 TNR, to half a digit.
    keys = [k for k in published.columns if k not in ("metric", "value")]
    pairs = published.pivot(index=keys, columns="metric", values="value")
    pairs = pairs[["auroc", "tnr_at_95tpr"]].dropna()
    broken = pairs[pairs["auroc"] + 0.01 < 0.95 * pairs["tnr_at_95tpr"]]
    assert len(pairs) == 602
    assert broken["auroc"].tolist() == [89.03, 67.23, 66.79, 88.75]


# Splits


def test_mnist_is_split_as_in_the_tables():
    from data_splits import split_mnist

    parts = split_mnist(random_state=1)
    order = np.random.default_rng(1).permutation(60_000)
    assert_array_equal(parts.fit, order[:6000])
    assert_array_equal(parts.train, np.setdiff1d(order[-50_000:], order[:6000]))


def test_classes_keep_their_share():
    from data_splits import split_ecg

    counts = np.array([292, 177, 10, 19, 2])  # as in ECG5000's 500 series
    y = np.random.default_rng(9).permutation(np.repeat(np.arange(5), counts))
    parts = split_ecg(y, random_state=0)
    assert [len(rows) for rows in parts.values()] == [200, 150, 150]
    assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(500))
    for rows in parts.values():
        expected = counts * len(rows) / 500
        assert np.abs(np.bincount(y[rows], minlength=5) - expected).max() < 2


# Networks and training


def test_networks_return_logits():
    import paper_networks

    for name, shape, n_parameters in (
        ("LeNet", (1, 28, 28), 186_704),
        ("MNISTNetwork", (1, 28, 28), 356_566),
        ("ECGNetwork", (140,), 265_221),
        ("CifarResNet", (3, 32, 32), 269_722),
        ("CifarResNet18", (3, 32, 32), 11_173_962),
    ):
        network = getattr(paper_networks, name)().eval()
        logits = network(torch.rand(2, *shape))
        assert logits.shape == (2, 5 if name == "ECGNetwork" else 10)
        assert sum(p.numel() for p in network.parameters()) == n_parameters


def test_training_matches_a_step_written_by_hand():
    from paper_training import train_network

    rng = np.random.default_rng(0)
    X, y = rng.random((40, 3, 2, 2)), rng.integers(3, size=40)
    torch.manual_seed(0)
    start = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    logits = start(torch.from_numpy(X).float())
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(y))
    (gradient,) = torch.autograd.grad(loss, start[1].weight)
    # One step with Nesterov momentum from rest: (1 + 0.9) times the gradient.
    expected = start[1].weight.detach() - 0.1 * 1.9 * gradient
    how = {"max_epochs": 1, "batch_size": 40, "learning_rate": 0.1}
    net = train_network(start, X, y, optimizer="sgd", **how)
    torch.testing.assert_close(net.module_[1].weight.detach(), expected)


def test_weights_come_back_from_the_file(tmp_path):
    from paper_networks import LeNet
    from paper_training import load_network, save_network

    class Net:
        module_ = LeNet()

    save_network(Net, tmp_path / "net.safetensors")
    loaded = load_network(LeNet, tmp_path / "net.safetensors")
    assert not loaded.training
    for name, value in Net.module_.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


# Data


def write_images(folder, greys):
    """Write images of one grey each, a folder apiece."""
    for number, grey in enumerate(greys):
        home = folder / f"class{number}"
        home.mkdir(parents=True)
        Image.new("RGB", (40, 40), (grey,) * 3).save(home / "0.png")


def test_more_images_leave_out_those_that_chose_the_detector(tmp_path):
    """Every second of ImageNet and of the textures is judged, others as asked for."""
    from more_images import load_more_images

    greys = [0, 80, 160, 240]
    for folder in ("imagenet-sample", "dtd-840", "iSUN"):
        write_images(tmp_path / folder, greys)
    raw = tmp_path / "MNIST" / "raw"
    for part, grey in (("train", 40), ("t10k", 200)):
        write_idx(raw / f"{part}-images-idx3-ubyte", np.full((1, 28, 28), grey))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.array([7]))
    args = Namespace(data_dir=tmp_path, networks=tmp_path, n_anomalies=9, more="isun")
    found = load_more_images(0, args)
    shown = {
        name: sorted(np.rint(255 * made.X.mean((1, 2, 3))))
        for name, made in found.items()
    }
    assert shown == {
        "ImageNet sample": [80, 240],
        "textures": [80, 240],
        "MNIST": [200],
        "isun": greys,
    }
    groups = [made.group for made in found.values()]
    assert groups == ["near data", *["far data"] * 3]


def test_images_go_through_jpeg():
    """Colours lose half their resolution; a plain image stays."""
    from more_images import as_jpeg

    plain = np.full((1, 3, 32, 32), 80 / 255, np.float32)
    assert_allclose(as_jpeg(plain), plain, atol=1e-7)
    stripes = np.zeros((1, 3, 32, 32), np.float32)
    stripes[:, 0, :, ::2] = 1  # red columns of one pixel
    red = as_jpeg(stripes)[0, 0]
    assert red[:, ::2].mean() - red[:, 1::2].mean() < 0.6
