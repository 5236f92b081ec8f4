"""The family of log-odds on slightly changed copies of an input."""

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

import torch
from sklearn.utils import check_random_state

from .._compat import Interval
from .._messages import brief, did_you_mean, listed
from .._several import Several, entries_of, names_of_inputs, sample_shape
from ..torch_engine import stability
from ..torch_engine.model_state import forward
from ..torch_engine.network_pass import Wanted
from ..torch_engine.pooling import ATTENTION_MASK
from ..torch_engine.stability import LOG_ODDS, UNCHANGED
from ._family import BaseFamily

AUTO = "auto"
# What "auto" takes, by the kind of the inputs.
DEFAULT_CHANGES = {
    # Photographs are as likely the other way round, which digits and letters are not.
    "colour images": ("noise", "flip"),
    "grey images": ("noise", "blur"),
    "floats": ("noise",),
    "token ids": ("mask",),
}
_IDS = "input_ids"
# Most channels of images; others may be series of matrices, or have channels last.
_MOST_CHANNELS, _FEWEST_COLOURS = 4, 3
# Of fewer pixels a blur takes too much: of 8 x 8 a quarter of each side.
_FEWEST_PIXELS = 16


def _is_image(entry):
    # With channels last, the last two axes are not those of the pixels.
    return entry.ndim == 4 and not entry.shape[-1] <= _MOST_CHANNELS < entry.shape[1]


# The inputs that a change may act on: what messages call them, and how to find them by
# the names of the model's arguments; a single one has none.
KINDS = {
    "floats": lambda name, entry: entry.is_floating_point() and name != ATTENTION_MASK,
    "images": lambda name, entry: entry.is_floating_point() and _is_image(entry),
    "token ids": lambda name, entry: (
        not entry.is_floating_point() and entry.ndim > 1 and name in ("", _IDS)
    ),
    "an attention_mask": lambda name, entry: name == ATTENTION_MASK,
}


class _Change(NamedTuple):
    """A change by name: the inputs it acts on, and a function of family, key, x."""

    kind: str
    of: Callable


CHANGES = {
    "noise": _Change(
        "floats", lambda own, key, x, _: stability.with_noise(x, own._noise[key])
    ),
    "grey": _Change(
        "floats",
        lambda own, key, x, _: stability.rounded(x, own._range[key], own.n_levels),
    ),
    "shift": _Change(
        "images", lambda own, key, x, _: stability.shifted(x, own.n_pixels)
    ),
    "blur": _Change("images", lambda own, key, x, _: stability.blurred(x)),
    "flip": _Change("images", lambda own, key, x, _: stability.flipped(x)),
    "mask": _Change(
        "token ids",
        lambda own, key, x, mask: stability.masked(x, mask, own.token, own._step()),
    ),
    "drop": _Change(
        "an attention_mask",
        lambda own, key, x, mask: stability.dropped(x, own._step()),
    ),
}
# Those that need to know how the inputs vary.
_OF_SPREAD = {AUTO, "noise", "grey"}


