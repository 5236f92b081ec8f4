"""Access to a user's model, which is left exactly as it was found."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from .._compat import is_dynamo_loaded
from .._finite import all_finite
from .._messages import brief, call_it, cut
from .._several import Batch, Several, call, sample_shape
from .holding import held_network
from .network import Network, first_device
from .restoring import SharedSetting, generators_restored, lock_of


def unwrap_model(model: Any) -> nn.Module:
    """Return the torch module of ``model``, a module or a fitted skorch net.

    A skorch net is recognised by its ``module_``, so that skorch is not imported.
    """
    if isinstance(model, nn.Module):
        return model
    if isinstance(getattr(model, "module_", None), nn.Module):
        return model.module_
    if hasattr(model, "module") and hasattr(model, "initialize"):
        raise ValueError(
            "model must be trained: this skorch net has no module_ yet. "
            "Call its fit (or initialize and load_params) first."
        )
    raise TypeError(
        "model must be a torch.nn.Module that returns logits, or a fitted skorch "
        f"net; got {type(model).__name__}: {brief(model)}."
        f"{_network_inside(model)}"
    )


def _network_inside(model: Any) -> str:
    """Return a sentence on the network inside of a model, after a space."""
    if hasattr(model, "best_estimator_"):
        return " Give what the search found, model.best_estimator_."
    if isinstance(model, torch.export.ExportedProgram):
        return " Give its module, model.module()."
    if isinstance(getattr(model, "model", None), nn.Module) and hasattr(
        model, "tokenizer"
    ):  # a pipeline of Hugging Face
        return " Give the network in it, model.model, and what model.tokenizer returns."
    return _OF_PIPELINE if ends_in_net(model) else call_it(model)


# X of a transformer is what the network gets, so what came before it stays outside. The
# recipes put it there.
_OF_PIPELINE = (
    " Give its last step, and put the others before the detector, frozen: "
    "make_pipeline(FrozenEstimator(model[:-1]), make_recommended_detector(model[-1]))."
)


def ends_in_net(model: Any) -> bool:
    """Return True for a pipeline whose last step is a fitted skorch net."""
    steps = getattr(model, "steps", None)
    return isinstance(steps, list) and hasattr(steps[-1][-1], "module_")


def model_device(module: nn.Module) -> torch.device:
    """Return the device of the first parameter or buffer, the CPU if there is none."""
    return first_device(chain(module.parameters(), module.buffers()))


def model_dtype(module: nn.Module) -> torch.dtype:
    """Return the floating dtype that the model computes in, float32 if it has none."""
    # The first one decides: the inputs go to the first layers.
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def placement(module: nn.Module) -> dict[str, Any]:
    """Return where and as what the model takes its inputs: ``device`` and ``dtype``."""
    return {"device": model_device(module), "dtype": model_dtype(module)}


def on_device(module: nn.Module, device: str | torch.device | None) -> nn.Module:
    """Return ``module`` itself if it is on ``device``, else a private copy there.

    None means the model's own device. The user's model is never moved.
    """
    if device is None:
        return module
    wanted = check_device(device)
    if model_device(module) == wanted:
        return module
    with lock_of(module):
        return copied(module).to(wanted)


def copied(model: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return a copy whose parameters autograd can take, whatever the caller's mode."""
    # Tensors made under inference_mode could not enter autograd, and torch.jit copies
    # its parameters by an operation that autograd would record.
    with torch.inference_mode(False), torch.no_grad():
        return copy.deepcopy(model, memo)


def check_device(device: str | torch.device) -> torch.device:
    """Return ``device`` as torch resolves it, such as ``cuda:0`` for ``cuda``."""
    try:
        reached = torch.empty(0, device=device).device
        if reached.type == "meta":
            raise RuntimeError("the meta device holds no values.")
        return reached
    # torch raises AssertionError where it was built without the backend.
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            "device must be None (the model's own) or a device that torch can use "
            f"here, such as 'cpu' or 'cuda:0'; got {device!r}. Torch says: "
            # torch writes pages about a backend that is not there.
            f"{cut(str(error), 250)}"
        ) from error


def as_logits(output: Any, n_samples: int) -> Tensor:
    """Return the logits (n_samples, n_classes) in the output of a forward pass.

    The output is that tensor, a tuple or list with it in the first place, or an object
    with ``logits``. A single logit per sample, (n_samples,) or (n_samples, 1), becomes
    two by `two_logits`. Raises ValueError if there is no such tensor, or a logit is NaN
    or infinite.
    """
    logits = find_logits(output, n_samples)
    # NaN would pass through softmax and cosines into every feature.
    if not all_finite(logits):
        raise ValueError(
            "model returned NaN or infinite logits. Check that X is scaled as in "
            "training and that the model's weights are finite."
        )
    return logits


