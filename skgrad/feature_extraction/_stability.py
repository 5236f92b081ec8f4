"""The family of log-odds on slightly changed copies of an input."""

from functools import partial
from numbers import Integral, Real

import torch
from sklearn.utils import check_random_state

from .._compat import Interval
from .._messages import listed
from .._several import Several, entries_of, names_of_inputs
from ..torch_engine import stability
from ..torch_engine.embedding_noise import embedded_scale, find_embedded, noise_at
from ..torch_engine.model_state import forward
from ..torch_engine.network_pass import Wanted, as_it_is
from ..torch_engine.pooling import ATTENTION_MASK
from ..torch_engine.stability import LOG_ODDS, UNCHANGED
from ._changes import (
    AUTO,
    CHANGES,
    DEFAULT_CHANGES,
    IDS,
    KINDS,
    WITH_EMBEDDING,
    as_pair,
    by_function,
    described,
    kind_of_images,
    way_out,
)
from ._family import BaseFamily

# Where the noise at the embedding stands among that of inputs: no name of an argument.
_EMBEDDED = "(embedded)"
# Those that need to know how the inputs vary.
_OF_SPREAD = {AUTO, "noise", "grey"}


class Stability(BaseFamily):
    """Log-odds on slightly changed copies of an input, a family of `NetworkFeatures`.

    Parameters
    ----------
    changes, noise_scale, n_levels, n_pixels : optional
        As in `StabilityTransformer`, which has these columns alone.
    token, token_share, token_noise_scale : optional
        As there.
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
        "token_noise_scale": [Interval(Real, 0, None, closed="neither")],
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
        token_noise_scale=1.0,
        random_state=None,
    ):
        self.changes = changes
        self.noise_scale = noise_scale
        self.n_levels = n_levels
        self.n_pixels = n_pixels
        self.token = token
        self.token_share = token_share
        self.token_noise_scale = token_noise_scale
        self.random_state = random_state

    def _asks(self):
        given = (one for one in self._given() if isinstance(one, str))
        # Messages, too, say which changes there are for token ids.
        return {"first": not _OF_SPREAD.isdisjoint(given), "embeddings": True}

    def _given(self):
        """Return the changes that were given, in a list."""
        return self.changes if isinstance(self.changes, list) else [self.changes]

    def _fit(self, probe):
        x = probe.samples.detach()
        several = isinstance(x, Several)
        self._names = names_of_inputs(probe.module, x) if several else {"": ""}
        self._embedded = self._find_embedded(probe, x)
        # Functions of the user by their names; None for changes by name.
        self._functions = self._chosen(x)
        self.changes_ = list(self._functions)
        self._keys = {
            name: self._keys_of(name, x)
            for name, function in self._functions.items()
            if function is None
        }
        self._learn(probe, x)
        for name in self.changes_:
            self._check(name, x, probe.module)
        return [f"{LOG_ODDS}{name}" for name in (UNCHANGED, *self.changes_)]

    def _chosen(self, x):
        """Return the changes by name, with their functions."""
        given = self._given()
        if given == [AUTO]:
            given = DEFAULT_CHANGES[self._kind_of(x)]
        pairs = [as_pair(change) for change in given]
        names = [name for name, _ in pairs]
        if not names or len(set(names)) < len(names) or UNCHANGED in names:
            raise ValueError(
                "changes must be one or more, each with a name of its own other than "
                f"{UNCHANGED!r}; got {listed(names) or 'none'}. Name a function by a "
                "pair (name, function)."
            )
        return dict(pairs)

    def _find_embedded(self, probe, x):
        """Return where token ids are turned into vectors, None if that is not seen."""
        keys = self._of_kind("token ids", x)
        if not keys and not self._of_kind("floats", x):
            keys = self._of_kind("whole numbers", x)
        return find_embedded(probe, [entries_of(x)[key] for key in keys])

    def _kind_of(self, x):
        """Return the kind of the inputs that "auto" chooses by."""
        images = [entries_of(x)[key].shape[1:] for key in self._of_kind("images", x)]
        kind = kind_of_images(images)
        if kind is not None:
            return kind
        if self._embedded is not None:
            return "embedded token ids"
        for kind in ("token ids", "floats"):
            if self._of_kind(kind, x):
                return kind
        raise ValueError(
            f"changes={AUTO!r} finds nothing to change in inputs {described(x)}: "
            f"of several, {IDS!r} names the token ids. {way_out([], x)} Or do "
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
        if not self._is_for(name, x):
            kind = WITH_EMBEDDING if name == "noise" else CHANGES[name].kind
            valid = [other for other in CHANGES if self._is_for(other, x)]
            raise ValueError(
                f"changes: {name!r} is for {kind}, which these inputs are not: they "
                f"are {described(x)}. {way_out(valid, x)}"
            )
        return self._of_kind(CHANGES[name].kind, x)

    def _is_for(self, name, x):
        """Return True if a change has something to act on."""
        embedded = name == "noise" and self._embedded is not None
        return embedded or bool(self._of_kind(CHANGES[name].kind, x))

    def _learn(self, probe, x):
        """Keep the range of the inputs, and draw the noise."""
        first = probe.first
        spread = {} if first is None else stability.spread_of(first)
        self._range = {key: (one.low, one.high) for key, one in spread.items()}
        self._scale, self._shapes = {}, {}
        for key in self._keys.get("noise", ()):
            self._shapes[key] = tuple(entries_of(x)[key].shape[1:])
            self._scale[key] = self.noise_scale * spread[key].scale
        if self._is_at_embedding("noise"):
            scale = embedded_scale(probe.module, first, self._embedded)
            self._shapes[_EMBEDDED] = self._embedded.shape
            self._scale[_EMBEDDED] = self.token_noise_scale * scale
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
        return [self._noise, self._range, self._embedded]

    def _step(self):
        return max(2, round(1 / self.token_share))

    def _changed(self, name, x):
        """Return changed copies of inputs."""
        function = self._functions[name]
        if function is not None:
            return by_function(name, function, x)
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
            with self._within(name)(module, alone):
                forward(module, alone)
        # Networks raise anything for inputs that they cannot take.
        except (ValueError, IndexError, RuntimeError) as error:
            raise ValueError(
                f"changes: the network cannot take inputs changed by {name!r}: {error}."
                " Give other changes."
            ) from error

    def _is_at_embedding(self, name):
        """Return True for the change that is made at the embedding of token ids."""
        by_name = name in self._keys  # functions of the user have any names
        return name == "noise" and by_name and self._embedded is not None

    def _within(self, name):
        """Return what makes the context in which changed inputs are passed."""
        if self._is_at_embedding(name):
            return partial(noise_at, self._embedded, self._noise[_EMBEDDED])
        return as_it_is

    def _wants(self):
        return Wanted(changes=True)

    def _columns(self, run):
        classes = run.logits.argmax(dim=1)
        every = [run.logits]
        every += [
            run.logits_at(self._changed(name, run.x), self._within(name))
            for name in self.changes_
        ]
        columns = [stability.log_odds(logits, classes) for logits in every]
        return torch.stack(columns, dim=1)


def _close(one, other):
    if not one.is_floating_point():
        return torch.equal(one, other)
    size = other.abs().max().item()
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3 * size)
