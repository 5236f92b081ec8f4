"""The Dask backend of joblib, on a cluster of two processes."""

import os
import signal

import joblib
import numpy as np
import pytest
from networks import images
from numpy.testing import assert_array_equal
from torch import nn

from skgrad import LayerActivationTransformer

pytestmark = pytest.mark.slow

X = images(60, (4,))
# Among batches of two, one that is like no other.
X[30:32] = 60


@pytest.fixture
def client():
    """Connect to a cluster whose processes talk over the loopback interface alone."""
    distributed = pytest.importorskip("distributed")
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with (
        distributed.LocalCluster(n_workers=2, host="127.0.0.1", **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


class KillsOnce(nn.Module):
    """Kills the process that meets a certain batch first."""

    def __init__(self, folder):
        super().__init__()
        self.linear, self.folder, self.pid = nn.Linear(4, 3), folder, os.getpid()

    def forward(self, x):
        if os.getpid() != self.pid and (x == 60).all() and not self.folder.exists():
            self.folder.mkdir()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(x)


@pytest.mark.filterwarnings("default")  # the cluster warns of what is done to it
def test_a_run_goes_on_without_a_killed_worker(client, tmp_path):
    transformer = LayerActivationTransformer(KillsOnce(tmp_path / "killed"))
    transformer.set_params(batch_size=2).fit(X)
    expected = transformer.transform(X)
    with joblib.parallel_config("dask"):
        found = transformer.transform(X)
        assert (tmp_path / "killed").exists()
        assert_array_equal(found, expected)
        broken = X.copy()
        broken[7] = np.nan
        with pytest.raises(ValueError, match="row 7 of X"):
            transformer.transform(broken)
