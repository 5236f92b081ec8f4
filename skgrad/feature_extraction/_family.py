"""Base of the families of columns over one pass through a network."""

from abc import ABCMeta, abstractmethod

from sklearn.base import BaseEstimator


class BaseFamily(BaseEstimator, metaclass=ABCMeta):
    """Base of the families of columns that are computed over one pass.

    A family is fitted on a `Probe`, says what a pass over a batch is to record, and
    computes its columns from that. Families of one transformer share their passes; a
    new one is a file with a subclass.
    """

    _parameter_constraints: dict = {}

    def _asks(self):
        """Return the options of the `Probe` that `_fit` gets."""
        return {}

    @abstractmethod
    def _fit(self, probe):
        """Check the parameters against a network; return the names of the columns."""

    @abstractmethod
    def _wants(self):
        """Return what a pass is to record, a `Wanted`."""

    @abstractmethod
    def _columns(self, run):
        """Return the columns (n_samples, n_columns) of a `NetworkPass`, a tensor."""

    def _most_samples(self):
        """Return how many samples memory holds, None for any number."""
        return None

    def _learned(self):
        """Return what the columns depend on but parameters, network and shapes."""
        return None


def merged_options(families):
    """Return the options of a `Probe` that serves several families.

    With ``first`` it gets more samples, which show how the inputs vary.
    """
    options = [family._asks() for family in families]
    merged = {
        name: any(asked.get(name, False) for asked in options)
        for name in ("every", "norms", "inputs", "embeddings", "first")
    }
    layers = [name for asked in options for name in asked.get("layers", ())]
    return {**merged, "layers": layers}
