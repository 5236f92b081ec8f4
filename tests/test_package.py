"""The package as a whole: what importing it costs, and what it offers."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from networks import LeNet, images, seeded

import skgrad

ROOT = Path(__file__).parents[1]

HEAVY = [
    "matplotlib",
    "pyod",
    "numba",
    "skorch",
    "torchvision",
    "foolbox",
    "pytorch_ood",
]


def test_imports_stay_light():
    code = (
        "import skgrad, sys, skgrad.attacks, skgrad.inspection\n"
        "from skgrad import LODA, LayerActivationTransformer, metrics\n"
        f"print([m for m in {HEAVY} if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_public_names_are_there():
    for name in skgrad.__all__:
        assert getattr(skgrad, name) is not None
        assert name in dir(skgrad)
    assert skgrad.LODA is skgrad.detectors.LODA


def test_unknown_names_raise():
    with pytest.raises(AttributeError, match="no attribute 'Loda'"):
        _ = skgrad.Loda


@pytest.mark.slow
def test_lines_of_the_readme_run(monkeypatch, tmp_path):
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.S)
    protect, decide, see, keep, rivals, judge = blocks
    monkeypatch.chdir(tmp_path)
    shape = (1, 28, 28)
    names = {
        "model": seeded(LeNet),
        "X_fit": images(900, shape) ** 4,
        "X_new": images(20, shape, seed=1),
        "X_ood": images(60, shape, seed=2),
        "y_new": np.arange(20) % 10,
    }
    exec(protect, names)
    assert set(names["detector"].predict(names["X_new"])) == {-1}
    assert set(names["own"].predict(names["X_new"])) == {-1}
    exec(decide, names)
    assert len(names["own"][-1].class_offsets_) >= 1
    assert (names["guard"].p_values(names["X_new"]) < 0.05).all()
    assert names["guard"].select_anomalies(names["X_new"]).all()
    assert names["search"].best_score_ > 0.95
    # The refit left the anomalies out.
    assert set(names["search"].predict(names["X_ood"])) == {-1}
    mpl.use("Agg")
    plt.close("all")  # figures of other tests
    exec(see, names)
    assert len(plt.get_fignums()) == 2
    plt.close("all")
    before = names["detector"].score_samples(names["X_new"])
    exec(keep, names)
    assert (names["detector"].score_samples(names["X_new"]) == before).all()
    exec(rivals, names)
    assert len(names["X_adv"]) == names["result"].success.sum()
    assert names["knowing"].success.any()
    assert names["fooling"].X_adv.shape == (20, *shape)
    assert set(names["rival"].predict(names["X_new"])) == {-1}
    assert len(names["rivals"]) > 10
    exec(judge, {**names, "X_test": images(60, shape, seed=3) ** 4})
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
