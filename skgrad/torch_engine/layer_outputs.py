"""What the outputs of layers mean: their axes and columns, from a probe."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from .._messages import did_you_mean
from .activations import (
    LOGITS,
    PENULTIMATE,
    check_finite_output,
    check_layers,
    check_rows,
)
from .hidden_layers import HIDDEN, hidden_parts, is_hidden
from .layer_axes import as_source, changed_axis, with_one_channel_changed
from .layers import candidate_layers, find_head
from .pooling import LayerOutput, mask_key, pooled, token_mask
from .probe import Call, Probe

AUTO = "auto"


class WatchedLayer(NamedTuple):
    """A layer whose output becomes columns, and what is taken for its channels.

    ``shape`` is that of the output for one sample, without the axis of the samples.
    ``channel_axis`` counts that axis too: 1 is that of a convolution's channels.
    """

    name: str
    shape: tuple[int, ...]
    channel_axis: int
    n_columns: int

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.n_columns} columns, of outputs {self.shape} with "
            f"channel axis {self.channel_axis}"
        )


def find_outputs(
    probe: Probe,
    layers: Sequence[str],
    pooling: str,
    channel_axis: str | int | Mapping[str, int] = AUTO,
) -> tuple[LayerOutput, ...]:
    """Return the outputs to keep of layers that are given by name.

    Where no layer returns the logits, `PENULTIMATE` is replaced by the last layer with
    parameters. The probe notes the layers, and every layer if `PENULTIMATE` is among
    them. Raises ValueError if a name does not exist or comes twice, or there is none;
    and if a layer was not called once, or returned anything but floating-point values
    with one row per sample.
    """
    check_layers(probe.module, layers)
    for name, _ in probe.module.named_modules(remove_duplicate=False):
        if name in layers and is_hidden(probe.module, name):
            raise ValueError(f"layers: {name!r} cannot be watched.{HIDDEN}")
    head = None
    if PENULTIMATE in layers:
        head = find_head(probe)
        if head is None:
            last = _last_candidate(probe)
            names = [last if name == PENULTIMATE else name for name in layers]
            layers = list(dict.fromkeys(names))
    outputs = [
        LayerOutput(name, pooling, head if name == PENULTIMATE else None)
        for name in layers
    ]
    given = _given_axes(probe, channel_axis, layers)
    return tuple(_with_axes(probe, o, given.get(o.layer)) for o in outputs)


def _last_candidate(probe: Probe) -> str:
    candidates = candidate_layers(probe)
    if candidates:
        return candidates[-1]
    raise ValueError(
        "layers: 'penultimate' needs a layer that returns the logits, or one with "
        "parameters before them; the model has neither."
        + (HIDDEN if hidden_parts(probe.module) else " Name layers, as 'logits'.")
    )


def _given_axes(
    probe: Probe, channel_axis: str | int | Mapping[str, int], layers: Sequence[str]
) -> Mapping[str, int]:
    """Return the axes that are not to be found, by layer."""
    if isinstance(channel_axis, str):
        return {}
    if not isinstance(channel_axis, Mapping):
        return dict.fromkeys(layers, channel_axis)
    # Layers that are not watched may be named too: which are may be chosen in fit.
    valid = [PENULTIMATE, *dict(probe.module.named_modules(remove_duplicate=False))]
    for name in channel_axis:
        if name not in valid:
            raise ValueError(
                f"channel_axis must name layers of the model; got {name!r}."
                f"{did_you_mean(name, valid)}"
            )
    return channel_axis


def _with_axes(probe: Probe, output: LayerOutput, given: int | None) -> LayerOutput:
    """Fill in the axes of the samples and of the channels."""
    if output.layer == LOGITS:
        return output
    shape, samples, channels = _shape_and_axes(probe, output, find=given is None)
    if given is not None and len(shape) > 2:
        axes = [axis for axis in range(len(shape)) if axis != samples]
        channels = given + len(shape) if given < 0 else given
        if channels not in axes:
            raise ValueError(
                f"channel_axis must be one of {axes} for {output.layer!r}, "
                f"whose output has the shape {shape} for {shape[samples]} samples, or "
                f"'auto'; got {given}."
            )
    output = output._replace(samples=samples, channels=channels)
    return output._replace(mask=_mask_of(probe, output, shape))


def _mask_of(probe: Probe, output: LayerOutput, shape: tuple[int, ...]) -> Any:
    """Return the key of the mask of tokens, if the output has a position for each."""
    key = mask_key(probe.module, probe.x)
    mask = token_mask(probe.x, key)
    if mask is None or len(shape) != 3:
        return None
    (positions,) = {0, 1, 2} - {output.samples, output.channels}
    if shape[positions] != mask.shape[1]:
        return None
    # As many positions of another kind, such as patches of an image, stay where there
    # is a token less.
    call = probe.shorter_calls.get(_noted(output))
    if call is None:
        return key
    shorter = call.output if output.head is None else _entering(call)
    return key if tuple(shorter.shape) != shape else None


def _shape_and_axes(
    probe: Probe, output: LayerOutput, *, find: bool
) -> tuple[tuple[int, ...], int, int]:
    """Return the shape of an output, and the axes of its samples and channels."""
    n_samples = len(probe.x)
    call = probe.call_of(_noted(output), output.layer)
    if output.head is not None:
        entering = _entering(call)
        check_rows(output.layer, entering, n_samples, 0)
        source = as_source(call.module)
        place = source.place if source is not None else 0
        return tuple(entering.shape), 0, range(1, entering.ndim)[place]
    check_rows(output.layer, call.result, n_samples, call.samples)
    channels = find_channel_axis(probe, call) if find else 1
    return tuple(call.output.shape), call.samples or 0, channels


def _noted(output: LayerOutput) -> str:
    """Return the name of the layer whose call shows an output."""
    # A head may be the model itself, whose name is empty.
    return output.layer if output.head is None else output.head


def _entering(call: Call) -> Any:
    return call.inputs[0].detach() if call.inputs else None


def find_channel_axis(probe: Probe, call: Call) -> int:
    """Return the axis of the channels in the output of a call, from what made it.

    That is the last layer called inside or before. Of torch's own layers it is known
    where they put channels. Other modules may move them: then it is the axis with as
    many entries as that layer makes channels. If there are several such axes, the first
    channel of that layer is changed, which changes a single index along the right one.
    Without such an axis, as where channels are concatenated, it is the axis where that
    layer puts them.

    Cost: a forward pass over three samples if there are several such axes.
    """
    shape, source = call.output.shape, call.source
    axes = [axis for axis in range(len(shape)) if axis != call.samples]
    if source is None:
        return axes[0]
    usual = axes[source.place]
    if len(axes) == 1 or (source.known and source.layer is call.module):
        return usual
    matching = [axis for axis in axes if shape[axis] == source.n_channels]
    if len(matching) > 1:
        changed = with_one_channel_changed(source)
        if changed is not None:
            other = probe.output_with(*changed, call.layer)
            found = changed_axis(call.output, other, matching)
            if found is not None:
                return found
    return usual if usual in matching or not matching else matching[0]


def pooled_output(probe: Probe, output: LayerOutput) -> Tensor:
    """Return the pooled output of a layer of `find_outputs`, for the probe's samples.

    Raises ValueError if it is not finite, or cannot be pooled as wanted.
    """
    if output.layer == LOGITS:
        return probe.logits.detach()
    call = probe.call_of(_noted(output), output.layer)
    mask = token_mask(probe.x, output.mask)
    if output.head is not None:
        columns = pooled(None, _entering(call), output, mask)
    else:
        # The copy: what the layer returned may have been overwritten.
        rest = call.result[1:] if isinstance(call.result, tuple) else ()
        mask = mask if call.mask is None else call.mask
        columns = pooled(call.module, (call.output, *rest), output, mask)
    check_finite_output(output.layer, columns)
    return columns


def watched_layer(probe: Probe, output: LayerOutput) -> WatchedLayer:
    """Describe the output of a layer."""
    n_columns = pooled_output(probe, output).shape[1]
    if output.layer == LOGITS:
        return WatchedLayer(LOGITS, (n_columns,), 1, n_columns)
    shape, samples, _ = _shape_and_axes(probe, output, find=False)
    kept = tuple(size for axis, size in enumerate(shape) if axis != samples)
    return WatchedLayer(output.layer, kept, output.channels, n_columns)
