"""What the attacks of other libraries need: a model, a box and seeds of their own."""

import logging
import os
import random
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.utils.data import Dataset

from .._messages import brief, did_you_mean, listed
from .._optional import import_package
from .._validation import check_inputs
from ..torch_engine.model_state import as_logits, check_recorded, placement
from ..torch_engine.restoring import torch_seeded
from ._balls import per_sample
from ._base import CONSTRAINTS, run_attack
from ._bounds import checked_bounds

LIMITS = {**CONSTRAINTS, "random_state": ["random_state"]}

# Warnings that say nothing about what the user did: (category, how they begin).
HARMLESS = [
    # foolbox 3.3 takes gaussian_filter from where scipy had it long ago.
    (DeprecationWarning, r"Please import `\w+` from the `scipy"),
    # eagerpy shares arrays that it marked as read-only, and never writes to them.
    (UserWarning, "The given NumPy array is not writable"),
]


def import_library(name):
    """Import a package of the extra ``attacks``, and say how to install it."""
    before = os.environ.get("GIT_PYTHON_REFRESH")
    # foolbox's model zoo imports GitPython, which fails where git is not installed.
    os.environ["GIT_PYTHON_REFRESH"] = before or "quiet"
    try:
        with without_harmless_warnings():
            return import_package(name, "This attack needs", "attacks")
    finally:
        if before is None:
            del os.environ["GIT_PYTHON_REFRESH"]


@contextmanager
def without_harmless_warnings():
    """Leave out the warnings of `HARMLESS`, and no others."""
    with warnings.catch_warnings():
        for category, message in HARMLESS:
            warnings.filterwarnings("ignore", message=message, category=category)
        yield


def named_attack(name, home, base, library):
    """Return the attack class of that name, or say which ones there are."""
    attacks = {
        key: thing
        for key, thing in vars(home).items()
        if isinstance(thing, type) and issubclass(thing, base) and thing is not base
    }
    if name in attacks:
        return attacks[name]
    near = did_you_mean(name, attacks, most=4, cutoff=0.45)
    raise ValueError(
        f"attack must be the name of an attack of {library}; got {name!r}."
        f"{near or f' Legal are {listed(sorted(attacks))}.'}"
    )


def construct(make, options):
    """Call the class of an attack, and say it in the words of ``options`` if it fails.

    `make` is the class, or the class with its model already given.
    """
    try:
        return make(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "options must be a dictionary of what the attack takes; got "
            f"{brief(options, 200)}. It says: {error}"
        ) from error


def run_library_attack(
    attack_box, model, X, y, *, bounds, random_state, what, **arguments
):
    """Run an attack of another library, batch by batch.

    Parameters
    ----------
    attack_box : callable
        Takes a `Batch`, a `Box` and a seed per input; returns adversarial inputs of
        the box, a Tensor.
    model, X, y, bounds, **arguments
        As in `run_attack`.
    random_state : int, RandomState instance or None
        Seeds the library.
    what : str
        How to call the attack in an error.

    Returns
    -------
    AttackResult
        The adversarial inputs and how they fare.
    """
    random_state = check_random_state(random_state)
    seeds = seed_each(X, random_state)

    def perturb(batch):
        box = Box.around(batch, bounds)
        own = seeds[batch.rows]
        with (
            seeded(int(own[0]), batch.x.device),
            torch.enable_grad(),
            without_harmless_warnings(),
            root_logger_restored(),
            told_by(what, batch.x),
        ):
            found = attack_box(batch, box, own)
        return box.outside(found.detach(), batch, what)

    return run_attack(
        perturb, model, X, y, bounds=bounds, random_state=random_state, **arguments
    )


@contextmanager
def root_logger_restored():
    """Take away the handlers that a library added by logging something."""
    logger = logging.getLogger()
    before = logger.handlers[:]
    try:
        yield
    finally:
        logger.handlers[:] = before


@contextmanager
def told_by(what, x):
    """Say with errors which attack they come from."""
    try:
        yield
    except Exception as error:
        error.add_note(
            f"Raised while {what} attacked inputs of shape {tuple(x.shape[1:])}. Not "
            "every attack of the library takes every shape, model, target or option, "
            "and some need packages of their own."
        )
        raise


