"""Violins of zeta, of inputs in minima of the loss and others (paper B, Fig. 3)."""

from dataclasses import dataclass

import numpy as np

from .._messages import brief
from .._validation import check_classes, check_not_empty
from ..feature_extraction import predict_logits
from ..torch_engine.samples import read_array
from ._display import COLORS, COSINES, Display, check_matplotlib, check_numbers
from ._loss_alignment import loss_alignment

# Colours and offsets of the violins of correct and incorrect predictions.
_STYLES = {
    True: ("correctly", COLORS["in-distribution"], -0.2),
    False: ("incorrectly", COLORS["anomaly"], 0.2),
}


@dataclass(kw_only=True, eq=False, repr=False)
class LossAlignmentDisplay(Display):
    """How well descent of the loss leads back to inputs, from several distances.

    Violins of zeta, which `loss_alignment` computes at noisy copies of inputs: all
    values of at least 0 close by mean that an input lies in a local minimum of the loss
    towards its predicted class (paper B, Theorem 1). Inputs that are classified
    correctly and incorrectly have separate violins.

    Parameters
    ----------
    zeta : ndarray of shape (n_sigmas, n_inputs, n_injections)
        The cosines, in [-1, 1].
    correct : ndarray of bool of shape (n_inputs,)
        Whether each input is classified correctly.
    sigmas : ndarray of shape (n_sigmas,)
        Standard deviations of the noise, in units of the inputs.

    See Also
    --------
    loss_alignment : Computes zeta.
    LossLandscapeDisplay : The landscape around one input.

    Notes
    -----
    Each violin holds all noisy copies of all its inputs; the line in it is their
    median.

    References
    ----------
    Schwinn et al. (2021), "Identifying Untrustworthy Predictions in Neural Networks by
    Geometric Gradient Analysis", Theorem 1 and Fig. 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.inspection import LossAlignmentDisplay
    >>> zeta = np.random.default_rng(0).uniform(-1, 1, size=(2, 5, 20))
    >>> display = LossAlignmentDisplay(
    ...     zeta=zeta, correct=[True, True, True, False, False], sigmas=[0.1, 0.3]
    ... ).plot()
    >>> display.ax_.get_ylabel()[:4]
    'zeta'
    """

    _size = 6.4, 3.8

    zeta: np.ndarray
    correct: np.ndarray
    sigmas: np.ndarray

    def __post_init__(self):
        self.sigmas = _check_sigmas(self.sigmas)
        n_sigmas = len(self.sigmas)
        self._check("zeta", (n_sigmas, "n_inputs", "n_injections"), **COSINES)
        self._check("correct", (self.zeta.shape[1],), low=0, high=1, whole=True)
        self.correct = self.correct == 1

    @classmethod
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
            A classifier that returns logits (n_samples, n_classes). It is never
            changed.
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
            Where to compute; None is the model's own device. Another one works on a
            private copy.
        random_state : int, RandomState instance or None, default=None
            Draws the noise; an int draws the same for each sigma, up to its size.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LossAlignmentDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        sigmas = _check_sigmas(sigmas)
        X = read_array(X, "X")
        check_not_empty(X, "X", "inputs")
        options = {"batch_size": batch_size, "device": device}
        logits = predict_logits(model, X, **options)
        y = check_classes(y, len(X), "y", n_classes=logits.shape[1])
        predicted = logits.argmax(axis=1)
        options |= {"n_injections": n_injections, "random_state": random_state}
        zeta = [
            loss_alignment(model, X, predicted, sigma=sigma, **options)
            for sigma in sigmas.tolist()
        ]
        return cls(zeta=np.stack(zeta), correct=predicted == y, sigmas=sigmas).plot(ax)

    def _draw(self):
        ax, places, handles = self.ax_, np.arange(len(self.sigmas)), []
        both = len(np.unique(self.correct)) == 2
        for is_correct, (adverb, color, offset) in _STYLES.items():
            part = self.zeta[:, self.correct == is_correct]
            n_inputs = part.shape[1]
            if n_inputs:
                violin = _violins(ax, part, places + offset * both, color)
                count = f"{n_inputs} input{'s' if n_inputs > 1 else ''}"
                violin.set_label(f"classified {adverb} ({count})")
                handles.append(violin)
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


def _violins(ax, values, places, color):
    """Draw a violin per sigma, and return one of them for the legend."""
    drawn = ax.violinplot(
        [part.ravel() for part in values], places, widths=0.38, showmedians=True
    )
    for body in drawn["bodies"]:
        body.set_color(color)
    for line in ("cmedians", "cbars", "cmins", "cmaxes"):
        drawn[line].set_color(color)
    return drawn["bodies"][0]


def _check_sigmas(sigmas):
    sigmas = check_numbers(np.atleast_1d(sigmas), "sigmas", ("n_sigmas",))
    if (sigmas <= 0).any():
        raise ValueError(
            f"sigmas must hold standard deviations above 0; got {brief(sigmas)}."
        )
    return sigmas
