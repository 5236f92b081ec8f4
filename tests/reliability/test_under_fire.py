"""Whatever happens around a model and inside of it, it is left as it was.

Cases are doors by circumstances. In each the door gives what it gives in quiet, or a
clear error; and a complete comparison of the model and of the process's settings
follows.
"""

import multiprocessing
import os
import threading
from collections import OrderedDict
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from doors import DOORS
from networks import BatchNormNet, images, seeded
from numpy.testing import assert_allclose
from states import assert_same_state, state_of
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from skgrad import ConfoundingGradientTransformer
from skgrad.evaluation import train_network
from skgrad.torch_engine.model_state import frozen

KIND = "State under fire"
X = images(24, (2, 6, 6)).astype(np.float64)
PLACES = ("first", "middle", "last")


class Trigger:
    """What happens when a network comes to some place for the k-th time."""

    def __init__(self):
        self.arm(None)

    def arm(self, place, call=None, error=None, *, backward=False):
        self.place, self.call, self.error = place, call, error
        self.backward, self.calls = backward, 0

    def pull(self):
        self.calls += 1
        if self.calls == self.call:
            raise self.error

    def __deepcopy__(self, memo):
        return self  # copies of a network count together


class Fuse(nn.Module):
    """Passes its input on, unless the trigger is set for it."""

    def __init__(self, place, trigger):
        super().__init__()
        self.place, self.trigger = place, trigger

    def forward(self, x):
        if self.trigger.place != self.place:
            return x
        if self.trigger.backward:
            return BackwardFuse.apply(x, self.trigger)
        self.trigger.pull()
        return x


class BackwardFuse(torch.autograd.Function):
    """Passes the gradient on, unless the trigger is set for it."""

    @staticmethod
    def forward(ctx, x, trigger):
        ctx.trigger = trigger
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        ctx.trigger.pull()
        return gradient, None