def seed_each(X, random_state):
    """Draw a seed for each input: what is drawn for one does not depend on others."""
    X = check_inputs(X)
    # A Dataset is refused later, in the words of X.
    n_samples = 0 if isinstance(X, Dataset) else len(X)
    return random_state.randint(2**31 - 1, size=n_samples)


@contextmanager
def seeded(seed, device):
    """Seed the global generators of Python, numpy and torch, then restore them."""
    with torch_seeded(seed, device):
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@dataclass(frozen=True)
class Box:
    """The legal inputs as the libraries want them: between two numbers, in float32.

    A value x of X is (x - shift) / scale in the box. Where the range of all values is
    the same, the scale is 1 and lengths are those of X; else it is the range, and
    lengths are shares of it.

    Attributes
    ----------
    module : torch.nn.Module
        The model, as it looks from inside the box.
    x : Tensor of float32 of shape (n_samples, *input_shape)
        The clean inputs inside.
    low, high : float
        The bounds inside.
    shift, scale : Tensor
        What leads inside; they broadcast with one sample.
    """

    module: nn.Module
    x: Tensor
    low: float
    high: float
    shift: Tensor
    scale: Tensor

    @classmethod
    def around(cls, batch, bounds):
        """Make the box of a batch."""
        low, high = checked_bounds(
            bounds, tuple(batch.x.shape[1:]), placement(batch.module)
        )
        span = high - low
        if not torch.isfinite(span).all():
            raise ValueError(
                "bounds must be finite for attacks of other libraries, which search "
                f"the whole range; got {brief(bounds)}."
            )
        if low.numel() == high.numel() == 1:
            shift, scale, low, high = 0 * low, 1 + 0 * low, low.item(), high.item()
        elif torch.allclose(span, span.flatten()[0]):
            shift, scale, low, high = low, 1 + 0 * low, 0.0, span.min().item()
        else:
            shift, scale, low, high = low, span, 0.0, 1.0
        x = ((batch.x - shift) / scale).float().clamp(low, high)
        return cls(FromInside(batch, shift, scale), x, low, high, shift, scale)

    def outside(self, found, batch, what):
        """Bring what an attack found out of the box; unchanged values stay exact."""
        if found.shape != self.x.shape:
            raise ValueError(
                f"attack must change inputs one by one; {what} returned shape "
                f"{tuple(found.shape)} for inputs of shape {tuple(self.x.shape)}."
            )
        found = found.to(self.x)
        finite = torch.isfinite(found).flatten(1).all(dim=1)
        kept = (found == self.x) | ~per_sample(finite, found)
        outside = found.to(batch.x) * self.scale + self.shift
        return batch.within(torch.where(kept, batch.x, outside))


class FromInside(nn.Module):
    """A frozen model as it looks from inside a box, in float32.

    The model is hidden from ``modules()`` and ``parameters()``: nothing that a library
    does to this wrapper, such as ``to``, ``train`` or ``zero_grad``, reaches it.
    """

    def __init__(self, batch, shift, scale):
        super().__init__()
        self._inside = (batch, shift, scale)
        self.eval()

    def forward(self, x):
        """Return logits in float32, on the device of x."""
        batch, shift, scale = self._inside
        # An attack that divided by zero must not take its batch-mates along.
        broken = ~torch.isfinite(x).flatten(1).all(dim=1)
        safe = torch.where(per_sample(broken, x), 0, x).to(batch.x)
        output = batch.module((safe * scale + shift).clone())
        logits = as_logits(output, len(x))
        if x.requires_grad and torch.is_grad_enabled():
            check_recorded(logits, "input")
            x.register_hook(batch.watch.see)
        return logits.to(x.device, torch.float32)


def lacks_target(what):
    """Return the error for an attack that knows no targets."""
    return ValueError(
        f"target must be None for {what}, which cannot aim at a class. PGD and the "
        "attack of Carlini and Wagner can."
    )
