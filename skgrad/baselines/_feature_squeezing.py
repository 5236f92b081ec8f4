"""Feature squeezing: how far a prediction changes with coarser inputs."""

from numbers import Integral

import torch
from scipy.ndimage import median_filter

from .._bounds import check_bounds, check_within
from .._compat import Interval
from .._several import call, floats_of, with_floats
from ..detectors._decision import take
from ..torch_engine.model_state import as_logits, at_least_float32
from ..torch_engine.scaling import widest_float
from ._base import BaseModelDetector


class FeatureSqueezing(BaseModelDetector):
    r"""Distance between the predictions for an input and for coarser versions of it.

    Squeezers s, fewer colours or a median over neighbouring pixels, remove adversarial
    perturbations and change the prediction for an in-distribution input little. With p
    the softmax of the logits, the score is

    .. math:: - \max_s \lVert p(x) - p(s(x)) \rVert_1,

    between -2 and 0, higher = more in-distribution. It is the negative of the paper's.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    bit_depth : int, default=1
        Every value is rounded to one of ``2 ** bit_depth`` levels, spread evenly over
        the bounds; None omits this squeezer. The paper uses 1 for MNIST, else 5.
    median_size : int, default=2
        Width of the window whose median replaces a value, over the last two axes of
        images and the last one, time, of other samples; None, for rows whose columns
        have no order, omits this squeezer. The paper uses 2.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        The lowest and highest value of in-distribution inputs, as the model takes
        them; arrays broadcast to one sample, such as ``(n_channels, 1, 1)``. `fit`
        raises for inputs beyond; later ones are clipped.
    input_shape : array-like of int, default=None
        Shape of one sample, when X comes as 2-D rows.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    verbose : bool or int, default=False
        Whether to show a progress bar.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the samples held out to place the threshold.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples.

    Attributes
    ----------
    calibration_scores_ : ndarray of shape (n_held_out,)
        Scores of the held-out samples.
    offset_ : float
        The threshold: lower scores are rejected.
    n_classes_ : int
        Number of logits of the model.
    input_shape_ : tuple of int
        Shape of one sample as the model takes it; of several inputs, a dict.
    integer_inputs_ : bool or dict of bool
        Whether whole numbers in X reach the model as integers, not as floats. Of
        several inputs a dict may say so of each, by its name.
    n_features_in_ : int
        Length of the second axis of X.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    Notes
    -----
    Cost: one forward pass, and one per squeezer. The median is SciPy's, with mirrored
    borders as in the paper, and is computed on the CPU. The paper's third squeezer,
    non-local means, is not there.

    References
    ----------
    Xu, Evans, Qi (2018), "Feature Squeezing: Detecting Adversarial Examples in Deep
    Neural Networks", Sec. 3 (squeezers), Sec. 5 (detection by the largest distance).

    Examples
    --------
    >>> import torch
    >>> from skgrad.baselines import FeatureSqueezing
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.rand(100, 4)
    >>> detector = FeatureSqueezing(model, bit_depth=3, median_size=None)
    >>> detector.fit(X).score_samples(X).shape
    (100,)
    """

    _parameter_constraints: dict = {
        **BaseModelDetector._parameter_constraints,
        # float32 represents integers of 24 bits exactly.
        "bit_depth": [Interval(Integral, 1, 24, closed="both"), None],
        "median_size": [Interval(Integral, 2, None, closed="left"), None],
        "bounds": "no_validation",  # the attacks' message says more
    }

    def __init__(
        self,
        model,
        *,
        bit_depth=1,
        median_size=2,
        bounds=(0.0, 1.0),
        input_shape=None,
        batch_size=128,
        device=None,
        verbose=False,
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
    ):
        self.model = model
        self.bit_depth = bit_depth
        self.median_size = median_size
        self.bounds = bounds
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.device = device
        self.verbose = verbose
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    _without_floats = "Leave this detector out: it is made for images and series."

    def _changes_inputs(self):
        return True

    def _check_rows(self, module, X, rows):
        if self.bit_depth is None and self.median_size is None:
            raise ValueError(
                "bit_depth or median_size must be set: without both there is no "
                "squeezer."
            )

        def check(batch):
            floats = floats_of(batch)
            check_within(floats, *self._limits(floats))
            return floats.new_zeros(len(batch))

        self._map(check, module, take(X, rows))

    def _features(self, module, batch):
        squeezed, floats = [], floats_of(batch)
        if self.bit_depth is not None:
            low, high = self._limits(floats)
            squeezed.append(_round(floats, low, high, self.bit_depth))
        if self.median_size is not None:
            squeezed.append(_median(floats, self.median_size))
        p = _probabilities(module, batch)
        changed = (with_floats(batch, s) for s in squeezed)
        distances = [_distance(p, _probabilities(module, x)) for x in changed]
        # Turned: a large distance is anomalous.
        return -torch.stack(distances).amax(dim=0)

    def _limits(self, floats):
        place = {"device": floats.device, "dtype": floats.dtype}
        return check_bounds(self.bounds, tuple(floats.shape[1:]), place)


def _probabilities(module, batch):
    # A copy: a model may work in place, and the batch is needed again.
    logits = as_logits(call(module, batch.clone()), len(batch))
    return logits.to(widest_float(logits.device)).softmax(dim=1)


def _distance(p, q):
    """Return the L1 distance between rows of probabilities.

    The change of the largest one, which has lost its digits near 1, is computed as the
    opposite of the sum of the others, since both rows sum to 1.
    """
    change = (p - q).scatter(1, p.argmax(dim=1, keepdim=True), 0.0)
    return change.abs().sum(dim=1) + change.sum(dim=1).abs()


def _round(batch, low, high, bits):
    """Round to 2 ** bits levels, spread evenly from low to high."""
    most = 2**bits - 1
    # float16 cannot represent numbers as large as the levels of 16 bits.
    share = at_least_float32((batch - low) / (high - low)).clamp(0, 1)
    return low + (high - low) * ((share * most).round() / most).to(batch.dtype)


def _median(batch, size):
    """Smooth the last two axes of images, the last one of anything else."""
    array = at_least_float32(batch).cpu().numpy()
    n_axes = 2 if array.ndim > 3 else 1
    window = (1,) * (array.ndim - n_axes) + (size,) * n_axes
    return torch.from_numpy(median_filter(array, size=window, mode="reflect")).to(batch)
