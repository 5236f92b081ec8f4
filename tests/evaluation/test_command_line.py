"""``python -m skgrad evaluate``: what it writes, and every wrong option in one line."""

import sys
from argparse import Namespace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.utils import Bunch
from torch import nn

import skgrad.__main__ as program
from skgrad.evaluation import _command, _scoring

TINY = ["--n-fit", "60", "--n-test", "30", "--n-attack", "12", "--n-anomalies", "12"]
OWN = """
import torch
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from skgrad import LayerActivationTransformer

class Net(torch.nn.Sequential):
    def __init__(self, n_classes=10):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, n_classes))

def network():
    return Net(3)

def forest(model):
    logits = LayerActivationTransformer(model, "logits")
    return make_pipeline(logits, IsolationForest(n_estimators=5, contamination=0.1))

"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Work in a folder with a module and data of a user."""
    (tmp_path / "own_net.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    return tmp_path


@pytest.fixture
def untrained(monkeypatch):
    """Use a network for the digits that need not be trained."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    monkeypatch.setattr(_command, "train_digits_network", lambda X, y, **how: net)


def evaluate(*arguments):
    return program.main(["evaluate", *map(str, arguments)])


@pytest.mark.slow
def test_the_digits(untrained, tmp_path, capsys):
    options = [
        *TINY,
        *("--detectors", "energy,max_softmax"),
        *("--anomalies", "uniform-noise,photo-patches,FGSM,misclassified"),
        *("--seeds", "0,1", "--output", tmp_path),
    ]
    assert evaluate(*options) == 0
    assert f"Wrote {tmp_path / 'table.csv'}" in capsys.readouterr().out
    frame = pd.read_csv(tmp_path / "table.csv")
    places = frame.groupby(["detector", "anomaly", "seed"], sort=False).size()
    assert places.index.levshape == (2, 4, 2)
    assert len(places) == len(frame) == 16
    assert set(frame["n_in_distribution"]) == {30}
    assert set(frame["n_anomalies"][frame["anomaly"] == "uniform noise"]) == {12}
    assert "success of FGSM" in (tmp_path / "table.md").read_text()
    # The same command again computes nothing: the seconds are the same.
    assert evaluate(*options, "--quiet") == 0
    assert "Wrote" not in capsys.readouterr().out
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), frame)


def test_an_interrupted_run_names_what_it_keeps(
    untrained, tmp_path, capsys, monkeypatch
):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_scoring, "in_distribution_scores", stop)
    names = ("--detectors", "energy", "--anomalies", "uniform-noise")
    assert evaluate(*TINY, *names, "--output", tmp_path) == 130
    err = capsys.readouterr().err
    assert f"continues with what is in {tmp_path / 'memory'}" in err


def test_own_model_on_a_folder_and_a_file(own, capsys):
    rng = np.random.default_rng(0)
    for label in ("bright", "dark", "grey"):
        (own / "photos" / label).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(256, size=(8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(own / "photos" / label / f"{i}.png")
    np.save(own / "strange.npy", rng.random((15, 1, 8, 8)).astype(np.float32))
    status = evaluate(
        *("--id", "photos", "--model", "own_net:network", *TINY),
        *("--anomalies", "strange.npy,fgsm", "--near", "strange.npy"),
        *("--output", "out"),
        *("--detectors", "own_net:forest,energy"),
    )
    assert status == 0, capsys.readouterr().err
    frame = pd.read_csv(own / "out" / "table.csv")
    # Without other inputs to fit on, five folds of the test inputs are used.
    assert len(frame) == 2 * 2 * 5
    sizes = frame.groupby(["detector", "anomaly"])["n_in_distribution"].sum()
    names = ["own_net:forest", "energy"], ["strange.npy", "FGSM"]
    assert set(sizes.index) == set(product(*names))
    assert set(frame["group"]) == {"near data", "strong attacks"}
    assert sizes.eq(30).all()


@pytest.mark.parametrize("name", ["net.safetensors", "net.pt"])
def test_own_weights_and_supervised_detectors(own, name, capsys):
    weights = {"1.weight": torch.zeros(10, 64), "1.bias": torch.arange(10.0)}
    safetensors.torch.save_file(weights, own / "net.safetensors")
    torch.save(weights, own / "net.pt")
    status = evaluate(
        *("--model", "own_net:Net", "--weights", name, *TINY, "--output", "out"),
        *("--anomalies", "uniform-noise,gaussian-noise", "--protocol", "a-prime"),
        *("--detectors", "lid-supervised"),
    )
    captured = capsys.readouterr()
    assert status == 0, captured.err
    # A model that always says 9 is right about every tenth digit.
    assert float(captured.out.split("own_net:Net, ")[1].split("%")[0]) < 30
    frame = pd.read_csv(own / "out" / "table.csv")
    assert set(frame["protocol"] + frame["detector"]) == {"A'LID, supervised"}


BAD = {
    "--anomalies pgdd": ["--anomalies must be", "got 'pgdd'", "Did you mean", "'PGD'"],
    "--anomalies pgd,photo-patches --near photo-patch": [
        "--near must name data of --anomalies, such as photo-patches; got 'photo-patch'"
    ],
    "--detectors mahalanobi": ["--detectors mahalanobi: ", "'Mahalanobis'"],
    "--seeds 0,-1": ["--seeds", "whole number from 0", "'-1'"],
    "--id mnist --model own_net:Net": ["--id mnist: data_dir must be the folder"],
    "--model own_net": ["--model own_net: must be package.module:name"],
    "--model own_net:Net --weights absent.pt": ["--weights absent.pt: FileNotFound"],
    "--id flat.npy --model own_net:Net --anomalies flat.npy": [
        "anomalies['flat.npy'] must be none of the inputs"
    ],
}


@pytest.mark.parametrize("options", BAD)
def test_wrong_options(options, own, untrained, capsys, monkeypatch):
    monkeypatch.delenv("SKGRAD_DATA", raising=False)
    flat = np.random.default_rng(0).random((40, 64)).astype(np.float32)
    np.save(own / "flat.npy", flat)
    try:
        status = evaluate(*options.split())
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("skgrad evaluate: ")
    for text in BAD[options]:
        assert text in last


def test_images_that_chose_the_recommended_detector_are_not_tested_on(monkeypatch):
    # Images 800 and later of each class, whatever the order of the classes.
    y = np.random.default_rng(0).permutation(np.repeat([0, 1], 810))
    X = np.arange(1620, dtype=np.float32).reshape(-1, 1, 1, 1)
    found = Bunch(name="cifar-10-jpeg", X=X, y=y)
    monkeypatch.setattr(_command, "load_dataset", lambda text, **how: found)
    options = {"fit": None, "data_dir": None, "download": False, "memory": "m"}
    kept, other = (
        _command._InDistribution(Namespace(id=name, **options)).test
        for name in ("CIFAR_10_JPEG", "mnist")
    )
    rows = np.sort([*np.flatnonzero(y == 0)[:800], *np.flatnonzero(y == 1)[:800]])
    assert_array_equal(kept[0].ravel(), rows)
    assert_array_equal(kept[1], y[rows])
    assert len(other[0]) == 1620


def test_detectors_by_name():
    class Data:
        bounds = 0.0, 1.0

    def named(*names, protocol="A", model=None):
        options = Namespace(detectors=names, protocol=protocol, target_fpr=0.2)
        return _command._make_detectors(model or torch.nn.Linear(4, 3), Data, options)

    everything = named("all", model=nn.Sequential(nn.Dropout(), nn.Linear(4, 3)))
    unsupervised = named("all", protocol="C")
    assert len(everything) == 30
    learners = set(everything) - {*unsupervised, "KD+BU"}
    assert "A: MLP" in learners
    for name, detector in everything.items():
        assert _scoring.needs_anomalies(detector) == (name in learners)
        found = detector.get_params()
        assert 0.2 in [v for k, v in found.items() if k.split("__")[-1] == "target_fpr"]
    words = ["c", "max_softmax", "lid-supervised"]
    assert list(named(*words)) == ["C: SVDD", "max softmax", "LID, supervised"]
