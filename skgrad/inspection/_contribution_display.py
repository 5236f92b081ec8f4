"""What raised an alarm: the contributions to one input's score as bars."""

from numbers import Integral

import numpy as np

from .._compat import Interval, validate_params
from .._messages import brief
from .._validation import to_array
from ._contributions import Game
from ._display import (
    COLORS,
    check_limit,
    check_matplotlib,
    check_numbers,
    take_axes,
)
from ._mixable import as_one_input, one_sample
from ._score_distribution import decisions, detector_name

# The band that holds what is usual.
_USUAL = (5, 95)
# Round numbers, those first that are wanted most, and how far apart they stand at
# least, in widths of the picture.
_TICKS = [0.0] + [
    sign * digit * 10.0**k
    for digit, powers in ((1, range(13)), (5, range(-1, 12)), (2, range(-1, 12)))
    for k in powers
    for sign in (1, -1)
]
_APART = 0.09
# How exact a threshold is at least, in interquartile ranges.
_EXACT = 1e-6
# The room that a digit takes beside a bar.
_ROOM = 0.035


class ContributionDisplay:
    """What raised the alarm for one input: contributions to a detector's score.

    One bar per group of features, such as a layer, the largest first. Red bars to the
    right lowered the score of the input, blue ones to the left raised it. The grey band
    behind each tells what is usual among in-distribution inputs.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    contributions : ndarray of shape (n_groups,)
        Contributions in interquartile ranges of the in-distribution scores, positive
        where they raised the alarm.
    names : list of str
        Names of the groups.
    usual : ndarray of shape (n_inputs, n_groups), default=None
        The same of in-distribution inputs. None draws no bands.
    alarm_at : float, default=None
        Inputs are rejected whose contributions add up to more. None tells none.
    top_n : int, default=10
        How many bars are drawn; all other groups are added up in one more.
    name : str, default=None
        Name of the detector, for the title.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    score_contributions : The numbers, what they mean and what they do not.
    NormProfileDisplay : The norms of an input's gradients over the layers.

    Notes
    -----
    The bands hold the middle nine tenths, 5 to 95 %. Bars are drawn on an asinh scale,
    linear near 0 and logarithmic far away, so their lengths do not add up; the numbers
    beside them do, to the total in the title.

    Cost: that of :func:`score_contributions` for ``1 + n_usual`` inputs. Of deep
    networks it is the bands that take time, a minute and more on one core for the
    recommended detector around a ResNet-18, with 46 groups; a smaller ``n_usual``, or
    0, is quick.

    Examples
    --------
    >>> from skgrad.inspection import ContributionDisplay
    >>> display = ContributionDisplay.from_predictions(
    ...     [0.2, 5.1, -0.3], ["conv1", "conv2", "logits"], alarm_at=1.7
    ... )
    >>> round(display.total, 6)
    5.0
    """

    def __init__(
        self,
        *,
        contributions,
        names,
        usual=None,
        alarm_at=None,
        top_n=10,
        name=None,
    ):
        self.contributions = contributions
        self.names = names
        self.usual = usual
        self.alarm_at = alarm_at
        self.top_n = top_n
        self.name = name

    @property
    def total(self):
        """How far the score lies below that of inputs alike, in the same units."""
        return float(np.sum(self.contributions))

    @classmethod
    @validate_params(
        {
            "n_usual": [Interval(Integral, 0, None, closed="left")],
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
        X_id,
        *,
        groups="layer",
        n_permutations=50,
        n_usual=50,
        top_n=10,
        random_state=None,
        ax=None,
        name=None,
    ):
        """Draw what raised the alarm for one input.

        Parameters
        ----------
        estimator : estimator
            A fitted pipeline that ends in a detector, or a detector over features, as
            :func:`score_contributions` takes them.
        x : array-like of shape input_shape or (1, *input_shape)
            The input.
        X_id : array-like of shape (n_in_distribution, *input_shape)
            In-distribution inputs, best ones that the estimator was not fitted on.
        groups : {"layer", "feature", "part"} or array-like of str, default="layer"
            What is explained as one, see :func:`score_contributions`.
        n_permutations : int, default=50
            Number of in-distribution inputs that each input is compared with.
        n_usual : int, default=50
            For how many in-distribution inputs the contributions are computed as well,
            to draw what is usual. 0 draws no bands.
        top_n : int, default=10
            How many bars are drawn; all other groups are added up in one more.
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
        x = as_one_input(x, X_id)
        game = Game.of(estimator, X_id, n_permutations, random_state)
        values = game.mixable.features(x, "x")
        found = game.explain(values, groups)
        usual = None
        if n_usual:
            # The last of the draws: the first are those that inputs are compared with.
            rows = game.ranking[::-1][:n_usual]
            usual = game.explain(game.mixable.values[rows], groups).contributions
        threshold = _threshold(estimator, x, X_id, game, values, found)
        return cls.from_predictions(
            found.contributions[0],
            found.groups,
            usual=usual,
            alarm_at=float((found.reference_scores[0] - threshold) / found.spread),
            top_n=top_n,
            ax=ax,
            name=detector_name(estimator) if name is None else name,
        )

    @classmethod
    def from_predictions(
        cls,
        contributions,
        names,
        *,
        usual=None,
        alarm_at=None,
        top_n=10,
        ax=None,
        name=None,
    ):
        """Draw contributions that are there already.

        Parameters
        ----------
        contributions : array-like of shape (n_groups,)
            Contributions, positive where they raised the alarm.
        names : array-like of str of shape (n_groups,)
            Names of the groups.
        usual : array-like of shape (n_inputs, n_groups), default=None
            Contributions of in-distribution inputs; None draws no bands.
        alarm_at : float, default=None
            Inputs are rejected whose contributions add up to more; None tells none.
        top_n : int, default=10
            How many bars are drawn; all other groups are added up in one more.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the detector.

        Returns
        -------
        ContributionDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_predictions")
        contributions = check_numbers(
            contributions, "contributions", n_axes=1, finite=True
        )
        names = [str(group) for group in to_array(names, "names").tolist()]
        if not names or len(names) != len(contributions):
            raise ValueError(
                "names must hold one name for each of the contributions, one or more; "
                f"got {len(names)} names for {len(contributions)} contributions."
            )
        if usual is not None:
            usual = check_numbers(usual, "usual", n_axes=2, finite=True)
            if not len(usual) or usual.shape[1] != len(names):
                raise ValueError(
                    "usual must hold one or more rows of one contribution for each of "
                    f"the {len(names)} names; got shape {usual.shape}."
                )
        if not isinstance(top_n, Integral) or top_n < 1:
            raise ValueError(
                f"top_n must be a number of bars, 1 or more; got {brief(top_n)}."
            )
        display = cls(
            contributions=contributions,
            names=names,
            usual=usual,
            alarm_at=check_limit(alarm_at, "alarm_at"),
            top_n=int(top_n),
            name=name,
        )
        return display.plot(ax)

    def plot(self, ax=None, *, name=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the detector; None takes the display's.

        Returns
        -------
        ContributionDisplay
            The display, with ``ax_`` and ``figure_``.
        """
        names, values, bands = self._bars()
        ax = take_axes(self, ax, figsize=(6.4, 1.8 + 0.3 * len(names)))
        places = np.arange(len(names))
        if bands is not None:
            low, high = np.arcsinh(bands)
            ax.barh(places, high - low, 0.9, low, color="0.85")
        colors = [COLORS["anomaly" if v > 0 else "in-distribution"] for v in values]
        ax.barh(places, np.arcsinh(values), 0.5, color=colors)
        ax.axvline(0, color="black", linewidth=0.8)
        _write_numbers(ax, values)
        ax.set_yticks(places, names)
        ax.invert_yaxis()
        _set_ticks(ax)
        label = "contribution to the alarm, in interquartile ranges\n"
        label += "of the in-distribution scores (asinh scale)"
        if bands is not None:
            label += "\ngrey: {} to {} % of in-distribution inputs".format(*_USUAL)
        ax.set_xlabel(label)
        ax.set_title(self._title(self.name if name is None else name))
        return self

    def _bars(self):
        """Return names, values and bands of the bars, what is left out in the last."""
        order = np.argsort(-np.abs(self.contributions), kind="stable")
        shown, others = np.split(order, [self.top_n])
        if len(others) == 1:  # its name takes no more room than "1 other"
            shown, others = order, order[:0]
        names = [self.names[i] for i in shown]
        groups = [[i] for i in shown.tolist()]
        if len(others):
            names.append(f"{len(others)} others")
            groups.append(others.tolist())
        values = np.array([self.contributions[group].sum() for group in groups])
        if self.usual is None:
            return names, values, None
        usual = [self.usual[:, group].sum(axis=1) for group in groups]
        return names, values, np.percentile(usual, _USUAL, axis=1)

    def _title(self, name):
        text = f"{self.total:.2f} in all"
        if self.alarm_at is not None:
            verdict = "rejected" if self.total > self.alarm_at else "accepted"
            text = f"{verdict}: {text}, rejected above {self.alarm_at:.2f}"
        return f"{name}\n{text}" if name else text


def _threshold(estimator, x, X_id, game, values, found):
    """Return the score below which inputs like x are rejected."""
    score, decision = found.scores[0], decisions(estimator, x)[0]
    if np.spacing(abs(score)) < _EXACT * found.spread and np.isfinite(decision):
        return score - decision
    # So far out the difference would be lost in rounding.
    row = int(game.references(values)[0, 0])
    return game.scores[row] - decisions(estimator, one_sample(X_id, row))[0]


def _write_numbers(ax, values):
    """Write each value beside its bar, and make room for it."""
    texts = [f"{v:+.2f}" if abs(v) < 1000 else f"{v:+.3g}" for v in values]
    for place, (value, text) in enumerate(zip(values, texts, strict=True)):
        ax.annotate(
            text,
            (np.arcsinh(value), place),
            xytext=(4 if value > 0 else -4, 0),
            textcoords="offset points",
            ha="left" if value > 0 else "right",
            va="center",
            fontsize="small",
        )
    low, high = ax.get_xlim()
    room = _ROOM * max(map(len, texts)) * (high - low)
    drawn = np.arcsinh(values)
    left = min(low, drawn.min() - room) if (values <= 0).any() else low
    right = max(high, drawn.max() + room) if (values > 0).any() else high
    ax.set_xlim(left, right)


def _set_ticks(ax):
    """Put ticks at round numbers, as many as have room."""
    low, high = ax.get_xlim()
    ticks: list[float] = []
    for tick in _TICKS:
        place = np.arcsinh(tick)
        distances = [abs(place - np.arcsinh(other)) for other in ticks]
        if low <= place <= high and min(distances, default=high) > _APART * (
            high - low
        ):
            ticks.append(tick)
    ax.set_xticks(np.arcsinh(ticks), [f"{tick:g}" for tick in ticks])
