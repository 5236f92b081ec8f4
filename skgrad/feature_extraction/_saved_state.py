"""The state of estimators in the files of `skgrad.save`: without the network.

skops asks an estimator for its state as pickle does. What differs between a file and a
pickle is decided here, by the context in which the state is asked for.
"""

from contextlib import contextmanager
from contextvars import ContextVar

from ..torch_engine.fingerprint import network_identity
from ..torch_engine.model_state import unwrap_model

_SAVING: ContextVar = ContextVar("saving", default=None)
_LOADING: ContextVar = ContextVar("loading", default=None)


class SavedStateMixin:
    """Mixin, before BaseEstimator, of estimators with another state in a file."""

    def _to_saved(self, state, networks):
        """Return the state for a file; `networks` identifies networks left out."""
        return state

    def _from_saved(self, state, networks):
        """Return the state from that in a file; `networks` finds networks again."""
        return state

    def __getstate__(self):
        state = dict(super().__getstate__())  # type: ignore[call-overload]
        networks = _SAVING.get()
        return state if networks is None else self._to_saved(state, networks)

    def __setstate__(self, state):
        networks = _LOADING.get()
        if networks is not None:
            state = self._from_saved(state, networks)
        super().__setstate__(state)  # type: ignore[misc]


class LeftOutNetworks:
    """The networks that a file leaves out."""

    def __init__(self):
        self.models = []
        self._identities = {}

    @property
    def identities(self):
        return list(self._identities.values())

    def identify(self, model):
        """Return what a file holds in place of a network: its class and fingerprint."""
        module = unwrap_model(model)
        # skops asks for a state more than once, and many estimators share a network;
        # it is hashed once.
        if id(module) not in self._identities:
            self._identities[id(module)] = network_identity(module)
            self.models.append(model)
        return dict(self._identities[id(module)])


class GivenNetworks:
    """The networks, in any order, that are given for those that a file leaves out."""

    def __init__(self, models):
        self._given = [(network_identity(unwrap_model(m)), m) for m in models]
        self.n_found = 0

    def find(self, wanted):
        """Return the network with the fingerprint that a file holds."""
        for identity, model in self._given:
            if identity["fingerprint"] == wanted["fingerprint"]:
                self.n_found += 1
                return model
        given = [_describe(identity) for identity, _ in self._given]
        but = ", but other weights or layers" if _describe(wanted) in given else ""
        hint = "Load the weights that it had then" if given else "Pass it as model="
        raise ValueError(
            "model must be the network that the detector was fitted on, "
            f"{_describe(wanted)}; got {' and '.join(given) or None}{but}. {hint}."
        )


def _describe(identity):
    return f"{identity['class']} ({identity['n_parameters']:,} parameters)"


@contextmanager
def saving_state():
    """Let estimators return their state for a file; yields a `LeftOutNetworks`."""
    networks = LeftOutNetworks()
    token = _SAVING.set(networks)
    try:
        yield networks
    finally:
        _SAVING.reset(token)


@contextmanager
def loading_state(models):
    """Let estimators take the state of a file; yields a `GivenNetworks`."""
    networks = GivenNetworks(models)
    token = _LOADING.set(networks)
    try:
        yield networks
    finally:
        _LOADING.reset(token)
