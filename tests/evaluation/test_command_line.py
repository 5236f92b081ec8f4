"""``python -m skgrad evaluate``: what it writes, and every wrong option in one line."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import skgrad.__main__ as main_job
from skgrad.evaluation import (
    DETECTOR_KINDS,
    _command_model,
    _fitting,
    _make_anomalies,
    find_detector,
    make_detectors,
    save_network,
)
from skgrad.evaluation._detectors_by_name import SUPERVISED

TINY = ["--n-fit", "60", "--n-test", "30", "--n-attack", "12", "--n-anomalies", "12"]
OWN = """
import torch
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from skgrad import LayerActivationTransformer

def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))

class Net(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, 10))

class Two(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, 2))

class Steps(Net):
    def forward(self, x):
        return super().forward(x).round()

def energy(model):
    return forest(model)

def forest(model):
    logits = LayerActivationTransformer(model, "logits")
    return make_pipeline(logits, IsolationForest(n_estimators=5, contamination=0.1))

def broken():
    raise RuntimeError("no weights here")

def narrow(model):
    return "nothing"

number = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Work in a folder with a module of a user's own."""
    (tmp_path / "own_net.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    return tmp_path


def evaluate(*arguments):
    return main_job.main(["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Run once on the digits; return the folder."""
    folder = tmp_path_factory.mktemp("first")
    assert digits(folder) == 0
    return folder


def digits(folder, *more):
    return evaluate(
        *TINY,
        *("--detectors", "recommended,max_softmax"),
        *("--anomalies", "uniform-noise,photo-patches,FGSM,misclassified"),
        *("--seeds", "0,1", "--output", folder, *more),
    )


def test_the_digits(first):
    frame = pd.read_csv(first / "table.csv")
    assert set(frame["detector"]) == {"recommended", "max softmax"}
    assert set(frame["anomaly"]) == {
        *("photo-patches", "uniform noise", "FGSM", "misclassified")
    }
    assert set(frame["seed"]) == {0, 1}
    assert len(frame) == 16
    assert set(frame["n_in_distribution"]) == {30}
    assert set(frame["n_anomalies"][frame["anomaly"] == "uniform noise"]) == {12}
    noise = frame[frame["anomaly"] == "uniform noise"]
    assert noise["auroc"][noise["detector"] == "recommended"].min() > 0.9
    page = (first / "report.html").read_text()
    assert "95 % interval over test inputs" in page
    assert "success of FGSM" in page
    assert "success of FGSM" in (first / "table.md").read_text()


def test_a_second_run_computes_nothing(first, tmp_path, capsys, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("computed anew")

    for home, name in (
        (_fitting.Judge, "_fit"),
        (_make_anomalies, "_make"),
        (_command_model, "train_digits_network"),
    ):
        monkeypatch.setattr(home, name, refuse)
    assert digits(tmp_path, "--cache", first / "cache") == 0
    again, before = (pd.read_csv(f / "table.csv") for f in (tmp_path, first))
    pd.testing.assert_frame_equal(again, before)
    shown = capsys.readouterr().out
    assert "mean ± standard deviation over seeds" in shown
    assert "digits; model: DigitsNetwork, built in" in shown
    assert "Attacks succeed (only these inputs count): FGSM" in shown
    assert f"Wrote {tmp_path / 'table.csv'}" in shown


def test_an_interrupted_run_goes_on(first, tmp_path, capsys, monkeypatch):
    options = ("--seeds", "0", "--cache", tmp_path / "cache", "--quiet")
    fits = []
    fit = _fitting.Judge._fit

    def stop_at_second(judge):
        fits.append(judge.name)
        if len(fits) == 2:
            raise KeyboardInterrupt
        return fit(judge)

    monkeypatch.setattr(_fitting.Judge, "_fit", stop_at_second)
    assert digits(tmp_path, *options) == 130
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "The same command goes on where it was" in err
    assert str(tmp_path / "cache") in err
    assert digits(tmp_path, *options) == 0
    assert fits == ["recommended", "max softmax", "max softmax"]
    shown = capsys.readouterr().out
    assert shown.startswith("Each cell: AUROC/TNR@95TPR")
    assert "Wrote" not in shown


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
        *(
            "--anomalies",
            "strange.npy,fgsm",
            "--detectors",
            "own_net:forest,own_net:energy,energy",
        ),
        *("--output", "out"),
    )
    assert status == 0, capsys.readouterr().err
    frame = pd.read_csv(own / "out" / "table.csv")
    # Without other inputs to fit on, five folds of the test inputs are.
    assert len(frame) == 3 * 2 * 5
    assert set(frame["detector"]) == {"forest", "energy", "energy (own)"}
    assert set(frame["anomaly"]) == {"strange", "FGSM"}
    assert (
        frame.groupby(["detector", "anomaly"])["n_in_distribution"].sum().eq(30).all()
    )


def test_own_weights_and_supervised_detectors(own, capsys):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.copy_(torch.arange(10.0))
    save_network(net, own / "net.safetensors")
    torch.save(net.state_dict(), own / "net.pt")
    for name in ("net.safetensors", "net.pt"):
        status = evaluate(
            *("--model", "own_net:Net", "--weights", name, *TINY, "--output", "out"),
            *("--anomalies", "uniform-noise", "--detectors", "a,lid-supervised"),
            *("--protocol", "a-prime" if name == "net.pt" else "A"),
            *(("--anomalies", "uniform-noise,gaussian-noise") * (name == "net.pt")),
        )
        captured = capsys.readouterr()
        assert status == 0, captured.err
        # A model that always says 9 is right about every tenth digit.
        assert "of the test inputs classified correctly" in captured.out
        assert float(captured.out.split("own_net:Net, ")[1].split("%")[0]) < 30
    frame = pd.read_csv(own / "out" / "table.csv")
    assert set(frame["protocol"]) == {"A'"}
    assert set(frame["detector"]) == {"A: MLP", "LID, supervised"}


BAD = {
    "--anomalies pgdd": ["--anomalies must be", "got 'pgdd'", "Did you mean", "'pgd'"],
    "--anomalies fashon-mnist": ["--anomalies must be", "'fashion-mnist'"],
    "--anomalies ./nowhere": ["--anomalies must be existing folders", "./nowhere"],
    "--anomalies digits": ["--anomalies must be other data than --id digits"],
    "--anomalies ,": ["--anomalies", "at least one", "got ','"],
    "--detectors mahalanobi": ["--detectors must be among all", "'mahalanobis'"],
    "--detectors a": ["--detectors a learns from anomalies", "Add --protocol A"],
    "--detectors lid-supervised --protocol B": ["protocol B gives it none"],
    "--detectors own_net:absent": ["--detectors must name what is in own_net"],
    "--detectors own_net:narrow": ["--detectors narrow must be a function", "fit"],
    "--protocol D": ["--protocol", "A' (A-prime for shells), B or C", "'D'"],
    "--seeds 0,-1": ["--seeds", "whole number from 0", "'-1'"],
    "--eps 0": ["--eps", "positive number", "'0'"],
    "--n-test 0": ["--n-test", "1 or more", "'0'"],
    "--target-fpr 2": ["--target-fpr", "strictly between 0 and 1"],
    "--id mnits": ["--id must be an existing folder or file", "'mnist'"],
    "--id mnist": ["--data-dir must be the folder", "--data-dir DIR", "--download"],
    "--id mnist --data-dir nowhere": ["--data-dir must be an existing folder"],
    "--id fashion-mnist": ["--model must be given for --id fashion-mnist"],
    "--fit nowhere.npy": ["--fit must be an existing folder or file", "nowhere.npy"],
    "--fit flat.npy": ["--fit flat.npy:", "shape must be"],
    "--model own_net": ["--model must be package.module:name", "'own_net'"],
    "--model own_nett:Net": ["can be imported", "No module named 'own_nett'"],
    "--model own_net:Nett": ["--model must name what is in own_net", "Net"],
    "--model own_net:number": ["--model must be a torch module", "int"],
    "--model own_net:broken": ["'own_net:broken' raises RuntimeError: no weights"],
    "--model own_net:network": ["--id must have the model's classes, 0 to 2"],
    "--model own_net:Net --weights images.npy": ["--weights must be a .safetensors"],
    "--model own_net:Net --weights absent.pt": ["--weights must be a file", "absent"],
    "--model own_net:Net --weights other.pt": ["--weights must fit the model, Net"],
    "--weights other.pt": ["--weights needs the --model", "skgrad.evaluation:LeNet"],
    "--id images.npy --model own_net:Net": ["--model must take the inputs of --id"],
    "--id flat.npy --model own_net:Net --protocol B": ["--id has no classes"],
    "--id flat.npy --model own_net:Net --anomalies misclassified": ["has none"],
    "--id minus.npz --model own_net:Net --anomalies fgsm": [
        "0 to 9; it has classes -1 to 0"
    ],
    "--id halves.npz --model own_net:Net": ["y in 'halves.npz' must hold classes as"],
    "--id words.npz --model own_net:Net": ["whole numbers", "return_inverse"],
    "--id few.npy --model own_net:Net --anomalies fgsm": [
        "--id must hold more inputs",
        "Give 20 or",
    ],
    "--id sizes --model own_net:Net": ["images must have one size, so resize"],
    "--id flat.npy --model own_net:Net --anomalies flat.npy": ["other data than --id"],
    "--id flat.npy --model own_net:Net --anomalies equal.npy": [
        "--anomalies equal must be none of the inputs in the test inputs of --id"
    ],
    "--id flat.npy --model own_net:Two --detectors all --anomalies fgsm": [
        "3 or more",
        "leave b out",
    ],
    "--id flat.npy --model own_net:Steps --anomalies pgd": [
        "--anomalies cannot be made: model must be differentiable"
    ],
    "--seeds ,": ["--seeds: must be a list separated by commas", "','. See --help."],
    "--output taken": ["--output must be a folder that can be written", "'taken'"],
    "--cache taken": ["--cache must be a folder that can be written", "'taken'"],
    "--device abacus": ["--device must be one that torch can use", "'abacus'"],
    "--nonsense": ["unrecognized arguments: --nonsense"],
}


@pytest.mark.parametrize("options", BAD)
def test_wrong_options(options, own, capsys, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("long work before the options were checked")

    for home, name in (
        (_command_model, "train_digits_network"),
        (_command_model, "train_network"),
    ):
        # Only what returns a detector has to see the model first.
        if "narrow" not in options:
            monkeypatch.setattr(home, name, refuse)
    monkeypatch.delenv("SKGRAD_DATA", raising=False)
    if "narrow" in options:
        options += " --model own_net:Net"
    np.save(own / "images.npy", np.zeros((6, 3, 5, 5), dtype=np.float32))
    flat = np.random.default_rng(0).random((20, 64)).astype(np.float32)
    np.save(own / "flat.npy", flat)
    np.save(own / "equal.npy", flat)
    np.save(own / "few.npy", np.repeat(flat[:6], 5, axis=0))
    for name, y in (("minus", -1), ("halves", 0.5), ("words", "a")):
        labels = np.array([y] + 19 * [type(y)(0)])
        np.savez(own / f"{name}.npz", X=flat, y=labels)
    (own / "sizes").mkdir()
    for width in (4, 5):
        Image.new("L", (width, 4)).save(own / "sizes" / f"{width}.png")
    torch.save(torch.nn.Linear(2, 2).state_dict(), own / "other.pt")
    (own / "taken").write_text("a file")
    expected = (
        BAD[options.removesuffix(" --model own_net:Net")]
        if ("narrow" in options)
        else BAD[options]
    )
    try:
        status = evaluate(*options.split())
    except SystemExit as stop:
        status = stop.code
    err = capsys.readouterr().err
    assert status == 2, err
    assert err.count("\n") == 1
    assert err.startswith("skgrad evaluate: ")
    for text in expected:
        assert text in err


def test_pandas_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert evaluate("--output", tmp_path) == 2
    assert 'pip install "skgrad[report]"' in capsys.readouterr().err


def test_help_does_without_torch():
    code = (
        "import sys, skgrad.__main__ as m\n"
        "try: m.main(['evaluate', '--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert not {'torch', 'sklearn', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert "--n-slow N" in done.stdout
    assert "default: None" not in done.stdout


def test_names_are_those_of_the_baselines():
    plain = make_detectors(torch.nn.Linear(4, 3), ["all"])
    dropout = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(4, 3))
    assert list(make_detectors(dropout, ["all"])) == list(DETECTOR_KINDS.values())
    names = [n.replace("KD+BU", "KD") for n in DETECTOR_KINDS.values()]
    assert list(plain) == names
    known = make_detectors(dropout, ["unsupervised"])
    assert set(DETECTOR_KINDS.values()) - set(known) == set(SUPERVISED.values())
    for name, detector in make_detectors(dropout, ["all"]).items():
        assert _fitting.needs_anomalies(detector) == (name in SUPERVISED.values())
    for slug, name in DETECTOR_KINDS.items():
        assert find_detector(slug) == find_detector(name) == name
    assert find_detector("Mahalanobis P+FE") == "Mahalanobis P+FE"
    assert find_detector("kd") == "KD+BU"
    assert find_detector("") is None


def test_made_detectors_take_the_options():
    made = make_detectors(
        torch.nn.Linear(4, 3),
        ["c", "recommended", "max softmax", "A: MLP"],
        target_fpr=0.2,
        random_state=7,
        device="cpu",
    )
    assert list(made) == ["C: SVDD", "recommended", "max softmax", "A: MLP"]
    for detector in made.values():
        found = detector.get_params()
        rates = [v for k, v in found.items() if k.split("__")[-1] == "target_fpr"]
        states = [v for k, v in found.items() if k.split("__")[-1] == "random_state"]
        assert 0.2 in rates
        assert 7 in states
    with pytest.raises(ValueError, match=r"got 'odinn'\. Did you mean 'odin'"):
        make_detectors(torch.nn.Linear(4, 3), ["odinn"])
