"""The package as a whole: what importing it costs, and what it offers."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

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
def test_lines_of_the_readme_run(monkeypatch, tmp_path, capsys):
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", readme, re.S):
        exec(block, names)
    heads = capsys.readouterr().out.split("\n")[1].split()
    assert heads == ["predicted", "probability", "score", "p_value", "trust"]
    X = names["digits"].X_test
    for name in ("guard", "detector", "own"):
        detector = getattr(names[name], "detector_", names[name])
        assert (detector.predict(X) == 1).mean() > 0.85
        assert (detector.predict(1 - X[:20]) == -1).mean() > 0.85


def test_figures_of_readme_and_guide_are_those_of_the_results():
    tables = runpy.run_path(str(ROOT / "doc" / "headline.py"))
    assert tables["headline"]() in (ROOT / "README.md").read_text()
    results = (ROOT / "doc" / "results" / "README.md").read_text()
    summed = *tables["summary"](), tables["by_network"](), tables["beside_openood"]()
    assert [table for table in summed if table not in results] == []
    guide = ROOT / "doc" / "guide"
    assert tables["by_group"]() in (guide / "which_detector.md").read_text()
    rivals = (guide / "rivals.md").read_text().partition("## What each looks at")[2]
    shown = re.findall(r"^\|.*?\| (\d+\.\d) \| (\d+\.\d)\b", rivals, re.M)
    assert shown == tables["of_rivals"]()
