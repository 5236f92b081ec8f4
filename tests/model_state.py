"""Everything that a call must leave as it was, of a model and of the process."""

import random

import numpy as np
import torch
from torch.nn.modules import module as global_hooks

_HOOKS = (
    *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"),
    *("_state_dict_hooks", "_load_state_dict_pre_hooks"),
)


def state_of(model):
    """Return what a call must not change."""
    return {
        "modules": [(id(part), part.training) for part in model.modules()],
        "tensors": {name: _tensor(t) for name, t in _tensors(model)},
        "hooks": [
            {name: list(getattr(part, name).items()) for name in _HOOKS}
            for part in model.modules()
        ],
        "process": _process(),
    }


def assert_same_state(before, after):
    """Compare two states, part by part."""
    for part in ("modules", "hooks"):
        assert before[part] == after[part], part
    assert before["tensors"].keys() == after["tensors"].keys()
    for name, (old_facts, old_values) in before["tensors"].items():
        facts, values = after["tensors"][name]
        assert old_facts == facts, name
        for old, new in zip(old_values, values, strict=True):
            assert torch.equal(old, new), name
    for name, old in before["process"].items():
        assert old == after["process"][name], name


def _tensors(model):
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _tensor(tensor):
    hooks = list((tensor._backward_hooks or {}).items())
    values = [tensor.detach().clone()]
    if tensor.grad is not None:
        values.append(tensor.grad.clone())
    return (id(tensor), tensor.requires_grad, id(tensor.grad), hooks), values


def _process():
    numpy_state = np.random.get_state()  # noqa: NPY002
    return {
        "torch's generator": torch.get_rng_state().tolist(),
        "numpy's generator": (numpy_state[1].tolist(), *numpy_state[2:]),
        "Python's generator": random.getstate(),
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "autocast": torch.is_autocast_enabled("cpu"),
        "default dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "threads": torch.get_num_threads(),
        "function modes": torch._C._len_torch_function_stack(),
        "hooks on all modules": [
            list(getattr(global_hooks, name).items())
            for name in ("_global_forward_hooks", "_global_forward_pre_hooks")
        ],
    }
