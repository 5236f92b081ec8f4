"""Features of parts of X in several workers: threads here, processes where slow."""

import os
import signal
import threading
import warnings

import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky import get_reusable_executor
from networks import AnyWidth, images, seeded
from numpy.testing import assert_array_equal
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from wrong_inputs import Valid, arrays, datasets, readonly

from skgrad import (
    GuardedClassifier,
    LayerActivationTransformer,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad.evaluation import evaluate

X = images(23, (2, 6, 6))
IN_BATCHES = {"batch_size": 3}


@pytest.fixture
def threads():
    """Let joblib compute in two threads, each with a network of its own."""
    with joblib.parallel_config("threading", n_jobs=2):
        yield


@pytest.fixture
def processes():
    """Let joblib compute in two processes."""
    # Those of earlier tests import modules from where these did, such as benchmarks.
    get_reusable_executor().shutdown(wait=True)
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=1):
        yield


class Marked(nn.Module):
    """Says where and after how many calls of this copy it computes."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.n_calls = 0

    def forward(self, x):
        self.n_calls += 1
        mark = [os.getpid(), self.n_calls, torch.get_num_threads()]
        return torch.tensor(mark, dtype=x.dtype).expand(len(x), 3)


@pytest.mark.usefixtures("threads")
def test_features_are_the_same_to_the_bit(make, model):
    expected = make(model, n_jobs=1, **IN_BATCHES).fit_transform(X)
    found = make(model, **IN_BATCHES).fit_transform(X)
    assert_array_equal(found, expected)
    assert_array_equal(found.feature_names, expected.feature_names)
    assert found.dtype == expected.dtype
    # Parts of an array are cut where batches are, so another size is another result.
    assert make(model, batch_size=4).fit_transform(X).shape == expected.shape


EVERY = arrays(X) | datasets(X)
STREAMS = {"IterableDataset", "DataLoader of a stream", "DataLoader of batches"}


@pytest.mark.parametrize(
    "kind", [k for k, given in EVERY.items() if isinstance(given, Valid)]
)
def test_every_kind_of_inputs(kind, model, threads):
    given = EVERY[kind].X
    one = LayerActivationTransformer(model, "logits", n_jobs=1, **IN_BATCHES).fit(given)
    two = LayerActivationTransformer(model, "logits", n_jobs=2, **IN_BATCHES)
    if kind in STREAMS:
        with pytest.raises(ValueError, match=r"n_jobs must be None or 1 for the.*Give"):
            two.fit_transform(given)
        two.set_params(n_jobs=None)
    assert_array_equal(two.fit_transform(given), one.transform(given))


def test_several_inputs(threads):
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, left, right):
            return self.linear(left + right)

    data = {
        "left": images(23, (4,)),
        "right": torch.from_numpy(images(23, (4,), seed=1)),
    }
    one, two = (
        LayerActivationTransformer(seeded(Sum), "logits", n_jobs=n, **IN_BATCHES)
        for n in (1, 2)
    )
    assert_array_equal(two.fit_transform(data), one.fit_transform(data))


@pytest.mark.parametrize("n_jobs", [0, 1.5, "two"])
def test_wrong_n_jobs(n_jobs):
    message = r"'n_jobs' parameter .* must be an int in the range \[1, inf\), an int"
    with pytest.raises(ValueError, match=message):
        LayerActivationTransformer(AnyWidth(), n_jobs=n_jobs).fit(images(4, (2,)))


def test_a_batch_stays_here(threads):
    transformer = LayerActivationTransformer(Marked(), "logits", batch_size=3)
    transformer.fit(X[:3, 0, 0, :2])
    before = transformer.model.n_calls
    transformer.transform(X[:3, 0, 0, :2])
    assert transformer.model.n_calls == before + 1
    # Threads have networks of their own: one serves one thread at a time.
    transformer.transform(X[:, 0, 0, :2])
    assert transformer.model.n_calls == before + 1


def not_finite():
    broken = X.copy()
    broken[[4, 17]] = np.nan
    return broken


def test_rows_that_are_not_finite_are_named(model, threads):
    transformer = LayerActivationTransformer(model, **IN_BATCHES).fit(X)
    with pytest.raises(ValueError, match=r"finite.*row (4|17) of X"):
        transformer.transform(not_finite())
    guard = GuardedClassifier(model, target_fpr=0.5, random_state=0, **IN_BATCHES)
    with pytest.warns(UserWarning, match="rows 4, 17: rejected"):
        judged = guard.fit(X).judge(not_finite())
    assert_array_equal(np.flatnonzero(judged.p_value == 0), [4, 17])


class Torn(Dataset):
    """One of its files cannot be read."""

    def __init__(self, bad=(13,)):
        self.bad = bad

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        if index in self.bad:
            raise OSError(f"cannot read {index}.png")
        return X[index]


def test_rows_of_a_part_that_failed_are_named(model, threads):
    transformer = LayerActivationTransformer(model, **IN_BATCHES).fit(Torn())
    with pytest.raises(OSError, match=r"cannot read 13\.png") as failed:
        transformer.transform(Torn())
    assert failed.value.__notes__ == ["n_jobs: raised in rows 12 to 14 of X."]


def test_memory_keeps_what_workers_computed(make, model, threads, tmp_path):
    options = {"memory": str(tmp_path), **IN_BATCHES}
    transformer = make(model, **options).fit(X)
    computed = transformer.transform(X)
    with joblib.parallel_config("threading", n_jobs=1):
        serial = make(model, **options).fit(X)
        before = sorted(tmp_path.rglob("*.pkl"))
        assert_array_equal(serial.transform(X), computed)
    assert sorted(tmp_path.rglob("*.pkl")) == before


def test_verbose_shows_a_bar(model, threads, capsys):
    transformer = LayerActivationTransformer(model, verbose=True, **IN_BATCHES)
    transformer.fit_transform(X)
    shown = capsys.readouterr().err
    assert "LayerActivationTransformer: 100%" in shown
    assert "23/23" in shown


def test_recipes_and_guard_pass_it_on():
    net = AnyWidth()
    for detector in (
        make_confounding_gradient_detector(net, n_jobs=2),
        make_geometric_gradient_detector(net, n_jobs=2),
        make_uniform_detector(net, "bend", n_jobs=2),
        make_recommended_detector(net, n_jobs=2),
    ):
        assert detector[0].n_jobs == 2
    guard = GuardedClassifier(net, n_jobs=1, target_fpr=0.5, random_state=0)
    assert guard.fit(images(40, (2,))).detector_[0].n_jobs == 1


class InThreads(AnyWidth):
    """Notes in which threads any copy of it computes."""

    seen = set()

    def forward(self, x):
        self.seen.add(threading.get_ident())
        return super().forward(x)


def test_evaluate_takes_workers_by_itself_and_from_a_context():
    net, data = seeded(InThreads), images(60, (2,))
    detectors = {
        "low": make_recommended_detector(net, effort="low", batch_size=8),
        "geometric": make_geometric_gradient_detector(net, batch_size=8),
    }

    def result(around, n_jobs=None):
        """Return the AUROCs, and whether several threads computed them."""
        InThreads.seen.clear()
        anomalies = {"far": data[:20] + 9}
        with joblib.parallel_config("threading", n_jobs=around), quiet():
            found = evaluate(
                net, detectors, data, anomalies, n_folds=2, n_jobs=n_jobs
            ).frame
            assert joblib.effective_n_jobs(None) == around  # as it was
        return found["auroc"].tolist(), len(InThreads.seen) > 1

    expected, several = result(1)
    assert not several
    assert result(2) == (expected, True)
    assert result(1, n_jobs=2) == (expected, True)


def quiet():
    """Take no notice of warnings that so few samples give."""
    return warnings.catch_warnings(action="ignore")


# In processes


@pytest.mark.slow
@pytest.mark.usefixtures("processes")
def test_processes_give_the_same_to_the_bit(make, model):
    expected = make(model, n_jobs=1, **IN_BATCHES).fit_transform(X)
    found = make(model, **IN_BATCHES).fit_transform(X)
    assert_array_equal(found, expected)


def mapped_file(path, values):
    """Return values mapped from a file."""
    file = np.memmap(path, values.dtype, "w+", shape=values.shape)
    file[:] = values
    file.flush()
    return np.memmap(path, values.dtype, "r", shape=values.shape)


@pytest.mark.slow
def test_processes_read_each_kind(model, processes, tmp_path):
    file = mapped_file(tmp_path / "X", np.repeat(X, 3, axis=0))
    private = np.memmap(tmp_path / "X", X.dtype, "c", shape=file.shape)
    private[:] = 1 - private
    transformer = LayerActivationTransformer(model, **IN_BATCHES).fit(X)
    for given in (
        X,
        readonly(X),
        file,
        file[7:],
        file[::2],
        private,
        torch.from_numpy(X),
        TensorDataset(torch.from_numpy(X)),
        DataLoader(TensorDataset(torch.from_numpy(X)), batch_sampler=[[2, 1], [7]] * 9),
    ):
        expected = transformer.set_params(n_jobs=1).transform(given)
        found = transformer.set_params(n_jobs=2).transform(given)
        assert_array_equal(found, expected)


@pytest.mark.slow
def test_a_mapped_file_is_opened_by_the_workers(model, processes, tmp_path):
    file = mapped_file(tmp_path / "X", X)
    transformer = LayerActivationTransformer(model, **IN_BATCHES).fit(file)
    (tmp_path / "X").unlink()
    # It is still there for this process, so a copy could have been sent.
    with pytest.raises(RuntimeError, match=r"could not unpickle.*joblib says"):
        transformer.transform(file)


@pytest.mark.slow
def test_a_worker_loads_the_network_once(processes):
    data = images(160, (2,))
    transformer = LayerActivationTransformer(Marked(), "logits", batch_size=2)
    transformer.fit(data)
    marks = np.concatenate([transformer.transform(data) for _ in range(2)])[::2]
    pids = np.unique(marks[:, 0])
    assert os.getpid() not in pids
    for pid in pids:
        # Another copy would count from the number of calls in fit again.
        calls = np.sort(marks[marks[:, 0] == pid, 1])
        assert_array_equal(calls, calls[0] + np.arange(len(calls)))


@pytest.mark.slow
def test_failures_in_processes_are_those_of_the_user(model, processes):
    transformer = LayerActivationTransformer(model, **IN_BATCHES).fit(Torn())
    with pytest.raises(OSError, match=r"cannot read 13\.png") as failed:
        transformer.transform(Torn())
    assert failed.value.__notes__ == ["n_jobs: raised in rows 12 to 14 of X."]
    assert "__getitem__" in str(failed.value.__cause__)  # the worker's traceback
    guard = GuardedClassifier(model, target_fpr=0.5, random_state=0, **IN_BATCHES)
    with pytest.warns(UserWarning, match="rows 4, 17: rejected"):
        guard.fit(X).judge(not_finite())


class Killer(nn.Module):
    """Kills the process that it computes in, unless that is its maker's."""

    def __init__(self):
        super().__init__()
        self.linear, self.pid = nn.Linear(2, 3), os.getpid()

    def forward(self, x):
        if os.getpid() != self.pid:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(x)


@pytest.mark.slow
def test_a_killed_worker_is_reported(model, processes):
    transformer = LayerActivationTransformer(Killer(), batch_size=2).fit(
        images(20, (2,))
    )
    with pytest.raises(RuntimeError, match=r"smaller n_jobs or batch_size.*SIGKILL"):
        transformer.transform(images(20, (2,)))
    # The next call starts new ones.
    transformer = LayerActivationTransformer(model, **IN_BATCHES).fit(X)
    assert len(transformer.transform(X)) == len(X)