def find_logits(output: Any, n_samples: int) -> Tensor:
    """Return what `as_logits` does, without a look at the values.

    A tracer, for which ``n_samples`` is a symbol, has none to look at.
    """
    # The name comes first: a named tuple may have its logits in any place.
    logits = getattr(output, "logits", output)
    if isinstance(logits, (tuple, list)) and logits:
        logits = getattr(logits[0], "logits", logits[0])
    if not isinstance(logits, Tensor):
        came = f"a {type(output).__name__}"
    elif (
        logits.ndim in (1, 2)
        and logits.shape[0] == n_samples
        and logits.shape[1:] != (0,)
        and logits.is_floating_point()
    ):
        return two_logits(logits) if logits.shape[1:] in ((), (1,)) else logits
    else:
        came = f"a {logits.dtype} tensor of shape {tuple(logits.shape)}"
    raise ValueError(
        "model must return logits: a floating-point tensor of shape "
        "(n_samples, n_classes), or (n_samples,) or (n_samples, 1) for two classes, a "
        "tuple whose first entry is that, or an object with .logits; for "
        f"{n_samples} inputs it returned {came}. Wrap the model in a torch.nn.Module "
        "whose forward returns its logits."
    )


def two_logits(logit: Tensor) -> Tensor:
    """Return the logits (n_samples, 2) of a network that has one, z, for class 1.

    They are -z/2 and z/2, whose softmax is sigmoid(z) as that of 0 and z is. But
    neither class is at a constant, so that the energy of a certain input is low for
    both alike, and both logits have a gradient.
    """
    half = logit.reshape(-1) / 2
    return torch.stack([-half, half], dim=1)


def as_returned(logits: Tensor) -> Tensor:
    """Return what the model returned: of the logits of `two_logits`, the one."""
    one = logits[:, 1:] * 2
    made = logits.shape[1] == 2 and torch.equal(two_logits(one), logits)
    return one if made else logits


def forward(module: nn.Module, x: Batch) -> Tensor:
    """Return the logits of a first batch; an error of the model becomes one of X.

    The model, which `frozen` holds, gets a copy of ``x`` (n_samples, *input_shape).
    """
    try:
        output = call(module, x.clone())
    except torch.OutOfMemoryError:  # says nothing about X
        raise
    except Exception as error:
        raise ValueError(
            f"model cannot take X: it failed on {len(x)} sample(s) of shape "
            f"{sample_shape(x)}. {_way_out(x, error)} "
            f"{_EXPORTED if isinstance(module, torch.fx.GraphModule) else ''}"
            f"The model says: {type(error).__name__}: {cut(str(error), 300)}"
        ) from error
    return as_logits(output, len(x))


_EXPORTED = "Export it for any number of samples (dynamic_shapes). "


def _way_out(x: Batch, error: Exception) -> str:
    if not isinstance(x, Several) and "required positional" in str(error):
        return (
            "It takes several inputs: give a dictionary of them, by the names of the "
            "arguments of its forward."
        )
    if not isinstance(x, Several):
        return (
            "Give X the shape of the training data (channels first; input_shape for "
            "2-D rows) and numbers of the kind that it looks up or computes with."
        )
    if 0 in x.entries:
        return (
            "These entries are given to its forward in order. Of pairs (x, y) with "
            "labels y of several numbers, give x alone."
        )
    return "Name the entries as the arguments of its forward."


def check_recorded(logits: Tensor, source: str) -> None:
    """Raise if autograd did not record how the logits depend on ``source``."""
    if not logits.requires_grad:
        raise ValueError(
            f"model must let autograd reach its {source}, but its logits carry no "
            "gradient. Remove torch.no_grad(), .detach(), .data, argmax or other whole "
            "numbers from its forward; of quantised layers, give the ones that they "
            "were made of."
        )


@contextmanager
def differentiating() -> Iterator[None]:
    """Make an error of autograd in a first backward pass one of the model."""
    try:
        yield
    except torch.OutOfMemoryError:  # says nothing about the model
        raise
    except RuntimeError as error:
        raise ValueError(
            "model must let autograd differentiate its logits. Look for tensors that "
            "are overwritten in place, functions without a derivative and "
            "torch.utils.checkpoint with use_reentrant=True. Torch says: "
            f"{type(error).__name__}: {cut(str(error), 300)}"
        ) from error


