"""Whatever happens in a network and around it, it is left as it was.

Each test compares the whole state of the network and of the process before and after.
"""

import threading
from contextlib import contextmanager, nullcontext
from functools import cache

import numpy as np
import pytest
import torch
from entry_points import ENTRY_POINTS, IMAGES, LIBRARY_ENTRY_POINTS, network
from model_state import assert_same_state, state_of
from numpy.testing import assert_allclose
from torch import nn

from skgrad import ConfoundingGradientTransformer

X = IMAGES.astype(np.float64)
# One of each kind: the others share how they treat the network.
SOME = (
    *("ConfoundingGradientTransformer", "CosineSimilarityMatrixTransformer"),
    *("LayerActivationTransformer", "ODIN", "GradNorm", "Mahalanobis"),
    *("KernelDensityUncertainty", "pgd", "cosine_similarity_attack"),
    *("evaluate, X_test", "make_anomalies"),
)


class Failure:
    """Which layer fails, at which of its calls, and with which error."""

    def __init__(self):
        self.prepare(None)

    def prepare(self, layer, call=None, error=None, *, backward=False):
        self.layer, self.call, self.error = layer, call, error
        self.backward, self.n_calls = backward, 0

    def count(self, _=None):
        self.n_calls += 1
        if self.n_calls == self.call:
            raise self.error

    def watch(self, name):
        """Return a forward hook for a layer; copies of the layer count together."""

        def hook(module, inputs, output):
            if self.layer == name and not self.backward:
                self.count()
            elif self.layer == name and output.requires_grad:
                output.register_hook(self.count)

        return hook


def in_use(model):
    """Bring a network into a state in the middle of its user's work."""
    model.double().train()
    model(torch.from_numpy(X)).sum().backward()
    model.norm.eval()
    model.head.bias.requires_grad_(False)
    model.conv.register_forward_hook(lambda *_: None)
    model.conv.register_forward_pre_hook(lambda *_: None)
    model.conv.weight.register_hook(lambda gradient: None)
    return model


def plain():
    return in_use(network())


def failing(failure):
    """Make a network in use with three layers that can fail."""
    model = plain()
    for name in ("conv", "norm", "head"):
        getattr(model, name).register_forward_hook(failure.watch(name))
    return model


@cache
def usual(name):
    """Return what an entry point gives without anything special."""
    with torch.random.fork_rng(devices=[]):  # of the dropout in use
        return ENTRY_POINTS[name](plain(), X)


def close(result, expected, message=""):
    assert_allclose(result, expected, rtol=1e-9, atol=1e-12, err_msg=message)


# Errors inside of the network


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_errors_inside_of_the_network(name, backward):
    failure = Failure()
    model = failing(failure)
    before = state_of(model)
    for layer in ["norm"] if backward else ["conv", "norm", "head"]:
        failure.prepare(layer, backward=backward)
        expected = ENTRY_POINTS[name](model, X)
        assert_same_state(before, state_of(model))
        for call, error in errors_at(layer, failure.n_calls):
            failure.prepare(layer, call, error, backward=backward)
            result = run(name, model, error)
            # An error while the engine records calls may be forgiven: autograd alone
            # gives the same. An interrupt never is.
            if result is not None:
                assert isinstance(error, Exception)
                close(result, expected)
            assert_same_state(before, state_of(model))


def errors_at(layer, n_calls):
    """Yield at which calls of a layer which errors are raised."""
    if n_calls:
        middle = n_calls // 2 + 1
        call = {"conv": 1, "norm": middle, "head": n_calls}[layer]
        yield call, RuntimeError("cosmic ray")
        if layer == "norm":
            yield n_calls, KeyboardInterrupt("cosmic ray")


def run(name, model, error):
    """Return the result of an entry point, None if the error came through."""
    kinds = (RuntimeError, ValueError) if isinstance(error, Exception) else type(error)
    try:
        return ENTRY_POINTS[name](model, X)
    except kinds as error_of_call:
        raised = error_of_call
    # skorch ends training at an interrupt; a new one is raised in its place.
    assert "cosmic ray" in str(raised) or not isinstance(error, Exception)
    return None


# What is around the call


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def global_hooks():
    """Set hooks on all modules, as profilers do."""
    register = nn.modules.module.register_module_forward_hook
    before = nn.modules.module.register_module_forward_pre_hook
    with register(lambda *_: None), before(lambda *_: None):
        yield


def as_it_is(model):
    return model


# The context of the call, and what becomes of the model before.
CIRCUMSTANCES = {
    "within no_grad": (torch.no_grad, as_it_is),
    "within inference_mode": (torch.inference_mode, as_it_is),
    "within autocast": (lambda: torch.autocast("cpu", torch.bfloat16), as_it_is),
    "default dtype float64": (default_dtype, as_it_is),
    "hooks on all modules": (global_hooks, as_it_is),
    "DataParallel": (nullcontext, nn.DataParallel),
    "compiled, eager": (nullcontext, lambda m: torch.compile(m, backend="eager")),
    # Nothing is compiled, so this needs no compiler.
    "compiled, inductor": (nullcontext, torch.compile),
    "compiled in place": (nullcontext, lambda m: m.compile(backend="eager") or m),
}


@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
def test_circumstances(circumstance):
    around, change = CIRCUMSTANCES[circumstance]
    model = change(plain())
    before = state_of(model)
    for name in SOME:
        with around():
            result = ENTRY_POINTS[name](model, X)
        close(result, usual(name), name)
    assert_same_state(before, state_of(model))


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_tensors_that_require_grad(name):
    model, x = plain(), torch.from_numpy(X).clone().requires_grad_()
    before = state_of(model)
    close(ENTRY_POINTS[name](model, x), usual(name))
    assert_same_state(before, state_of(model))
    assert x.grad is None


@pytest.mark.parametrize("name", LIBRARY_ENTRY_POINTS)
def test_attacks_of_other_libraries(name):
    model = in_use(network()).float()
    before = state_of(model)
    LIBRARY_ENTRY_POINTS[name](model, IMAGES)
    assert_same_state(before, state_of(model))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype):
    model = plain().to(dtype)
    before = state_of(model)
    # The variance over a few passes with dropout is mostly rounding.
    for name in sorted({*SOME} - {"KernelDensityUncertainty"}):
        result, expected = ENTRY_POINTS[name](model, X), usual(name)
        assert np.isfinite(result).all(), name
        if result.shape == expected.shape:
            error = np.abs(result - expected).max() / np.abs(expected).max()
            assert error < (0.15 if dtype == torch.float16 else 0.3), name
    assert_same_state(before, state_of(model))


def test_hooks_of_the_user_run_and_stay():
    model, ran = plain(), []
    model.conv.register_forward_hook(lambda *_: ran.append("module"))
    model.head.weight.register_hook(lambda _: ran.append("parameter"))
    ConfoundingGradientTransformer(model).fit(X).transform(X)
    assert set(ran) == {"module", "parameter"}
    ran.clear()
    model(torch.from_numpy(X)).sum().backward()
    assert ran == ["module", "parameter"]


def test_threads_on_one_model():
    model = plain()
    before = state_of(model)
    results = {}
    names = [*SOME, *SOME[:4]]

    def work(first):
        for place in range(first, len(names), 4):
            results[place] = ENTRY_POINTS[names[place]](model, X)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, name in enumerate(names):
        close(results[place], usual(name), name)
    assert_same_state(before, state_of(model))
