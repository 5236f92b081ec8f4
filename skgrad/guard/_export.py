"""Write a guard to a file that runs without skgrad."""

from typing import Any

import torch
from torch.export import Dim

from .._files import as_path, replacing
from .._messages import brief, cut
from .._optional import import_package
from .._several import entries_of
from .._unwrap import steps_of
from ..torch_engine.batching import batches
from ..torch_engine.model_state import placement
from ._guard_module import GuardModule

# What files of each format end in.
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
OUTPUTS = ["logits", "score", "p_value", "trust"]
# Tracers take a single sample for the only number of samples.
_N_TRACED = 2


def export(guard, path, format="onnx", *, example=None):
    """Write a guard, with its network, to a file that runs without skgrad.

    The file maps a batch of inputs of any length to the logits, the detector's score,
    the p-value and whether to trust each of them, see
    :class:`skgrad.guard.GuardModule`. ONNX Runtime and others run the one format, from
    many languages; the other is an exported program of torch. Neither runs code of the
    network's classes.

    Parameters
    ----------
    guard : GuardedClassifier or Pipeline
        A fitted guard, or a fitted pipeline that begins with a transformer of skgrad
        and ends in a novelty detector of skgrad, without gradients.
    path : str or path-like
        The file to write, which ends in ``.onnx``, or ``.pt2`` for torch. What is there
        is replaced once the new file is complete.
    format : {"onnx", "torch"}, default="onnx"
        What to write: an ONNX model, or what ``torch.export.load`` reads.
    example : array-like, Tensor, dict or tuple, default=None
        One or more inputs as those of `fit`, with which the network is traced. It must
        be given where the network takes several; of a single one zeros are taken.

    Raises
    ------
    TypeError
        If a part of the guard has no such form, as all that takes gradients.
    ValueError
        If the format is unknown, the path does not end as it should, or
        `torch.export.export` or `torch.onnx.export` cannot take the network.
    ImportError
        If onnx or onnxscript are not installed: ``pip install ".[export]"``.

    See Also
    --------
    skgrad.guard.GuardModule : The same without a file.
    save : Write a detector to load it again, without its network.

    Notes
    -----
    The inputs of the file are called ``input``, or as the arguments of the network
    where it takes several; its outputs ``logits``, ``score``, ``p_value`` and
    ``trust``. Floats come in the type of the network, whole numbers as int64.

    A file of torch computes on the device that the network is on. One of ONNX holds at
    most 2 GB.

    Examples
    --------
    >>> import os, tempfile
    >>> import skgrad, torch
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.randn(200, 4)
    >>> guard = skgrad.GuardedClassifier(model, random_state=0).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "guard.pt2")
    ...     skgrad.export(guard, path, format="torch")
    ...     run = torch.export.load(path).module()
    >>> logits, score, p_value, trust = run(X)
    >>> bool((trust.numpy() == guard.judge(X).trust).all())
    True
    """
    if format not in SUFFIXES:
        raise ValueError(f"format must be 'onnx' or 'torch'; got {brief(format)}.")
    path = as_path(path)
    if path.suffix != SUFFIXES[format]:
        raise ValueError(
            f"path must end in {SUFFIXES[format]!r} for format={format!r}; got "
            f"{str(path)!r}. The format of '.onnx' is 'onnx', that of '.pt2' 'torch'."
        )
    write = _write_onnx if format == "onnx" else _write_program
    if format == "onnx":
        for package in ("onnx", "onnxscript"):
            import_package(package, "export to ONNX needs", "export")
    module = GuardModule(guard)
    inputs = _example_inputs(steps_of(guard)[0], example)
    with replacing(path) as part:
        write(_traced(module, inputs), part, _input_names(module.keys))


def _example_inputs(first, example):
    """Return tensors of two samples as the network takes them."""
    shape = first.input_shape_
    if example is not None:
        X = first._check_inputs(example, reset=False)
        x = first._as_taken(next(iter(batches(X, _N_TRACED))))
        return [torch.cat([e, e])[:_N_TRACED] for e in entries_of(x).values()]
    if isinstance(shape, dict):
        raise ValueError(
            "example must hold inputs as those of fit where the network takes several, "
            "here of shapes "
            f"{shape}; got None. Give one or more samples, such as those of fit."
        )
    place = placement(first._module())
    if first.integer_inputs_:
        place["dtype"] = torch.int64
    return [torch.zeros((_N_TRACED, *shape), **place)]


def _input_names(keys):
    if keys is None:
        return ["input"]
    return [key if isinstance(key, str) else f"input_{key}" for key in keys]


def _traced(module: GuardModule, inputs: list[torch.Tensor]) -> Any:
    """Return the exported program of a module for any number of samples."""
    axes = tuple(map(_dynamic_axes, inputs))
    try:
        # Without gradients, whose switching would be recorded too.
        with torch.no_grad():
            return torch.export.export(
                module, tuple(inputs), dynamic_shapes=(axes,), strict=False
            )
    # Networks may fail in any way, as everywhere.
    except Exception as error:
        raise ValueError(
            "guard holds a network that torch.export.export cannot take for any number "
            "of samples. Its forward must not decide by values (if x.max() > 1, "
            ".item()) nor fix the number of samples (len(x), reshape with a number), "
            "and it must not be scripted by torch.jit. Torch says: "
            f"{type(error).__name__}: {cut(str(error), 500)}"
        ) from error


def _dynamic_axes(entry):
    axes = {0: Dim.DYNAMIC}
    # Sequences of tokens may have any length, if the network takes any.
    if not entry.is_floating_point():
        axes |= dict.fromkeys(range(1, entry.ndim), Dim.AUTO)
    return axes


def _write_program(program, path, names):
    torch.export.save(program, path)


def _write_onnx(program, path, names):
    try:
        torch.onnx.export(
            program,
            f=str(path),
            dynamo=True,
            external_data=False,
            input_names=names,
            output_names=OUTPUTS,
            # All inputs have that axis; torch warns where it is named again.
            dynamic_shapes=(({0: "n_samples"}, *[{}] * (len(names) - 1)),),
            verbose=False,
        )
    except Exception as error:
        raise ValueError(
            "guard holds a network that torch.onnx.export cannot write: an operation "
            "that ONNX lacks, or more than 2 GB. format='torch' may take it. Torch "
            f"says: {type(error).__name__}: {cut(str(error), 500)}"
        ) from error
