"""What a guard says about inputs."""

import math
from dataclasses import dataclass, fields

import numpy as np

from .._optional import import_package

# Rows that a representation shows.
_SHOWN = 5


# Without eq, because arrays have no truth value by which to compare two of them.
@dataclass(frozen=True, eq=False, repr=False)
class Judgement:
    """One answer per input, as columns with a row for each input.

    Parameters
    ----------
    predicted : ndarray of shape (n_samples,)
        The class that the network predicts, by name if the guard has names, whether it
        is trusted or not. The reject label for an input that the network cannot take.
    probability : ndarray of float64 of shape (n_samples,)
        The softmax probability of that class, NaN for such an input.
    score : ndarray of float64 of shape (n_samples,)
        The score of the detector: the lower, the more anomalous.
    p_value : ndarray of float64 of shape (n_samples,)
        The conformal p-value, in [0, 1]: how likely is a score as low for an
        in-distribution input.
    trust : ndarray of bool of shape (n_samples,)
        Whether the prediction deserves trust, at the chosen rate of false alarms.

    See Also
    --------
    GuardedClassifier.judge : Makes it.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.guard import Judgement
    >>> Judgement(
    ...     predicted=np.array(["cat", "dog"]),
    ...     probability=np.array([0.98, 0.61]),
    ...     score=np.array([-1.5, -9.0]),
    ...     p_value=np.array([0.62, 0.01]),
    ...     trust=np.array([True, False]),
    ... )
    Judgement of 2 inputs, 1 trusted
    predicted  probability  score  p_value  trust
          cat         0.98   -1.5     0.62   True
          dog         0.61     -9     0.01  False
    """

    predicted: np.ndarray
    probability: np.ndarray
    score: np.ndarray
    p_value: np.ndarray
    trust: np.ndarray

    def __len__(self):
        return len(self.trust)

    def __repr__(self):
        kind = "input" if len(self) == 1 else "inputs"
        title = f"Judgement of {len(self)} {kind}, {np.sum(self.trust)} trusted"
        columns = self._columns()
        table = [
            [name, *map(_short, column[:_SHOWN].tolist())]
            for name, column in columns.items()
        ]
        widths = [max(map(len, column)) for column in table]
        lines = [
            "  ".join(
                cell.rjust(width) for cell, width in zip(row, widths, strict=True)
            )
            for row in zip(*table, strict=True)
        ]
        return "\n".join([title, *lines, *(["..."] if len(self) > _SHOWN else [])])

    def to_pandas(self):
        """Return the columns as a data frame.

        Returns
        -------
        DataFrame of shape (n_samples, 5)
            The columns by their names, with the inputs in their order.
        """
        pandas = import_package("pandas", "to_pandas needs", "report")
        return pandas.DataFrame(self._columns())

    def to_dicts(self):
        """Return a dict for each input, of what JSON takes.

        Returns
        -------
        list of dict
            The columns by their names, as words, numbers and truth values of Python.
            Numbers that are not finite are None.
        """
        columns = self._columns()
        values = [map(_as_json, column.tolist()) for column in columns.values()]
        rows = zip(*values, strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _columns(self):
        return {field.name: getattr(self, field.name) for field in fields(self)}


def spread_out(judged, rows, reject_label):
    """Return a judgement of all inputs, of which those in a mask have been judged.

    The others are rejected. ``judged`` is None if the mask has none.
    """
    n_samples = len(rows)
    everything = Judgement(
        predicted=np.full(n_samples, reject_label),
        probability=np.full(n_samples, np.nan),
        score=np.full(n_samples, -np.inf),
        p_value=np.zeros(n_samples),
        trust=np.zeros(n_samples, dtype=bool),
    )
    if judged is None:
        return everything
    columns = {}
    for name, column in everything._columns().items():
        found = getattr(judged, name)
        # Words of the one may be longer than those of the other.
        columns[name] = column.astype(np.result_type(column, found))
        columns[name][rows] = found
    return Judgement(**columns)


def _as_json(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(value):
    return f"{value:.3g}" if isinstance(value, float) else str(value)
