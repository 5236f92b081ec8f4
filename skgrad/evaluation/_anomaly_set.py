"""Anomalies of one kind, and where they come from."""

from dataclasses import dataclass

import numpy as np

from .._labels import to_array
from .._messages import brief
from ..attacks import AttackResult
from ..torch_engine.samples import read_inputs


@dataclass(frozen=True)
class AnomalySet:
    """Anomalies of one kind, and which test inputs they were made from.

    Each parameter is an attribute of the same name.

    Parameters
    ----------
    X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
        The anomalies; a dictionary or tuple of several inputs.
    sources : array-like of int of shape (n_samples,), default=None
        Which row of ``X_test`` each was made from, such as the image that was
        attacked; none is tested where its source was fitted on. None for independent
        anomalies.
    success_rate : float, default=nan
        Share of the attacked inputs that became anomalies, for the record.
    seconds : float, default=nan
        Time that it took to make them, for the record.
    group : str, default="other"
        Name of the kinds that they are averaged with, such as "near data". Only you
        know whether other data lie near the in-distribution data or far from them.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.evaluation import AnomalySet
    >>> X_test = np.zeros((4, 2))
    >>> len(AnomalySet(X_test[[1, 3]] + 1, sources=[1, 3]).X)
    2
    """

    X: np.ndarray
    sources: np.ndarray | None = None
    success_rate: float = np.nan
    seconds: float = np.nan
    group: str = "other"

    def __post_init__(self):
        object.__setattr__(self, "X", read_inputs(self.X, "X"))
        if not isinstance(self.group, str) or not self.group:
            raise TypeError(
                'group must be a name, such as "near data", or "far data"; got '
                f"{brief(self.group)}."
            )
        if self.sources is None:
            return
        sources = to_array(self.sources, "sources")
        if sources.shape != (len(self.X),) or (
            len(sources) and sources.dtype.kind not in "iu"
        ):
            raise ValueError(
                f"sources must hold one row number per anomaly, {len(self.X)}; got "
                f"shape {sources.shape} of dtype {sources.dtype}."
            )
        object.__setattr__(self, "sources", sources.astype(np.intp))

    @classmethod
    def from_attack(cls, result, sources=None, *, group="other"):
        """Keep the adversarial inputs that reached the goal of an attack.

        Parameters
        ----------
        result : AttackResult
            What an attack returned.
        sources : array-like of int of shape (n_samples,), default=None
            Which row of ``X_test`` each attacked input was, also those whose attack
            failed. None if the attacked inputs are not in ``X_test``.
        group : str, default="other"
            Name of the kinds that they are averaged with, such as "strong attacks".

        Returns
        -------
        AnomalySet
            The successful ones.
        """
        hit = result.success
        return cls(
            result.X_adv[hit],
            None if sources is None else np.asarray(sources)[hit],
            success_rate=float(np.mean(hit)) if len(hit) else np.nan,
            group=group,
        )


def as_anomaly_sets(anomalies, n_test, label="anomalies[{!r}]"):
    """Check the anomalies that a user gave, and return sets by name.

    ``label`` is the format of what messages call one of them.
    """
    if not isinstance(anomalies, dict) or not anomalies:
        raise TypeError(
            "anomalies must be a dict of at least one name to inputs, such as "
            f"{{'uniform noise': X_noise}}; got {brief(anomalies)}."
        )
    sets = {}
    for name, given in anomalies.items():
        label_of = label.format(name)
        found = sets[str(name)] = _as_set(given, label_of)
        rows = found.sources
        if (
            rows is not None
            and len(rows)
            and not 0 <= rows.min() <= rows.max() < n_test
        ):
            raise ValueError(
                f"sources of {label_of} must be rows of X_test, 0 to {n_test - 1}; got "
                f"{rows.min()} to {rows.max()}."
            )
    return sets


def _as_set(given, name):
    if isinstance(given, AnomalySet):
        return given
    if isinstance(given, AttackResult):
        return AnomalySet.from_attack(given)
    return AnomalySet(read_inputs(given, name))
