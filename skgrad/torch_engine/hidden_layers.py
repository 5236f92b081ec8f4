"""Layers that no hook can watch: those of torch.jit and torch.export."""

import torch
import torch.fx
from torch import nn

from .._messages import listed, warn

HIDDEN = (
    " torch.jit or torch.export made the model and hides its layers: give the module "
    "that it was made of, or layers='logits'."
)


def takes_no_hooks(module: nn.Module) -> bool:
    """Return True for a module of torch.jit, whose hooks are not called."""
    return isinstance(module, torch.jit.ScriptModule)


def is_hidden(module: nn.Module, name: str) -> bool:
    """Return True if hooks on the layer of a name are not called."""
    part = module
    for step in filter(None, name.split(".")):
        if _maker(part) is not None:
            return True
        part = getattr(part, step)
    return takes_no_hooks(part)


def hidden_parts(module: nn.Module) -> dict[str, str]:
    """Return the outermost modules that hide weights, with what made them.

    The name of the model itself is empty.
    """
    found: dict[str, str] = {}
    for name, part in module.named_modules():
        inside = any(not outer or name.startswith(f"{outer}.") for outer in found)
        maker = None if inside else _maker(part)
        if maker is not None and _has_weights(part):
            found[name] = maker
    return found


def why_hidden(module: nn.Module) -> str:
    """Return what a message says of hidden layers; empty if there are none."""
    parts = hidden_parts(module)
    makers = " and ".join(sorted(set(parts.values())))
    if "" in parts:
        return f"was made by {makers}, which hides its layers"
    if parts:
        names = listed(list(parts), 3)
        return f"has parts made by {makers}, which hides their layers: {names}"
    return ""


def warn_of_hidden(module: nn.Module) -> None:
    """Warn if some of the layers of a model cannot be watched."""
    why = why_hidden(module)
    if why:
        warn(
            f"model {why}. Layers are taken from the rest of it alone. For all of them "
            "give the modules that these were made of.",
            UserWarning,
        )


def _maker(part: nn.Module) -> str | None:
    """Return what made a module that hides the layers inside of it."""
    if takes_no_hooks(part):
        return "torch.jit"
    if not isinstance(part, torch.fx.GraphModule):
        return None
    # The graphs of torch.fx call the layers. Those of torch.export call functions on
    # their weights; the layers are left as places where these lie.
    called = [node.target for node in part.graph.nodes if node.op == "call_module"]
    calls = any(_has_weights(part.get_submodule(str(name))) for name in called)
    kept = any(map(_has_weights, part.children()))
    return "torch.export" if kept and not calls else None


def _has_weights(part: nn.Module) -> bool:
    # What torch.jit.freeze made keeps its weights as constants, and has no mode.
    frozen = takes_no_hooks(part) and not hasattr(part, "training")
    return frozen or any(p.ndim >= 2 for p in part.parameters())
