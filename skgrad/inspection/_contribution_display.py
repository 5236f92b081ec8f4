"""What raised an alarm: the contributions to one input's score as bars."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np

from .._compat import Interval, validate_params
from ._contributions import ShapleyGame
from ._display import (
    COLORS,
    Display,
    check_matplotlib,
    check_names,
    label_asinh_axis,
)
from ._score_distribution import decides, decisions, detector_name
from ._split_detector import as_one_input, one_sample

# Percentiles of the grey bands.
_BAND = (5, 95)
# The largest rounding error of a threshold, in interquartile ranges.
_EXACT = 1e-6


@dataclass(kw_only=True, eq=False, repr=False)
class ContributionDisplay(Display):
    """What raised the alarm for one input: contributions to a detector's score.

    One bar per group of features, such as a layer, the largest first. Red bars to the
    right lowered the score of the input, blue ones to the left raised it. The grey band
    behind each holds the middle nine tenths of in-distribution inputs.

    Parameters
    ----------
    contributions : ndarray of shape (n_groups,)
        Contributions in interquartile ranges of the in-distribution scores, positive
        where they raised the alarm.
    groups : list of str
        Names of the groups.
    contributions_id : ndarray of shape (n_in_distribution, n_groups), default=None
        The same of in-distribution inputs, for the bands. None draws no bands.
    threshold : float, default=None
        Inputs are rejected whose contributions add up to more. None writes none.
    top_n : int, default=10
        Number of bars; all other groups are added up in one more.
    name : str, default=None
        Name of the detector, for the title.

    See Also
    --------
    score_contributions : The numbers, their meaning and their limits.

    Notes
    -----
    Bars are drawn on an asinh scale, linear near 0 and logarithmic far away, so their
    lengths do not add up; the numbers beside them do, to the total in the title.

    Examples
    --------
    >>> from skgrad.inspection import ContributionDisplay
    >>> display = ContributionDisplay(
    ...     contributions=[0.2, 5.1, -0.3], groups=["conv1", "conv2", "logits"]
    ... ).plot()
    >>> round(display.total, 6)
    5.0
    """

    contributions: np.ndarray
    groups: list
    contributions_id: np.ndarray | None = None
    threshold: float | None = None
    top_n: int = 10
    name: str | None = None

    def __post_init__(self):
        self.contributions = np.asarray(self.contributions)
        n_groups = len(self.contributions)
        self.groups = check_names(self.groups, "groups", n_groups, "contributions")

    @property
    def total(self):
        """How far the score lies below those of in-distribution inputs."""
        return float(np.sum(self.contributions))

    @classmethod
    @validate_params(
        {
            "n_band": [Interval(Integral, 0, None, closed="left")],
            "top_n": [Interval(Integral, 1, None, closed="left")],
            "n_permutations": [Interval(Integral, 1, None, closed="left")],
            "groups": [str, "array-like"],
            "random_state": ["random_state"],
        },
        prefer_skip_nested_validation=True,
    )
    def from_estimator(
        cls,
        estimator,
        x,
        X_test,
        *,
        groups="layer",
        n_permutations=50,
        n_band=50,
        top_n=10,
        random_state=None,
        ax=None,
        name=None,
    ):
        """Draw what raised the alarm for one input.

        Cost: that of `score_contributions` for ``1 + n_band`` inputs. The bands take
        most of the time, for a detector of 46 groups around a ResNet-18 a minute or
        more on one core.

        Parameters
        ----------
        estimator : estimator
            A fitted detector, as `score_contributions` takes it.
        x : array-like of shape input_shape or (1, *input_shape)
            The input.
        X_test : array-like of shape (n_in_distribution, *input_shape)
            In-distribution inputs, preferably not those that it was fitted on.
        groups : {"layer", "feature", "part"} or array-like of str, default="layer"
            What is explained as one, see `score_contributions`.
        n_permutations : int, default=50
            Number of in-distribution inputs that each input is compared with.
        n_band : int, default=50
            Number of in-distribution inputs behind the grey bands. 0 draws none.
        top_n : int, default=10
            Number of bars; all other groups are added up in one more.
        random_state : int, RandomState instance or None, default=None
            Draws in-distribution inputs and orders of the groups.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the detector; None takes that of its class.

        Returns
        -------
        ContributionDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        x = as_one_input(x, X_test)
        game = ShapleyGame.from_detector(
            estimator, X_test, n_permutations, random_state
        )
        values = game.detector.features(x, "x")
        found = game.explain(values, groups)
        of_band = None
        if n_band:
            # The last of the ranking, as inputs are compared with the first.
            rows = game.ranking[::-1][:n_band]
            of_band = game.explain(game.detector.values[rows], groups).contributions
        threshold = _score_threshold(estimator, x, X_test, game, values, found)
        if threshold is not None:
            threshold = float((found.reference_scores[0] - threshold) / found.spread)
        return cls(
            contributions=found.contributions[0],
            groups=found.groups,
            contributions_id=of_band,
            threshold=threshold,
            top_n=top_n,
            name=detector_name(estimator) if name is None else name,
        ).plot(ax)

    @property
    def size(self):
        """Width and height of a new figure in inches."""
        return 6.4, 1.8 + 0.3 * min(len(self.groups), self.top_n + 1)

    def _draw(self):
        ax = self.ax_
        labels, values, bands = self._bars()
        places = np.arange(len(labels))
        ax.set_xscale("asinh")
        if bands is not None:
            low, high = bands
            ax.barh(places, high - low, 0.9, low, color="0.85")
        colors = [COLORS["anomaly" if v > 0 else "in-distribution"] for v in values]
        bars = ax.barh(places, values, 0.5, color=colors)
        texts = [f"{v:+.2f}" if abs(v) < 1000 else f"{v:+.3g}" for v in values]
        ax.bar_label(bars, texts, padding=4, fontsize="small")
        # Room for the numbers, also where a bar or a band begins.
        ax.use_sticky_edges = False
        ax.margins(x=0.2)
        ax.axvline(0, color="black", linewidth=0.8)
        ax.set_yticks(places, labels)
        ax.invert_yaxis()
        label_asinh_axis(ax)
        label = "contribution to the alarm, in interquartile ranges\n"
        label += "of the in-distribution scores (asinh scale)"
        if bands is not None:
            label += "\ngrey: {} to {} % of in-distribution inputs".format(*_BAND)
        ax.set_xlabel(label)
        ax.set_title(self._title())

    def _bars(self):
        """Return labels, values and bands of the bars, the other groups as the last."""
        order = np.argsort(-np.abs(self.contributions), kind="stable")
        shown, others = np.split(order, [self.top_n])
        if len(others) == 1:  # its name takes no more room than "1 other"
            shown, others = order, order[:0]
        labels = [self.groups[i] for i in shown]
        members = [[i] for i in shown.tolist()]
        if len(others):
            labels.append(f"{len(others)} others")
            members.append(others.tolist())
        values = np.array([self.contributions[group].sum() for group in members])
        if self.contributions_id is None:
            return labels, values, None
        sums = [self.contributions_id[:, group].sum(axis=1) for group in members]
        return labels, values, np.percentile(sums, _BAND, axis=1)

    def _title(self):
        text = f"{self.total:.2f} in all"
        if self.threshold is not None:
            verdict = "rejected" if self.total > self.threshold else "accepted"
            text = f"{verdict}: {text}, rejected above {self.threshold:.2f}"
        return f"{self.name}\n{text}" if self.name else text


def _score_threshold(estimator, x, X_test, game, values, found):
    """Return the score below which inputs like x are rejected; None if none are."""
    if not decides(estimator):
        return None
    score, decision = found.scores[0], decisions(estimator, x)[0]
    if np.spacing(abs(score)) < _EXACT * found.spread and np.isfinite(decision):
        return score - decision
    # The score is so large that rounding would swallow the difference; that of an
    # in-distribution input is not.
    row = int(game.references(values)[0, 0])
    return game.scores[row] - decisions(estimator, one_sample(X_test, row))[0]