class Pool(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


def in_use(model):
    """Bring a network into the middle of its user's work."""
    model.train()
    model(torch.from_numpy(X)).sum().backward()
    model.norm.eval()
    model.head.bias.requires_grad_(False)
    model.conv.register_forward_hook(lambda *_: None)
    return model


def fused(trigger):
    """Make a network with three fuses, in use."""

    def make():
        first, middle, last = (Fuse(place, trigger) for place in PLACES)
        layers = OrderedDict(first=first, conv=nn.Conv2d(2, 4, 3, padding=1))
        layers.update(norm=nn.BatchNorm2d(4), bend=nn.Tanh(), middle=middle)
        layers.update(pool=Pool(), drop=nn.Dropout(0.5), head=nn.Linear(4, 3))
        return nn.Sequential(layers | OrderedDict(last=last))

    return in_use(seeded(make, dtype=torch.float64))


def plain():
    """Make a network with statistics other than 0 and 1, in use."""
    return in_use(seeded(BatchNormNet, dtype=torch.float64))


@pytest.fixture(params=DOORS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def quiet():
    """Return a function that tells what a door gives in quiet, computed once."""
    known = {}

    def ask(name):
        if name not in known:
            with torch.random.fork_rng(devices=[]):  # of the dropout in use
                known[name] = DOORS[name](plain(), X)
        return known[name]

    return ask


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


class Writing(nn.Module):
    """A network that keeps its last inputs and counts, as a careless one does."""

    def __init__(self):
        super().__init__()
        self.inside = seeded(BatchNormNet, dtype=torch.float64)
        self.n_passes = 0
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.last, self.n_passes = x, self.n_passes + 1
        self.seen += 1
        self.inside.conv.outputs = self.inside.conv(x)
        return self.inside(x)


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def own_hooks():
    """Set hooks on all modules, as profilers do."""
    register = nn.modules.module.register_module_forward_hook
    before = nn.modules.module.register_module_forward_pre_hook
    with register(lambda *_: None), before(lambda *_: None):
        yield


def with_hooks(model):
    """Give a network hooks of every kind, which only look."""
    for part in model.modules():
        part.register_forward_hook(lambda *_: None)
        part.register_forward_pre_hook(lambda *_: None)
        part.register_full_backward_hook(lambda *_: None)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_hook(lambda gradient: None)
            parameter.register_post_accumulate_grad_hook(lambda parameter: None)
    return model


def as_it_is(model):
    return model


# What is around the call, what the model is, as what X comes.
CIRCUMSTANCES = {
    "within no_grad": (torch.no_grad, as_it_is),
    "within inference_mode": (torch.inference_mode, as_it_is),
    "within autocast": (lambda: torch.autocast("cpu", torch.bfloat16), as_it_is),
    "default dtype float64": (default_dtype, as_it_is),
    "deterministic algorithms": (deterministic, as_it_is),
    "anomaly mode": (lambda: torch.autograd.set_detect_anomaly(True), as_it_is),
    "hooks on all modules": (own_hooks, as_it_is),
    "hooks of every kind": (nullcontext, with_hooks),
    "DataParallel": (nullcontext, nn.DataParallel),
    "compiled, eager": (nullcontext, lambda m: torch.compile(m, backend="eager")),
    "compiled, aot_eager": (
        nullcontext,
        lambda m: torch.compile(m, backend="aot_eager"),
    ),
    "compiled in place": (nullcontext, lambda m: m.compile(backend="eager") or m),
}
# One of each kind: the others share their way in and out.
SOME = (
    *("parameter gradients", "input gradients", "activations", "ODIN", "GradNorm"),
    *("Mahalanobis", "density and uncertainty", "pgd", "cosine attack", "evaluate"),
    *("make_anomalies", "loss_alignment"),
)


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
# As in the user's own backward pass, torch says so where X needs no gradient.
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
def test_circumstances(circumstance, quiet, counted):
    counted(KIND, circumstance, f"right answers of {len(SOME)} doors")
    around, wrap = CIRCUMSTANCES[circumstance]
    model = wrap(plain())
    before = state_of(model)
    for name in SOME:
        with around():
            given = DOORS[name](model, X)
        assert_allclose(given, quiet(name), rtol=1e-9, atol=1e-12, err_msg=name)
    assert_same_state(before, state_of(model))


def test_tensors_that_require_grad(name, quiet, counted):
    counted(KIND, f"X that requires grad: {name}", "right answer")
    model, x = plain(), torch.from_numpy(X).clone().requires_grad_()
    before = state_of(model)
    assert_allclose(DOORS[name](model, x), quiet(name), rtol=1e-9, atol=1e-12)
    assert_same_state(before, state_of(model))
    assert x.grad is None


def test_models_that_write_into_themselves(name, counted):
    counted(KIND, f"a model that writes into itself: {name}", "as it was")
    model = Writing().train()
    before = state_of(model)
    DOORS[name](model, X)
    assert_same_state(before, state_of(model))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype, quiet, counted):
    counted(KIND, f"a model in {dtype}", f"near the answers of {len(SOME)} doors")
    model = plain().to(dtype)
    before = state_of(model)
    for name in SOME:
        given, expected = DOORS[name](model, X), quiet(name)
        assert np.isfinite(given).all(), name
        if given.shape == expected.shape:
            apart = np.abs(given - expected).max() / np.abs(expected).max()
            assert apart < (0.05 if dtype == torch.float16 else 0.3), name
    assert_same_state(before, state_of(model))


@pytest.mark.parametrize("n_threads", [2, 4])
def test_threads_on_one_model(n_threads, quiet, counted):
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


def test_hooks_of_the_user_run_and_stay(counted):
    counted(KIND, "a user's hooks", "kept, and run in every pass")
    model, ran = plain(), []
    model.conv.register_forward_hook(lambda *_: ran.append("module"))
    model.head.weight.register_hook(lambda _: ran.append("parameter"))
    ConfoundingGradientTransformer(model).fit(X).transform(X)
    assert set(ran) == {"module", "parameter"}
    ran.clear()
    model(torch.from_numpy(X)).sum().backward()
    assert ran == ["module", "parameter"]


def test_weights_that_two_models_share(counted):
    counted(KIND, "weights shared with another model", "both as they were")
    model = plain()
    other = nn.Sequential(model.conv, nn.ReLU(), Pool(), model.head)
    before = state_of(model), state_of(other)
    for one in (model, other):
        ConfoundingGradientTransformer(one).fit(X).transform(X)
        assert_same_state(before[0], state_of(model))
        assert_same_state(before[1], state_of(other))


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


class Struck(nn.ReLU):
    """A layer that an interrupt strikes when it is put back into training mode."""

    strikes = 0

    def __setattr__(self, name, value):
        if name == "training" and value and self.strikes:
            Struck.strikes -= 1
            raise KeyboardInterrupt
        super().__setattr__(name, value)


def test_interrupt_of_the_restoring_itself(counted):
    counted(KIND, "KeyboardInterrupt while the model is put back", "put back, told")
    model = nn.Sequential(nn.Linear(2, 2), Struck(), nn.Dropout())
    before = state_of(model)
    Struck.strikes = 1
    with pytest.raises(KeyboardInterrupt), frozen(model):
        pass
    assert_same_state(before, state_of(model))


def test_interrupt_of_training(counted):
    counted(KIND, "KeyboardInterrupt while a network is trained", "came through")
    trigger = Trigger()
    trigger.arm("first", 2, ERRORS["KeyboardInterrupt"])
    network = nn.Sequential(Fuse("first", trigger), nn.Flatten(), nn.Linear(72, 3))
    with pytest.raises(KeyboardInterrupt, match="cosmic ray"):
        train_network(network, X, np.arange(24) % 3, max_epochs=3)


def in_child(model, before, expected):
    """Check in a forked process that the model is put back, and can be used."""
    found = state_of(model)
    # The thread that held the model is not here.
    assert found["modules"] == before["modules"]
    assert_same_state(before, found)
    assert_allclose(DOORS["parameter gradients"](model, X), expected, rtol=1e-9)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_fork_while_a_thread_holds_the_model(quiet, counted):
    counted(KIND, "a fork while another thread scores", "put back, right answer")
    expected, model = quiet("parameter gradients"), plain()
    before = state_of(model)
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with frozen(model, parameter_gradients=True):
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(60)
    child = multiprocessing.get_context("fork").Process(
        target=in_child, args=(model, before, expected)
    )
    child.start()
    child.join(60)
    leave.set()
    thread.join()
    assert child.exitcode == 0
    assert_same_state(before, state_of(model))
