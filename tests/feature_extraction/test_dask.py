"""The Dask backend of joblib, on a cluster of two processes."""

import os
import signal
import threading
import time

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
        client.wait_for_workers(2)
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


class Waits(nn.Module):
    """Computes, with a file as a trace, but in workers waits if there is a file."""

    def __init__(self, folder):
        super().__init__()
        self.linear, self.folder, self.pid = nn.Linear(4, 3), folder, os.getpid()

    def forward(self, x):
        if os.getpid() == self.pid:
            (self.folder / "here").touch()
        elif (self.folder / "wait").exists():
            (self.folder / "waits").touch()
            time.sleep(60)
        return self.linear(x)


@pytest.mark.filterwarnings("default")  # the cluster warns of what is done to it
def test_what_was_finished_is_kept_when_the_cluster_goes_away(client, tmp_path):
    transformer = LayerActivationTransformer(Waits(tmp_path), batch_size=2).fit(X)
    expected = transformer.transform(X)
    transformer.set_params(memory=str(tmp_path / "cache"))

    def close_in_the_middle():
        while not (tmp_path / "waits").exists():
            time.sleep(0.01)
        client.cluster.close()

    with joblib.parallel_config("dask"):
        transformer.transform(X[:20])
        (tmp_path / "wait").touch()
        closing = threading.Thread(target=close_in_the_middle)
        closing.start()
        with pytest.raises(RuntimeError, match=r"worker ended.*memory="):
            transformer.transform(X[20:])
        closing.join()
    (tmp_path / "here").unlink()
    assert_array_equal(transformer.transform(X[:20]), expected[:20])
    assert not (tmp_path / "here").exists()
    assert_array_equal(transformer.transform(X[20:]), expected[20:])
    assert (tmp_path / "here").exists()
