"""Violins of zeta, of inputs in minima of the loss and others (paper B, Fig. 3)."""

from numbers import Integral

import numpy as np
import torch

from .._compat import Interval, validate_params
from .._messages import brief
from .._validation import check_classes, check_not_empty
from ..feature_extraction import LayerActivationTransformer
from ..torch_engine.samples import read_array
from ._display import check_matplotlib, check_numbers, take_axes
from ._loss_alignment import loss_alignment

# How violins of correct and incorrect predictions are told apart.
_KINDS = {True: ("correctly", "tab:blue", -0.2), False: ("incorrectly", "tab:red", 0.2)}


class LossAlignmentDisplay:
    """How well descent of the loss leads back to inputs, from ever farther away.

    Violins of zeta, which `loss_alignment` computes at noisy copies of inputs: all
    values of at least 0 close by mean that an input lies in a local minimum of the loss
    towards its predicted class (paper B, Theorem 1). Inputs that are classified
    correctly are shown apart from the others.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    zeta : ndarray of shape (n_sigmas, n_inputs, n_injections)
        The cosines, in [-1, 1].
    correct : ndarray of bool of shape (n_inputs,)
        Whether each input is classified correctly.
    sigmas : ndarray of shape (n_sigmas,)
        Standard deviations of the noise, in units of the inputs.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    loss_alignment : Computes zeta.
    LossLandscapeDisplay : The landscape around one input.

    Notes
    -----
    Each violin holds all noisy copies of all inputs of its kind; the line in it is
    their median.

    References
    ----------
    Schwinn et al. (2021), "Identifying Untrustworthy Predictions in Neural Networks by
    Geometric Gradient Analysis", Theorem 1 and Fig. 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.inspection import LossAlignmentDisplay
    >>> zeta = np.random.default_rng(0).uniform(-1, 1, size=(2, 5, 20))
    >>> display = LossAlignmentDisplay.from_predictions(
    ...     zeta, correct=[True, True, True, False, False], sigmas=[0.1, 0.3]
    ... )
    >>> display.ax_.get_ylabel()[:4]
    'zeta'
    """

    def __init__(self, *, zeta, correct, sigmas):
        self.zeta = zeta
        self.correct = correct
        self.sigmas = sigmas

    @classmethod
    @validate_params(
        {
            "model": "no_validation",  # the engine's message says more
            "X": "no_validation",
            "y": "no_validation",
            "sigmas": "no_validation",  # _checked_sigmas says more
            "n_injections": [Interval(Integral, 1, None, closed="left")],
            "batch_size": [Interval(Integral, 1, None, closed="left")],
            "device": [str, torch.device, None],
            "random_state": ["random_state"],
            "ax": "no_validation",
        },
        prefer_skip_nested_validation=True,
    )
    def from_estimator(
        cls,
        model,
        X,
        y,
        *,
        sigmas=(0.01, 0.1, 0.3),
        n_injections=100,
        batch_size=128,
        device=None,
        random_state=None,
        ax=None,
    ):
        """Compute zeta towards the predicted classes, and draw it.

        Cost: a forward and a backward pass for each injection, input and sigma.

        Parameters
        ----------
        model : torch.nn.Module or fitted skorch net
            A classifier that returns logits. It is never changed.
        X : array-like of shape (n_inputs, *input_shape)
            Inputs, a few dozen.
        y : array-like of int of shape (n_inputs,)
            Their true classes, by which predictions are correct or not.
        sigmas : array-like of float, default=(0.01, 0.1, 0.3)
            Standard deviations of the noise, in units of X.
        n_injections : int, default=100
            Noisy copies of each input for each sigma; the paper takes 1,000.
        batch_size : int, default=128
            Copies per pass.
        device : str or torch.device, default=None
            Where to compute. None is the model's own device.
        random_state : int, RandomState instance or None, default=None
            Draws the noise; an int draws the same for each sigma, but for its size.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LossAlignmentDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        sigmas = _checked_sigmas(sigmas)
        X = read_array(X, "X")
        check_not_empty(X, "X", "inputs")
        if y is None:
            raise ValueError(
                "y must hold the true classes of X, by which predictions are correct "
                "or not; got None."
            )
        y = None if y is None else check_classes(y, len(X), "y")
        where = {"batch_size": batch_size, "device": device}
        logits = LayerActivationTransformer(model, "logits", **where).fit_transform(X)
        predicted = np.asarray(logits).argmax(axis=1)
        n_classes = np.shape(logits)[1]
        if not 0 <= y.min() <= y.max() < n_classes:
            raise ValueError(
                f"y must hold classes of the model, integers from 0 to {n_classes - 1};"
                f" got {np.unique(y)[:5].tolist()}."
            )
        zeta = [
            loss_alignment(
                model,
                X,
                predicted,
                sigma=sigma,
                n_injections=n_injections,
                random_state=random_state,
                **where,
            )
            for sigma in sigmas.tolist()
        ]
        return cls.from_predictions(np.stack(zeta), predicted == y, sigmas, ax=ax)

    @classmethod
    def from_predictions(cls, zeta, correct, sigmas, *, ax=None):
        """Draw values of zeta that are there already.

        Parameters
        ----------
        zeta : array-like of shape (n_sigmas, n_inputs, n_injections)
            The cosines, as `loss_alignment` returns them for each sigma.
        correct : array-like of bool of shape (n_inputs,)
            Whether each input is classified correctly.
        sigmas : array-like of shape (n_sigmas,)
            Standard deviations of the noise.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LossAlignmentDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_predictions")
        sigmas = _checked_sigmas(sigmas)
        zeta = check_numbers(zeta, "zeta")
        if zeta.ndim != 3 or not zeta.size or len(zeta) != len(sigmas):
            raise ValueError(
                "zeta must be of shape (n_sigmas, n_inputs, n_injections), with "
                f"{len(sigmas)} sigmas and at least one input; got {zeta.shape}. Stack "
                "what loss_alignment returns for each sigma."
            )
        if np.abs(zeta).max() > 1.01:  # a little by rounding
            raise ValueError(
                "zeta must hold cosines from -1 to 1; got values from "
                f"{zeta.min():.4g} to {zeta.max():.4g}."
            )
        correct = check_numbers(correct, "correct")
        if correct.shape != zeta.shape[1:2] or not np.isin(correct, (0, 1)).all():
            raise ValueError(
                f"correct must hold True or False for each of the {zeta.shape[1]} "
                f"inputs; got shape {correct.shape}: {brief(correct)}."
            )
        return cls(zeta=zeta, correct=correct == 1, sigmas=sigmas).plot(ax)

    def plot(self, ax=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LossAlignmentDisplay
            The display, with ``ax_`` and ``figure_``.
        """
        ax = take_axes(self, ax, figsize=(6.4, 3.8))
        places = np.arange(len(self.sigmas))
        handles, alone = [], len(np.unique(self.correct)) == 1
        for is_correct, (name, colour, shift) in _KINDS.items():
            part = self.zeta[:, self.correct == is_correct]
            if part.shape[1]:
                handles.append(
                    _violins(ax, part, places + (0 if alone else shift), colour)
                )
                count = f"{part.shape[1]} input{'s' if part.shape[1] > 1 else ''}"
                handles[-1].set_label(f"classified {name} ({count})")
        ax.axhline(0, color="gray", linewidth=0.8)
        ax.set_xticks(places, [f"{sigma:g}" for sigma in self.sigmas])
        ax.set_xlabel("standard deviation of the noise, in units of the inputs")
        ax.set_ylabel("zeta (above 0: descent leads back)")
        ax.legend(
            handles=handles,
            frameon=False,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=2,
        )
        return self


def _violins(ax, values, places, colour):
    """Draw a violin per sigma, and return one of them for the legend."""
    drawn = ax.violinplot(
        [part.ravel() for part in values], places, widths=0.38, showmedians=True
    )
    for body in drawn["bodies"]:
        body.set_color(colour)
    for line in ("cmedians", "cbars", "cmins", "cmaxes"):
        drawn[line].set_color(colour)
    return drawn["bodies"][0]


def _checked_sigmas(sigmas):
    sigmas = np.atleast_1d(check_numbers(sigmas, "sigmas"))
    if (
        sigmas.ndim != 1
        or not len(sigmas)
        or not (np.isfinite(sigmas) & (sigmas > 0)).all()
    ):
        raise ValueError(
            "sigmas must hold standard deviations, finite and above 0, one or more; "
            f"got {brief(sigmas)}."
        )
    return sigmas
