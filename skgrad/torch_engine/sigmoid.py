"""A check for networks that end in a sigmoid."""

from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .._messages import warn
from .._several import Batch
from .activations import same_values
from .model_state import as_returned, forward

_NAMES = {"sigmoid", "sigmoid_", "special_expit"}


def warn_of_sigmoid(module: nn.Module, batch: Batch, logits: Tensor) -> None:
    """Warn if what a model, held by `frozen`, returned as logits comes from a sigmoid.

    The range alone does not tell: small logits may lie in [0, 1] as well.
    """
    returned = as_returned(logits)
    if not ((returned >= 0) & (returned <= 1)).all():
        return
    with _Sigmoids() as calls:
        again = as_returned(forward(module, batch))
    # The shape may have been changed in between.
    flat = [output.flatten() for output in calls.outputs]
    if any(same_values(output, again.flatten()) for output in flat):
        warn(
            "model returns outputs of a sigmoid. skgrad needs logits: remove the "
            "sigmoid from its forward."
            + (_SEVERAL_LABELS if returned.shape[1] > 1 else ""),
            UserWarning,
        )


_SEVERAL_LABELS = (
    " If it gives an input several labels, gradient norms and layer outputs are "
    "meaningful then; softmax and energy scores, cosines and whatever goes by the "
    "predicted class are not, as they need classes that exclude one another."
)


class _Sigmoids(TorchFunctionMode):
    """Keep what torch's sigmoid functions return."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in _NAMES:
            self.outputs.append(output)
        return output
