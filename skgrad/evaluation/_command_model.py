"""The model of the command line: imported, or trained and kept."""

import copy
import importlib
import inspect
import os
import sys

import joblib
import numpy as np
import torch
from torch import nn

from .. import __version__
from .._messages import cut, did_you_mean, warn
from .._terminal import OptionError
from ..torch_engine.model_state import unwrap_model
from ._digits import DigitsNetwork, train_digits_network
from ._networks import CifarResNet, LeNet
from ._training import crop_and_flip, train_network
from ._weights import load_network, load_safetensors, save_network

_SMOOTHLY = {"schedule": "smooth cosine"}
_CIFAR = {"max_epochs": 30, "lr": 0.1, "optimizer": "sgd", "augment": crop_and_flip}
# Data set -> its network and how it is trained.
BUILT_IN = {
    "digits": (DigitsNetwork, {}),
    "mnist": (LeNet, {"max_epochs": 4, "lr": 2e-3, **_SMOOTHLY}),
    "cifar-10": (CifarResNet, {**_CIFAR, **_SMOOTHLY}),
    "cifar-10-jpeg": (CifarResNet, {**_CIFAR, **_SMOOTHLY}),
}


def import_object(path, option):
    """Import ``package.module:name``, with the working directory on the path."""
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise OptionError(
            f"{option} must be package.module:name; got {path!r}. For name in the file "
            "net.py of this folder write net:name."
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise OptionError(
            f"{option} must be package.module:name of a module that can be imported; "
            f"got {path!r}: {type(error).__name__}: {error}. The working directory is "
            "on the path; set PYTHONPATH for other folders."
        ) from error
    if not hasattr(module, name):
        names = [n for n in vars(module) if not n.startswith("_")]
        raise OptionError(
            f"{option} must name what is in {module_name}; got {name!r}."
            f"{did_you_mean(name, names)}"
        )
    return getattr(module, name)


def load_model(options):
    """Import the model of the user and give it its weights."""
    model = import_object(options.model, "--model")
    is_net = isinstance(model, nn.Module) or hasattr(model, "module_")
    if inspect.isclass(model) or not is_net:
        model = _called(model, options.model)
    try:
        module = unwrap_model(model)
    except (TypeError, ValueError) as error:
        raise OptionError(
            "--model must be a torch module, a fitted skorch net or a function without "
            f"arguments that returns one; {options.model!r} is not: {error}"
        ) from error
    if options.weights is not None:
        _load_weights(module, options.weights)
    return module.to(options.device).eval()


def _called(make, path):
    if not callable(make):
        return make
    try:
        return make()
    except Exception as error:
        raise OptionError(
            "--model must return a model when called without arguments; "
            f"{path!r} raises {type(error).__name__}: {error}"
        ) from error


def _load_weights(module, path):
    try:
        if path.suffix == ".safetensors":
            state = load_safetensors(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise OptionError(
            f"--weights must be a file that can be read; got {str(path)!r}: "
            f"{error.strerror or error}."
        ) from error
    except Exception as error:  # torch raises many kinds for what is no such file
        raise OptionError(
            "--weights must be a .safetensors file, or a state_dict that torch.save "
            f"wrote; got {str(path)!r}, which is not. Save the model's weights with "
            "skgrad.evaluation.save_network or torch.save(model.state_dict(), file)."
        ) from error
    try:
        module.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise OptionError(
            f"--weights must fit the model, {type(module).__name__}; {str(path)!r} "
            f"does not: {cut(str(error), 300)}"
        ) from error


def train_or_load(name, X, y, options, on_step):
    """Return the built-in network for a data set, trained once and kept."""
    network, settings = BUILT_IN[name]
    recipe = __version__, name, str(settings), np.shape(X)
    key = joblib.hash((recipe, joblib.hash(X), joblib.hash(y)))
    path = options.cache / "networks" / f"{name}-{key}.safetensors"
    kept = _kept_network(network, path)
    if kept is not None:
        return kept.to(options.device)
    on_step(f"training {network.__name__} on {len(X)} inputs")
    if name == "digits":
        net = train_digits_network(X, y, device=options.device)
    else:
        net = train_network(network, X, y, device=options.device, **settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_network(net, path)
    except OSError as error:
        _warn(f"the trained network is not kept: {error}. The next run trains anew.")
    return copy.deepcopy(unwrap_model(net)).eval()


def _kept_network(network, path):
    """Return the network that an earlier run left, None if there is none to use."""
    try:
        return load_network(network, path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _warn(f"the network kept there cannot be used and is trained anew: {error}")
        return None


def _warn(text):
    warn(f"--cache: {text}", RuntimeWarning)
