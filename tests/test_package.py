"""The package as a whole: what importing it costs, and what it offers."""

import subprocess
import sys

import pytest

import skgrad

HEAVY = ["matplotlib", "pyod", "numba", "skorch", "pandas", "torchvision"]


@pytest.mark.parametrize(
    "statement",
    ["import skgrad", "from skgrad import LODA, LayerActivationTransformer, metrics"],
)
def test_import_stays_light(statement):
    code = f"{statement}; import sys; print([m for m in {HEAVY} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_public_names_are_there():
    for name in skgrad.__all__:
        assert getattr(skgrad, name) is not None
        assert name in dir(skgrad)
    assert skgrad.LODA is skgrad.detectors.LODA


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'Loda'"):
        _ = skgrad.Loda