def check_finite_gradients(gradients: Tensor) -> Tensor:
    """Return gradients or their norms; raise if some are NaN or infinite."""
    if not all_finite(gradients):
        raise ValueError(
            "model has NaN or infinite gradients at X, such as those of a square root "
            "at 0. Add a small number inside it, or move X away from that point."
        )
    return gradients


def at_least_float32(tensor: Tensor) -> Tensor:
    """Widen half precision: numpy has no bfloat16, and float16 overflows at 65,504."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor


@contextmanager
def frozen(
    module: nn.Module, *, parameter_gradients: bool = False
) -> Iterator[Network]:
    """Hold a model still: evaluation mode inside, everything restored after.

    Yields what one walk over its modules found.

    Whatever leaves the block, also an exception, finds ``training``, ``requires_grad``,
    buffers and torch's random state as they were. ``.grad`` is never written, because
    the engine calls ``torch.autograd.grad`` only. A user's hooks stay, and run in every
    pass as they do in the user's own. Other threads on the same model wait. A model
    that `holding.held` holds is neither walked through nor checked again.

    With ``parameter_gradients`` autograd is enabled inside, also for parameters that
    the user froze; without, it is off. The caller's grad and inference mode do not
    matter, and autocast is off, so that results do not depend on the caller.
    """
    network = _checked_network(module)
    device = network.device
    with (
        # What belongs to the whole process comes before the lock of the model, so that
        # a thread that holds a model does not wait for one that seeds.
        generators_restored(device),
        _differentiable_recurrence(network),
        ordinary_attention(network.parts),
        nothing_compiled(),
        network.lock,
        torch.inference_mode(False),
        torch.set_grad_enabled(parameter_gradients),
        torch.autocast(device.type, enabled=False),
        network.still(requires_grad=parameter_gradients),
    ):
        yield network


def _checked_network(module: nn.Module) -> Network:
    known = held_network(module)
    if known is not None:
        return known
    network = Network(module)
    network.check_initialised()
    return network


@contextmanager
def _fast_attention_off() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


_WITHOUT_CUDNN = SharedSetting(lambda: torch.backends.cudnn.flags(enabled=False))
_WITHOUT_FAST_ATTENTION = SharedSetting(_fast_attention_off)
_EAGER = SharedSetting(lambda: torch.compiler.set_stance("force_eager"))


def _differentiable_recurrence(network: Network) -> AbstractContextManager:
    """Let recurrent layers be differentiated in evaluation mode on a GPU too.

    cuDNN's recurrent kernels cannot do that; torch's own can.
    """
    if any(isinstance(part, nn.RNNBase) for part in network.parts):
        return _WITHOUT_CUDNN
    return nullcontext()


def ordinary_attention(parts: Iterable[nn.Module]) -> AbstractContextManager:
    """Let torch's attention compute in evaluation mode what it does in training.

    Without gradients it takes a fast path, in which an encoder with a padding mask
    hands on nested tensors: they cannot be pooled, and lose what stands at the padding.
    ``parts`` are the modules of the network.
    """
    if any(isinstance(part, nn.MultiheadAttention) for part in parts):
        return _WITHOUT_FAST_ATTENTION
    return nullcontext()


@contextmanager
def sound_normalisations(module: nn.Module) -> Iterator[None]:
    """Let normalisations of a single image have the right gradient.

    The strides of one image may be those of channels first and of channels last alike.
    Where a layer and its gradient differ in that, torch takes the one for the other and
    returns the gradients of other pixels, as in a network that makes tokens of an image
    behind a batch normalisation.
    """
    with ExitStack() as hooks:
        for part in module.modules():
            if isinstance(part, _NORMALISATIONS):
                hooks.enter_context(part.register_forward_pre_hook(_contiguous_input))
                hooks.enter_context(part.register_forward_hook(_contiguous_gradient))
        yield


_NORMALISATIONS = (
    *(nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm2d, nn.InstanceNorm3d),
)


def _contiguous_input(layer: nn.Module, inputs: Any) -> Any:
    x, *rest = inputs or (None,)
    if isinstance(x, Tensor) and len(x) == 1 and not x.is_contiguous():
        return x.contiguous(), *rest
    return None


def _contiguous_gradient(layer: nn.Module, inputs: Any, output: Any) -> None:
    if isinstance(output, Tensor) and len(output) == 1 and output.requires_grad:
        # A second derivative may have no gradient here.
        output.register_hook(lambda g: None if g is None else g.contiguous())


def nothing_compiled() -> AbstractContextManager:
    """Let what was made by `torch.compile` run as it is written.

    A compiled model calls no hooks of its layers, retains no graph, and would be
    compiled again for every state that it is held in.
    """
    return _EAGER if is_dynamo_loaded() else nullcontext()