class Stability(BaseFamily):
    """Log-odds on slightly changed copies of an input, a family of `NetworkFeatures`.

    Parameters
    ----------
    changes, noise_scale, n_levels, n_pixels, token, token_share : optional
        As in `StabilityTransformer`, which has these columns alone.
    random_state : int, RandomState instance or None, default=None
        Draws the noise, see there.

    Attributes
    ----------
    changes_ : list of str
        Names of the changes, in the order of the columns.

    Examples
    --------
    >>> from skgrad.feature_extraction import Stability
    >>> Stability(["noise", "flip"], random_state=0)
    Stability(changes=['noise', 'flip'], random_state=0)
    """

    _parameter_constraints: dict = {
        "changes": [str, callable, list, tuple],
        "noise_scale": [Interval(Real, 0, None, closed="neither")],
        "n_levels": [Interval(Integral, 2, None, closed="left")],
        "n_pixels": [Interval(Integral, 1, None, closed="left")],
        "token": [Interval(Integral, 0, None, closed="left")],
        "token_share": [Interval(Real, 0, 0.5, closed="right")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        changes=AUTO,
        *,
        noise_scale=0.1,
        n_levels=16,
        n_pixels=1,
        token=0,
        token_share=0.15,
        random_state=None,
    ):
        self.changes = changes
        self.noise_scale = noise_scale
        self.n_levels = n_levels
        self.n_pixels = n_pixels
        self.token = token
        self.token_share = token_share
        self.random_state = random_state

    def _asks(self):
        given = (one for one in self._given() if isinstance(one, str))
        return {"spread": not _OF_SPREAD.isdisjoint(given)}

    def _given(self):
        """Return the changes that were given, in a list."""
        return self.changes if isinstance(self.changes, list) else [self.changes]

    def _fit(self, probe):
        x = probe.x.detach()
        several = isinstance(x, Several)
        self._names = names_of_inputs(probe.module, x) if several else {"": ""}
        # Functions of the user by their names; None for changes by name.
        self._functions = self._chosen(x)
        self.changes_ = list(self._functions)
        self._keys = {
            name: self._keys_of(name, x)
            for name, function in self._functions.items()
            if function is None
        }
        self._learn(probe.spread or {}, x)
        for name in self.changes_:
            self._check(name, x, probe.module)
        return [f"{LOG_ODDS}{name}" for name in (UNCHANGED, *self.changes_)]

    def _chosen(self, x):
        """Return the changes by name, with their functions."""
        given = self._given()
        if given == [AUTO]:
            given = DEFAULT_CHANGES[self._kind_of(x)]
        pairs = [_as_pair(change) for change in given]
        names = [name for name, _ in pairs]
        if not names or len(set(names)) < len(names) or UNCHANGED in names:
            raise ValueError(
                "changes must be one or more, each with a name of its own other than "
                f"{UNCHANGED!r}; got {listed(names) or 'none'}. Name a function by a "
                "pair (name, function)."
            )
        return dict(pairs)

    def _kind_of(self, x):
        """Return the kind of the inputs that "auto" chooses by."""
        images = [entries_of(x)[key].shape[1:] for key in self._of_kind("images", x)]
        if images and all(
            channels <= _MOST_CHANNELS and min(sides) >= _FEWEST_PIXELS
            for channels, *sides in images
        ):
            in_colour = all(channels >= _FEWEST_COLOURS for channels, *_ in images)
            return "colour images" if in_colour else "grey images"
        for kind in ("token ids", "floats"):
            if self._of_kind(kind, x):
                return kind
        raise ValueError(
            f"changes={AUTO!r} finds nothing to change in inputs {_described(x)}: "
            f"of several, {_IDS!r} names the token ids. {_way_out([], x)} Or do "
            "without changes: make_recommended_detector has effort='low' for it."
        )

    def _of_kind(self, kind, x):
        """Return the keys of the inputs of a kind."""
        is_one = KINDS[kind]
        return [
            key
            for key, entry in entries_of(x).items()
            if is_one(self._names.get(key), entry)
        ]

    def _keys_of(self, name, x):
        """Return the names of the inputs that a change acts on."""
        kind = CHANGES[name].kind
        keys = self._of_kind(kind, x)
        if not keys:
            valid = [n for n, c in CHANGES.items() if self._of_kind(c.kind, x)]
            raise ValueError(
                f"changes: {name!r} is for {kind}, which these inputs are not: they "
                f"are {_described(x)}. {_way_out(valid, x)}"
            )
        return keys

    def _learn(self, spread, x):
        """Keep the range of the inputs, and draw the noise."""
        self._range = {key: (one.low, one.high) for key, one in spread.items()}
        self._scale, self._shapes = {}, {}
        for key in self._keys.get("noise", ()):
            self._shapes[key] = tuple(entries_of(x)[key].shape[1:])
            self._scale[key] = self.noise_scale * spread[key].scale
        if self._scale and not any(scale.any() for scale in self._scale.values()):
            raise ValueError(
                "X must vary, because the size of 'noise' in changes is relative to "
                "its standard deviation; its first samples are all the same (n_samples "
                "= 1 shows none). Give other samples or other changes."
            )
        self._draw(check_random_state(self.random_state))

    def _draw(self, random_state):
        """Draw the pattern of the noise, the same for all inputs."""
        self._noise = {
            key: (scale * random_state.standard_normal(self._shapes[key])).astype("f4")
            for key, scale in self._scale.items()
        }

    def _learned(self):
        return [self._noise, self._range]

    def _step(self):
        return max(2, round(1 / self.token_share))

    def _changed(self, name, x):
        """Return changed copies of inputs."""
        function = self._functions[name]
        if function is not None:
            return _by_function(name, function, x)
        entries = dict(entries_of(x))
        named = {self._names.get(key): entry for key, entry in entries.items()}
        change, mask = CHANGES[name].of, named.get(ATTENTION_MASK)
        for key in self._keys[name]:
            entries[key] = change(self, key, entries[key], mask)
        return Several(entries) if isinstance(x, Several) else entries[""]

    def _check(self, name, x, module):
        """Raise unless each sample is changed by itself, and the model takes it."""
        changed, again = self._changed(name, x), self._changed(name, x)
        alone = self._changed(name, x[-1:])
        for key, entry in entries_of(changed).items():
            why = None
            if entry.is_floating_point() and not entry.isfinite().all():
                why = "it returns NaN or infinite values"
            elif not torch.equal(entry, entries_of(again)[key]):
                why = "it returns other values for the same inputs, as random ones do"
            elif not _close(entries_of(alone)[key], entry[-1:]):
                why = "what it returns for a sample depends on the others in the batch"
            if why:
                raise ValueError(
                    f"changes: {name!r} must return finite values, the same each time "
                    f"and for each sample by itself, but {why}. Draw what is random "
                    "once, outside of it."
                )
        try:
            forward(module, alone)
        # Networks raise anything for inputs that they cannot take.
        except (ValueError, IndexError, RuntimeError) as error:
            raise ValueError(
                f"changes: the network cannot take inputs changed by {name!r}: {error}."
                " Give other changes."
            ) from error

    def _wants(self):
        return Wanted(changes=True)

    def _columns(self, run):
        classes = run.logits.argmax(dim=1)
        every = [run.logits]
        every += [run.logits_at(self._changed(name, run.x)) for name in self.changes_]
        columns = [stability.log_odds(logits, classes) for logits in every]
        return torch.stack(columns, dim=1)


def _as_pair(change):
    """Return the name of a change and its function, None for one of `CHANGES`."""
    if isinstance(change, str):
        if change not in CHANGES:
            raise ValueError(
                f"changes must be {AUTO!r}, names among {listed(list(CHANGES))}, "
                f"functions, or pairs (name, function); got {brief(change)}."
                f"{did_you_mean(change, CHANGES)}"
            )
        return change, None
    pair = change if isinstance(change, tuple) else ("", change)
    name, function = pair if len(pair) == 2 else ("", None)
    name = name or getattr(function, "__name__", "")
    if not isinstance(name, str) or not callable(function):
        raise ValueError(
            "changes must be a name, a function, a pair (name, function) or a list of "
            f"these; got {brief(change)}."
        )
    # Double underscores separate prefixes in the names of columns.
    if not name or name == "<lambda>" or "__" in name:
        raise ValueError(
            f"changes: {brief(function)} needs a name without double underscores, for "
            f"its column; got {name!r}. Give a pair (name, function)."
        )
    return name, function


def _described(x):
    dtypes = {str(entry.dtype) for entry in entries_of(x).values()}
    return f"of shape {sample_shape(x)} and {' and '.join(sorted(dtypes))}"


def _way_out(valid, x):
    what = "a dictionary of tensors" if isinstance(x, Several) else "a tensor"
    names = f"Valid are {listed(valid)}, or g" if valid else "G"
    return f"{names}ive a pair (name, function) that takes and returns {what}."


def _by_function(name, function, x):
    """Apply a function of the user to a copy of the inputs."""
    given = {key: entry.clone() for key, entry in entries_of(x).items()}
    several = isinstance(x, Several)
    changed = function(given if several else given[""])
    as_dict = changed if several else {"": changed}
    if isinstance(as_dict, Mapping) and all(
        _is_like(as_dict.get(key), entry) for key, entry in entries_of(x).items()
    ):
        return Several({key: as_dict[key] for key in given}) if several else changed
    what = "a dictionary of tensors" if several else "a tensor"
    raise ValueError(
        f"changes: {name!r} must return {what} as it gets, {_described(x)}; got "
        f"{_returned(changed)}."
    )


def _is_like(changed: Any, entry: torch.Tensor) -> bool:
    return (
        isinstance(changed, torch.Tensor)
        and (changed.shape, changed.dtype) == (entry.shape, entry.dtype)
        and changed.device == entry.device
    )


def _returned(changed):
    if isinstance(changed, torch.Tensor):
        return f"shape {tuple(changed.shape)} and {changed.dtype} on {changed.device}"
    return brief(changed)


def _close(one, other):
    if not one.is_floating_point():
        return torch.equal(one, other)
    size = other.abs().max().item()
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3 * size)
