"""Files of this and earlier versions are read, and give the scores that they gave."""

from importlib.util import find_spec

import numpy as np
import pytest
from persistence.make_files import DATA, Net, scores

import skgrad

FILES = sorted(DATA.glob("*.skgrad"))


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.InconsistentVersionWarning"  # that is the point
)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scores_are_those_of_then(path, counted):
    if path.stem.startswith("pytorch_ood") and not find_spec("pytorch_ood"):
        pytest.skip("needs pytorch-ood")
    X = np.load(DATA / "X.npy")[60:]
    detector = skgrad.load(path, model=Net())
    expected = np.load(path.with_suffix(".npy"))
    np.testing.assert_allclose(scores(detector, X), expected, rtol=1e-4, atol=1e-6)
    counted("Saved files", f"file of another day: {path.stem}", "right answer")


def test_they_are_there_and_small():
    assert len(FILES) >= 10
    assert sum(path.stat().st_size for path in FILES) < 150_000
