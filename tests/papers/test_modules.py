"""Networks, training, splits and published figures of the papers."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

# Published figures


@pytest.fixture
def published():
    from published_results import load_published_results

    return load_published_results()


def test_every_published_cell_is_there(published):
    from published_results import load_published_results

    keys = ["paper", "table", "model", "in_distribution", "anomaly", "method"]
    keys += ["metric", "setting"]
    assert list(published) == [*keys, "value"]
    assert published["value"].between(0, 100).all()
    assert not published.duplicated(keys).any()
    parts = [load_published_results(paper) for paper in "ABC"]
    pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), published)
    # Rows x methods x metrics of each table, less what is not printed or illegible.
    assert published.groupby(["paper", "table"]).size().to_dict() == {
        ("A", "Table 1"): 12 * 7,
        ("A", "Table 2"): 12 * (5 * 3 - 1),
        ("B", "Sec. 5.3"): 3 * 4,
        ("B", "Table 1"): 15 * 9 - 3,
        ("B", "Table 2"): 3 * 3,
        ("B", "Table 3"): 3 * 3,
        ("C", "Table 2"): 18 * 5 * 2,
        ("C", "Table 3"): 25 * 5 * 2,
        ("C", "Table 4"): 15 * 4 * 2 - 2,
        ("C", "Table 5"): 18 * 5 * 2,
        ("C", "Table 6"): 25 * 5 * 2,
        ("C", "Table 7"): 15 * 4 * 2,
        ("C", "Table 8"): 8 * 3 * 2,
        ("C", "Table 9"): 10 * 3 * 2,
    }


def test_published_figures_agree_with_one_another(published):
    own = published.query("paper == 'C' and method == 'uniform framework (C)'")
    own = own.pivot(
        index=["model", "in_distribution", "anomaly", "metric"],
        columns="table",
        values="value",
    )
    # Where paper C prints its own method twice, misreading one would show.
    for first, second, count in (
        ("Table 2", "Table 8", 16),
        ("Table 3", "Table 9", 20),
    ):
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


@pytest.mark.parametrize("seed", [0, 1])
def test_mnist_is_split_as_in_the_tables(seed):
    from data_splits import split_mnist

    parts = split_mnist(random_state=seed)
    order = np.random.default_rng(seed).permutation(60_000)
    assert_array_equal(parts.fit, order[:6000])
    assert_array_equal(parts.train, np.setdiff1d(order[-50_000:], order[:6000]))
    few = split_mnist(100, n_fit=30, max_train=50, random_state=0)
    assert len(few.train) == 20
    with pytest.raises(ValueError, match="n_fit must leave some of the 100 images"):
        split_mnist(100)


@pytest.mark.parametrize("seed", range(3))
def test_classes_keep_their_share(seed):
    from data_splits import split_ecg

    counts = np.array([292, 177, 10, 19, 2])  # as in ECG5000's 500 series
    y = np.random.default_rng(9).permutation(np.repeat(np.arange(5), counts))
    parts = split_ecg(y, random_state=seed)
    assert [len(rows) for rows in parts.values()] == [200, 150, 150]
    assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(500))
    for rows in parts.values():
        expected = counts * len(rows) / 500
        assert np.abs(np.bincount(y[rows], minlength=5) - expected).max() < 2


# Networks and training


@pytest.mark.parametrize(
    ("name", "shape", "n_parameters"),
    [
        ("LeNet", (1, 28, 28), 186_704),
        ("MNISTNetwork", (1, 28, 28), 356_566),
        ("ECGNetwork", (140,), 265_221),
        ("CifarResNet", (3, 32, 32), 269_722),
    ],
)
def test_networks_return_logits(name, shape, n_parameters):
    import paper_networks

    network = getattr(paper_networks, name)().eval()
    logits = network(torch.rand(2, *shape))
    assert logits.shape == (2, 5 if name == "ECGNetwork" else 10)
    assert sum(p.numel() for p in network.parameters()) == n_parameters


def data(n=40):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=n)
    return rng.random((n, 3, 2, 2)) + np.eye(3)[y][:, :, None, None], y


def test_training_matches_a_step_written_by_hand():
    from paper_training import train_network

    X, y = data()
    torch.manual_seed(0)
    start = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    loss = nn.functional.cross_entropy(
        start(torch.from_numpy(X).float()), torch.from_numpy(y)
    )
    (gradient,) = torch.autograd.grad(loss, start[1].weight)
    # One step with Nesterov momentum from rest: (1 + 0.9) times the gradient.
    expected = start[1].weight.detach() - 0.1 * 1.9 * gradient
    how = {"max_epochs": 1, "batch_size": 40, "learning_rate": 0.1}
    net = train_network(start, X, y, optimizer="sgd", **how)
    torch.testing.assert_close(net.module_[1].weight.detach(), expected)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (None, [1.0] * 10),
        ("steps", [1.0] * 3 + [0.2] * 3 + [0.04] * 2 + [0.008] * 2),
        ("cosine", (1 + np.cos(np.pi * np.arange(10) / 10)) / 2),
        # Four steps per epoch; the last epoch starts 36 of 40 steps in.
        ("smooth cosine", (1 + np.cos(np.pi * np.arange(0, 40, 4) / 40)) / 2),
    ],
)
def test_schedules(schedule, expected, monkeypatch):
    from paper_training import train_network

    rates = []
    original = torch.optim.SGD.step

    def step(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    how = {"batch_size": 10, "learning_rate": 1.0, "optimizer": "sgd"}
    train_network(network, *data(), schedule=schedule, **how)
    assert_allclose(rates[::4], expected, atol=1e-7)


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


def test_crops_are_windows_of_the_padded_image():
    from paper_training import crop_and_flip

    def window(source, top, left, flipped):
        cut = source[:, top : top + 6, left : left + 6]
        return cut[..., ::-1] if flipped else cut

    X = torch.arange(1.0, 2 * 3 * 6 * 6 + 1).reshape(2, 3, 6, 6).repeat(40, 1, 1, 1)
    out = crop_and_flip(X)
    padded = np.pad(X.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)))
    kinds = set()
    for image, source in zip(out.numpy(), padded, strict=True):
        found = [
            place
            for place in product(range(9), range(9), (False, True))
            if np.array_equal(image, window(source, *place))
        ]
        assert found
        kinds.update(found)
    assert len(kinds) > 40
    assert {flipped for *_, flipped in kinds} == {False, True}
