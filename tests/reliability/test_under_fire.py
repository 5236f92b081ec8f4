"""Whatever happens around a model and inside of it, it is left as it was.

Cases are doors by circumstances. In each the door gives what it gives in quiet, or a
clear error; and a complete comparison of the model and of the process's settings
follows.
"""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from doors import DOORS
from fire import KIND, PLACES, SOME, Fuse, Trigger, X, fused, plain, quiet
from model_state import assert_same_state, state_of
from networks import BatchNormNet, seeded
from numpy.testing import assert_allclose
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from skgrad import LayerActivationTransformer
from skgrad.evaluation import train_network
from skgrad.torch_engine.model_state import frozen

ERROR = "an exception"
ERRORS = {
    ERROR: RuntimeError("cosmic ray"),
    "KeyboardInterrupt": KeyboardInterrupt("cosmic ray"),
    "SystemExit": SystemExit("cosmic ray"),
}


def counts_of_calls(name, trigger, model, *, backward):
    """Return what a door gives, and how often it comes to each place."""
    calls = {}
    for place in ["middle"] if backward else PLACES:
        trigger.arm(place, backward=backward)
        expected = DOORS[name](model, X)
        calls[place] = trigger.calls
    return expected, calls


@pytest.mark.parametrize("name", DOORS)
@pytest.mark.parametrize("way", ["forward", "backward"])
def test_errors_inside_of_the_model(name, way, counted):
    counted(KIND, f"an error in the {way} pass: {name}", "told, model as it was")
    trigger = Trigger()
    model = fused(trigger)
    before = state_of(model)
    backward = way == "backward"
    expected, calls = counts_of_calls(name, trigger, model, backward=backward)
    for place, n_calls in calls.items():
        for call, kind in some_of(place, n_calls):
            trigger.arm(place, call, ERRORS[kind], backward=backward)
            outcome = came_through(name, model)
            # One exception while calls are recorded is forgiven: autograd alone
            # gives the same.
            if outcome is not None and kind == ERROR:
                assert_allclose(outcome, expected, rtol=1e-9, atol=1e-12)
            else:
                assert outcome is None, kind
            assert_same_state(before, state_of(model))


def some_of(place, n_calls):
    """Choose at which calls to throw what."""
    if not n_calls:
        return
    yield {"first": 1, "middle": n_calls // 2 + 1, "last": n_calls}[place], ERROR
    if place == "middle":
        yield n_calls, "KeyboardInterrupt"
        yield (n_calls + 1) // 2, "SystemExit"


def came_through(name, model):
    """Return None if the error did, else what the door gave."""
    error = model.first.trigger.error
    interrupts = not isinstance(error, Exception)
    legal = type(error) if interrupts else (RuntimeError, ValueError)
    try:
        given = DOORS[name](model, X)
    except legal as caught:
        told = caught
    else:
        return given
    assert "cosmic ray" in str(told)
    assert not interrupts or told is error
    return None


@pytest.mark.parametrize("n_threads", [2, 4])
def test_threads_on_one_model(n_threads, counted):
    counted(KIND, f"{n_threads} threads on one model", "right answers")
    model = plain()
    before = state_of(model)
    given = {}
    # The same doors twice over, and different ones besides.
    names = [*SOME, "fine_tune_with_outliers", *SOME[:4], "fine_tune_with_outliers"]

    def work(number):
        for place in range(number, len(names), n_threads):
            given[place] = DOORS[names[place]](model, X)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, name in enumerate(names):
        assert_allclose(given[place], quiet(name), rtol=1e-9, atol=1e-12)
    assert_same_state(before, state_of(model))


class Breaking(Dataset):
    """Cannot read its tenth sample."""

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        if index == 10:
            raise OSError("disk on fire")
        return torch.from_numpy(X[index])


class Ending(IterableDataset):
    """Breaks off in the middle of its stream."""

    def __iter__(self):
        yield from torch.from_numpy(X[:10])
        raise OSError("disk on fire")


@pytest.mark.parametrize("data", [Breaking, Ending])
@pytest.mark.parametrize("name", ["parameter gradients", "activations", "ODIN", "LID"])
def test_data_that_break_off(name, data, counted):
    counted(KIND, f"data that break off: {data.__name__}", "told, model as it was")
    model = plain()
    before = state_of(model)
    with pytest.raises(OSError, match="disk on fire"):
        DOORS[name](model, data())
    assert_same_state(before, state_of(model))


def test_interrupt_of_training(counted):
    counted(KIND, "KeyboardInterrupt while a network is trained", "came through")
    trigger = Trigger()
    trigger.arm("first", 2, ERRORS["KeyboardInterrupt"])
    network = nn.Sequential(Fuse("first", trigger), nn.Flatten(), nn.Linear(72, 3))
    with pytest.raises(KeyboardInterrupt, match="cosmic ray"):
        train_network(network, X, np.arange(24) % 3, max_epochs=3)


def test_a_pickle_waits_for_the_thread_that_holds_the_model(counted):
    model = seeded(BatchNormNet).train()
    held, let_go = threading.Event(), threading.Event()

    def hold():
        with frozen(model):
            held.set()
            let_go.wait(60)

    transformer = LayerActivationTransformer(model, "logits")
    with ThreadPoolExecutor() as pool:
        holding = pool.submit(hold)
        assert held.wait(60)
        pickling = pool.submit(pickle.dumps, transformer)
        with pytest.raises(TimeoutError):
            pickling.result(0.5)
        let_go.set()
        holding.result(60)
        found = pickle.loads(pickling.result(60)).model
    assert found.training
    assert found.norm.training
    counted(KIND, "pickling while another thread holds the model", "as it was")
