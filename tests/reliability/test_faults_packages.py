"""Packages that are missing or broken: who needs them says so, the others work."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from judged import make
from networks import images
from torch import nn

from skgrad import MLPAnomalyClassifier, attacks
from skgrad.attacks._library import import_library
from skgrad.baselines import PyTorchOODDetector
from skgrad.datasets import load_dataset
from skgrad.evaluation import (
    Evaluation,
    load_published_results,
    plot_score_distributions,
    train_network,
    write_html,
)

KIND = "Faults"
X = images(12, (4,))
Y = np.arange(12) % 3
RESULTS = Evaluation([make()])


def attack(name, *args, **options):
    return lambda folder: getattr(attacks, name)(nn.Linear(4, 3), X, *args, **options)


# Package, what installs it, and a door that needs it.
DOORS = {
    "Evaluation.frame": ("pandas", '"skgrad[report]"', lambda f: RESULTS.summary()),
    "Evaluation.write": ("pandas", '"skgrad[report]"', lambda f: RESULTS.write(f)),
    "load_published_results": (
        "pandas",
        '"skgrad[report]"',
        lambda f: load_published_results("C"),
    ),
    "plot_score_distributions": (
        "matplotlib",
        '"skgrad[plot]"',
        lambda f: plot_score_distributions(RESULTS),
    ),
    "carlini_wagner": ("foolbox", '"skgrad[attacks]"', attack("carlini_wagner")),
    "foolbox_attack": (
        "foolbox",
        '"skgrad[attacks]"',
        attack("foolbox_attack", attack="LinfPGD", eps=0.1),
    ),
    "brendel_bethge": ("numba", '"skgrad[attacks]"', attack("brendel_bethge")),
    "art_attack": (
        "art",
        '"skgrad[attacks]"',
        attack("art_attack", attack="FastGradientMethod"),
    ),
    "jsma": ("art", '"skgrad[attacks]"', attack("jsma")),
    "PyTorchOODDetector": (
        "pytorch_ood",
        '"skgrad[ood]"',
        lambda f: PyTorchOODDetector(nn.Linear(4, 3), "EnergyBased").fit(X),
    ),
    "load_dataset('mnist')": (
        "torchvision",
        "torchvision",
        lambda f: load_dataset("mnist", data_dir=f),
    ),
    "train_network": (
        "skorch",
        "skorch",
        lambda f: train_network(lambda: nn.Linear(4, 3), X, Y, max_epochs=1),
    ),
    "MLPAnomalyClassifier": (
        "skorch",
        "skorch",
        lambda f: MLPAnomalyClassifier().fit(X, Y > 0),
    ),
}


class Broken:
    """An importer of a package that was built for another version of torch."""

    def __init__(self, package, error):
        self.package, self.error = package, error

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise self.error
        return None


@pytest.fixture(params=["missing", "broken: RuntimeError", "broken: OSError"])
def spoil(request, monkeypatch):
    if find_spec("foolbox"):
        # It remembers for good whether it found numba when it was first imported.
        import_library("foolbox")

    def spoil(package):
        for name in [n for n in sys.modules if n.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, name)
        error = {
            "missing": ModuleNotFoundError(f"No module named {package}", name=package),
            "broken: RuntimeError": RuntimeError(
                "operator torchvision::nms does not exist"
            ),
            "broken: OSError": OSError("libcudart.so.11: cannot open shared object"),
        }[request.param]
        monkeypatch.setattr(sys, "meta_path", [Broken(package, error), *sys.meta_path])
        if request.param == "missing":
            return "which is not installed"
        kind = type(error).__name__
        return rf"which is installed but cannot be imported \({kind}: {error}\)"

    spoil.name = request.param
    return spoil


@pytest.mark.parametrize("door", DOORS)
def test_doors_say_what_they_need(door, spoil, tmp_path, counted):
    package, wanted, run = DOORS[door]
    what = spoil(package)
    with pytest.raises(ImportError, match=f"needs? {package}, {what}") as caught:
        run(tmp_path)
    assert f"pip install {wanted}" in str(caught.value)
    assert caught.value.__cause__ is not None
    assert list(tmp_path.iterdir()) == []
    counted(KIND, f"{door}: {package} {spoil.name}", "refused: ImportError, way out")


def test_page_without_figures(spoil, tmp_path, counted):
    spoil("matplotlib")
    write_html(RESULTS, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Not drawn. Figures need matplotlib, which is" in page
    assert "pip install &quot;skgrad[plot]&quot;" in page
    counted(KIND, f"write_html: matplotlib {spoil.name}", "survived: page says so")


EVERYTHING_ELSE = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name in ("pandas", "matplotlib", "foolbox", "numba", "art", "pytorch_ood",
                    "torchvision", "skorch", "pyod"):
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
result = skgrad.attacks.pgd(model, X, eps=0.1, n_steps=2, random_state=0)
from skgrad.evaluation import evaluate, render_table, write_html, write_csv
found = evaluate(model, {"d": detector}, X[:30], {"far": X + 5}, X_fit=X[30:])
write_html(found, sys.argv[1] + "/page.html")
print(render_table(found))
"""


def test_everything_else_works_without_them(tmp_path, counted):
    # Nor does it need a home, colours, a terminal or a place for temporary files.
    env = {
        **{k: v for k, v in os.environ.items() if k != "HOME"},
        "TMPDIR": str(tmp_path / "absent"),
        "TERM": "dumb",
        "NO_COLOR": "1",
        "PYTHONIOENCODING": "ascii",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EVERYTHING_ELSE, str(tmp_path)],
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "false alarms" in done.stdout
    assert (tmp_path / "page.html").exists()
    counted(KIND, "all optional packages missing, no HOME, TMPDIR", "survived: works")
