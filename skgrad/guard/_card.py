"""What a fitted guard or detector says of itself: network, data, rates, versions."""

import json
from dataclasses import asdict, dataclass
from html import escape
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from .. import __version__
from .._messages import brief
from .._unwrap import find_outermost
from ..detectors._conformal import score_of_rank, threshold_rank
from ..detectors._decision import BaseDecision

_PACKAGES = "torch", "scikit-learn", "numpy", "skops"


@dataclass(frozen=True, repr=False)
class Card:
    """Facts about a guard or detector, for whoever finds it as a file.

    Parameters
    ----------
    estimator : str
        Name of its class.
    networks : list of dict
        The ``class``, ``n_parameters`` and ``fingerprint`` of each network.
    n_fit : int or None
        How many inputs it was fitted on; None if that is not known.
    n_calibration : int or None
        How many other in-distribution inputs placed threshold and p-values.
    promised_fpr : float or None
        Share of in-distribution inputs that the threshold rejects at most, on average
        over calibration sets. None if it promises none.
    measured_fpr : float or None
        Share of the calibration inputs that it rejects. They placed it, so new inputs
        may be rejected more often.
    note : str
        Why a rate is None, or another than ``target_fpr``; else empty.
    versions : dict
        Versions of skgrad and what it computes with, as of ``saved``, else of now.
    saved : str or None
        When the file was written, in ISO 8601, UTC. None for what is in no file, or
        has been fitted or calibrated since.

    See Also
    --------
    skgrad.read_card : Read it from a file.
    GuardedClassifier : Has it as ``card_``, and shows it in notebooks.

    Examples
    --------
    >>> import torch
    >>> from skgrad import GuardedClassifier
    >>> _ = torch.manual_seed(0)
    >>> guard = GuardedClassifier(torch.nn.Linear(4, 3), random_state=0)
    >>> card = guard.fit(torch.randn(200, 4)).card_
    >>> card.n_fit, card.n_calibration, card.promised_fpr, card.measured_fpr
    (160, 40, 0.05, 0.025)
    """

    estimator: str
    networks: list
    n_fit: int | None
    n_calibration: int | None
    promised_fpr: float | None
    measured_fpr: float | None
    note: str
    versions: dict
    saved: str | None

    def __repr__(self):
        return "\n".join(f"{name:<14}{value}" for name, value in self._rows())

    def _repr_html_(self):
        left = "style='text-align: left'"
        rows = (
            f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(value)}</td></tr>"
            for name, value in self._rows()
        )
        return f"<table>{''.join(rows)}</table>"

    def to_json(self):
        """Return the card as JSON text.

        Returns
        -------
        str
            The fields by their names.
        """
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text):
        """Return the card that `to_json` wrote.

        Parameters
        ----------
        text : str
            The JSON text.

        Returns
        -------
        Card
            An equal one.

        Raises
        ------
        ValueError
            If the text is not that of a card.
        """
        try:
            card = cls(**json.loads(text))
            repr(card)  # fails where a field holds something else
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"text must be what Card.to_json returned; got {brief(text)} "
                f"({type(error).__name__}: {brief(str(error))})."
            ) from error
        return card

    def _rows(self):
        networks = [
            f"{one['class']}, {one['n_parameters']:,} parameters, {one['fingerprint']}"
            for one in self.networks
        ]
        promised = _share(
            self.promised_fpr, "in-distribution inputs rejected, on average"
        )
        measured = _share(self.measured_fpr, "the calibration inputs rejected")
        return [
            ("card of", str(self.estimator)),
            *(("network", network) for network in networks),
            ("fitted on", _count(self.n_fit)),
            ("calibrated on", _count(self.n_calibration)),
            ("promised", promised),
            ("measured", measured),
            *([("note", str(self.note))] if self.note else []),
            ("versions", ", ".join(f"{n} {v}" for n, v in self.versions.items())),
            ("saved", str(self.saved or "not since the last fit or calibration")),
        ]


def make_card(estimator, networks, saved=None):
    """Return the card of an estimator with these networks, each as its identity.

    ``saved`` is the date and the versions of the file that it is in.
    """
    decision = find_outermost(estimator, BaseDecision)
    promised, measured, note = _rates(decision, type(estimator).__name__)
    scores = getattr(decision, "calibration_scores_", None)
    date, versions = saved or (None, present_versions())
    return Card(
        estimator=type(estimator).__name__,
        networks=networks,
        n_fit=getattr(decision, "_n_fit", None),
        n_calibration=None if scores is None else len(scores),
        promised_fpr=promised,
        measured_fpr=measured,
        note=note,
        versions=versions,
        saved=date,
    )


def present_versions():
    """Return the versions of skgrad and of what it computes with, where installed."""
    versions = {"skgrad": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # skops is optional
            continue
    return versions


def _rates(decision, name):
    """Return the promised and the measured rate, and what is to be said of them."""
    if decision is None:
        return None, None, f"{name} holds no inputs out to place a threshold by"
    if not hasattr(decision, "calibration_scores_"):
        return None, None, "it is not fitted"
    scores, rate = decision.calibration_scores_, decision.target_fpr
    margins = decision._margins(scores, decision._calibration_classes)
    measured, rank = float(np.mean(margins < 0)), threshold_rank(len(scores), rate)
    if decision.offset_ != score_of_rank(scores, rank):
        return None, measured, f"the threshold is not that of target_fpr={rate}"
    if rank == 0:
        few = f"too few calibration inputs for target_fpr={rate}"
        return 1 / (len(scores) + 1), measured, few
    return rate, measured, ""


def _share(rate, whose):
    return "no rate" if rate is None else f"{100 * rate:.3g} % of {whose}"


def _count(number):
    return "unknown" if number is None else f"{number:,} inputs"
