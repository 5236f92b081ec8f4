"""Around a model may be anything: the answers are those given in quiet.

And a complete comparison of the model and of the process's settings follows.
"""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from doors import DOORS
from fire import KIND, SOME, Pool, X, plain, quiet
from model_state import assert_same_state, state_of
from numpy.testing import assert_allclose
from torch import nn

from skgrad import ConfoundingGradientTransformer

each_door = pytest.mark.parametrize("name", DOORS)


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
    # Nothing is compiled, so that it needs no compiler.
    "compiled, inductor": (nullcontext, torch.compile),
    "compiled in place": (nullcontext, lambda m: m.compile(backend="eager") or m),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
# As in the user's own backward pass, torch says so where X needs no gradient.
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("circumstance", CIRCUMSTANCES)
def test_circumstances(circumstance, counted):
    counted(KIND, circumstance, f"right answers of {len(SOME)} doors")
    around, wrap = CIRCUMSTANCES[circumstance]
    model = wrap(plain())
    before = state_of(model)
    for name in SOME:
        with around():
            given = DOORS[name](model, X)
        assert_allclose(given, quiet(name), rtol=1e-9, atol=1e-12, err_msg=name)
    assert_same_state(before, state_of(model))


@each_door
def test_tensors_that_require_grad(name, counted):
    counted(KIND, f"X that requires grad: {name}", "right answer")
    model, x = plain(), torch.from_numpy(X).clone().requires_grad_()
    before = state_of(model)
    assert_allclose(DOORS[name](model, x), quiet(name), rtol=1e-9, atol=1e-12)
    assert_same_state(before, state_of(model))
    assert x.grad is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype, counted):
    counted(KIND, f"a model in {dtype}", f"near the answers of {len(SOME)} doors")
    model = plain().to(dtype)
    before = state_of(model)
    for name in SOME:
        given, expected = DOORS[name](model, X), quiet(name)
        assert np.isfinite(given).all(), name
        if given.shape == expected.shape:
            apart = np.abs(given - expected).max() / np.abs(expected).max()
            # Twenty passes with dropout vary most with the rounding.
            assert apart < (0.15 if dtype == torch.float16 else 0.3), name
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
