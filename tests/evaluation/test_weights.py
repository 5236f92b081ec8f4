"""Weights come back as they were written, or with a clear error."""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from skgrad.datasets import load_dataset
from skgrad.evaluation import (
    CifarResNet,
    LeNet,
    load_network,
    load_safetensors,
    save_network,
    train_network,
)


def write(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_round_trip_with_buffers(tmp_path):
    model = CifarResNet(8)
    model.bn1.running_mean += 2
    path = tmp_path / "net.safetensors"
    save_network(model, path)
    state = load_safetensors(path)
    assert list(state) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor)
    again = load_network(lambda: CifarResNet(8), path)
    assert not again.training
    X = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(X), model.eval()(X))
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int32,
        torch.uint8,
        torch.bool,
    ],
)
def test_every_type_comes_back(tmp_path, dtype):
    module = nn.Module()
    module.register_buffer("a", torch.tensor([[1, 0, 3]]).to(dtype))
    module.register_buffer("odd", torch.tensor([1], dtype=torch.uint8))
    module.register_buffer("empty", torch.zeros(0, 2, dtype=dtype))
    module.register_buffer("number", torch.tensor(1).to(dtype))
    save_network(module, tmp_path / "x")
    state = load_safetensors(tmp_path / "x")
    for name, tensor in module.state_dict().items():
        assert state[name].dtype == tensor.dtype
        assert torch.equal(state[name], tensor)


def test_reads_a_file_made_by_hand(tmp_path):
    values = np.array([[1.5, -2.0]], dtype="<f4")
    header = {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
    }
    state = load_safetensors(write(tmp_path / "x", header, values.tobytes()))
    assert list(state) == ["w"]
    assert state["w"].tolist() == [[1.5, -2.0]]


def test_header_is_aligned_json(tmp_path):
    save_network(LeNet(), tmp_path / "x")
    raw = (tmp_path / "x").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    assert length % 8 == 0
    header = json.loads(raw[8 : 8 + length])
    assert header["conv1.weight"]["shape"] == [20, 1, 5, 5]
    assert list(header.pop("__metadata__")) == ["skgrad.blake2b"]
    ends = [entry["data_offsets"] for entry in header.values()]
    assert ends[0][0] == 0
    assert all(a[1] == b[0] for a, b in pairwise(ends))
    assert len(raw) == 8 + length + ends[-1][1]


def test_skorch_nets_are_saved(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.random((20, 1, 28, 28)), rng.integers(10, size=20)
    net = train_network(LeNet, X, y, max_epochs=1)
    save_network(net, tmp_path / "x")
    model = load_network(LeNet, tmp_path / "x")
    assert torch.equal(model.fc3.weight, net.module_.fc3.weight)


def test_loading_into_a_network_leaves_it_alone(tmp_path):
    saved, given = LeNet(), LeNet()
    before = given.fc3.weight.detach().clone()
    save_network(saved, tmp_path / "x")
    assert torch.equal(load_network(given, tmp_path / "x").fc3.weight, saved.fc3.weight)
    assert torch.equal(given.fc3.weight, before)
    assert given.training


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x"
    save_network(nn.Linear(2, 2), path)
    before = path.read_bytes()

    def fail(part, target):
        raise OSError("disk full")

    monkeypatch.setattr("skgrad._files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_network(nn.Linear(2, 2), path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "data", "reason"),
    [
        (b"no json", b"", "Expecting value"),
        (b"[]", b"", "its header is a list"),
        ({"w": ENTRY}, b"1234", "a tensor would end at byte 8 of 4"),
        ({"w": {**ENTRY, "dtype": "F8"}}, bytes(8), "unknown type 'F8'"),
        ({"w": {**ENTRY, "shape": [3]}}, bytes(8), "shape"),
        ({"w": {"dtype": "F32"}}, bytes(8), "data_offsets"),
    ],
)
def test_broken_files(tmp_path, header, data, reason):
    path = write(tmp_path / "x", header, data)
    with pytest.raises(ValueError, match=f"path must be a whole safetensors.*{reason}"):
        load_safetensors(path)


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"PK\x03\x04 a zip file, for example")
    with pytest.raises(ValueError, match="the header would end at byte"):
        load_safetensors(path)


def test_weights_of_another_network(tmp_path):
    save_network(nn.Linear(2, 2), tmp_path / "x")
    with pytest.raises(ValueError, match="must hold the weights of a LeNet"):
        load_network(LeNet, tmp_path / "x")


def test_only_networks_are_saved(tmp_path):
    with pytest.raises(TypeError, match=r"network must be a torch.nn.Module"):
        save_network("lenet", tmp_path / "x")


@pytest.mark.skipif(
    "SKGRAD_DATA" not in os.environ, reason="needs real data: set SKGRAD_DATA"
)
def test_public_weights_know_cifar():
    folder = Path(os.environ["SKGRAD_DATA"])
    model = load_network(
        CifarResNet, folder / "weights" / "cifar10jpeg_resnet20.safetensors"
    )
    # Of the test images some are reserved; that the weights fit shows here as well.
    data = load_dataset("cifar-10-jpeg", split="train", n_samples=300, random_state=0)
    with torch.no_grad():
        right = model(torch.from_numpy(data.X)).argmax(1).numpy() == data.y
    assert right.mean() > 0.8
