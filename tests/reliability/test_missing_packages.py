"""Packages that are missing or broken: what needs them says so, the rest works."""

import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
from networks import images
from recording_detectors import Distance, linear_model, rows
from torch import nn

import skgrad
from skgrad import MLPAnomalyClassifier, attacks
from skgrad.attacks._library import import_library
from skgrad.baselines import PyTorchOODDetector
from skgrad.datasets import load_dataset
from skgrad.evaluation import evaluate
from skgrad.guard import Judgement
from skgrad.inspection import ScoreDistributionDisplay

X = images(12, (4,))
LABELS = np.repeat([1, -1], 6)


def summarise():
    data, far = rows(30)[0], rows(15, 3, 3.0)[0]
    return evaluate(linear_model(), {"d": Distance()}, data, {"far": far}).summary()


def judge():
    return Judgement(*np.zeros((5, 2))).to_pandas()


def plot():
    detector = Distance().fit(X)
    return ScoreDistributionDisplay.from_estimator(detector, X, LABELS)


def attack(name, **options):
    return partial(getattr(attacks, name), nn.Linear(4, 3), X, **options)


# A call that needs a package, the package, and what pip installs.
ATTACKS, MODEL = '".[attacks]"', nn.Linear(4, 3)
CALLS = {
    "Evaluation.summary": (summarise, "pandas", '".[report]"'),
    "export": (
        lambda: skgrad.export(None, "guard.onnx"),
        *("onnx", '".[export]"'),
    ),
    "Judgement.to_pandas": (judge, "pandas", '".[report]"'),
    "ScoreDistributionDisplay": (plot, "matplotlib", '".[plot]"'),
    "carlini_wagner": (attack("carlini_wagner"), "foolbox", ATTACKS),
    "foolbox_attack": (
        attack("foolbox_attack", attack="LinfPGD", eps=0.1),
        "foolbox",
        ATTACKS,
    ),
    "brendel_bethge": (attack("brendel_bethge"), "numba", ATTACKS),
    "PyTorchOODDetector": (
        lambda: PyTorchOODDetector(MODEL, "EnergyBased").fit(X),
        "pytorch_ood",
        '".[ood]"',
    ),
    "load_dataset": (
        lambda: load_dataset("mnist", data_dir=os.path.dirname(__file__)),
        *("torchvision", "torchvision"),
    ),
    "MLPAnomalyClassifier": (
        lambda: MLPAnomalyClassifier().fit(X, LABELS),
        *("skorch", "skorch"),
    ),
}


class Importer:
    """An importer that raises an error for a package."""

    def __init__(self, package, error):
        self.package, self.error = package, error

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise self.error
        return None


def let_import_fail(monkeypatch, package, error):
    if find_spec("foolbox"):
        # It remembers for good whether it found numba when it was first imported.
        import_library("foolbox")
    for name in [n for n in sys.modules if n.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Importer(package, error), *sys.meta_path])


@pytest.mark.parametrize("name", CALLS)
def test_missing_packages(name, monkeypatch):
    call, package, wanted = CALLS[name]
    error = ModuleNotFoundError(f"No module named {package}", name=package)
    let_import_fail(monkeypatch, package, error)
    what = f"needs? {package}, which is not installed"
    with pytest.raises(ImportError, match=what) as caught:
        call()
    assert f"pip install {wanted}" in str(caught.value)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("operator torchvision::nms does not exist"),
        OSError("libcudart.so.11: cannot open shared object"),
    ],
)
def test_broken_packages(error, monkeypatch):
    let_import_fail(monkeypatch, "torchvision", error)
    what = rf"cannot be imported \({type(error).__name__}: {error}\)"
    with pytest.raises(ImportError, match=what):
        CALLS["load_dataset"][0]()


WITHOUT_OPTIONAL_PACKAGES = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name in ("pandas", "matplotlib", "foolbox", "numba", "pytorch_ood",
                    "torchvision", "skorch", "pyod", "jinja2", "skops", "onnx",
                    "onnxscript"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Gone())
import numpy as np, torch
import skgrad
for name in skgrad.__all__:
    getattr(skgrad, name)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(),
                            torch.nn.Linear(8, 3))
X = np.random.default_rng(0).random((60, 4)).astype("float32")
detector = skgrad.make_recommended_detector(model, random_state=0).fit(X)
assert detector.predict(X).shape == (60,)
skgrad.attacks.pgd(model, X, eps=0.1, n_steps=2, random_state=0)
from skgrad.evaluation import evaluate, render_table
found = evaluate(model, {"d": detector}, X[:30], {"far": X + 5}, X_fit=X[30:])
print(render_table(found))
"""


@pytest.mark.slow
def test_everything_else_works_without_them(tmp_path):
    # It needs no home, no colours, no terminal and no place for temporary files.
    env = {
        **{k: v for k, v in os.environ.items() if k != "HOME"},
        "TMPDIR": str(tmp_path / "absent"),
        "TERM": "dumb",
        "NO_COLOR": "1",
        "PYTHONIOENCODING": "ascii",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_OPTIONAL_PACKAGES],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "false alarms" in done.stdout
