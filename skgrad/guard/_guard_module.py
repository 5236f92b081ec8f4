"""A guard as one torch module, from inputs to answers."""

import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from .._messages import brief, call_it, listed
from .._several import Several, entries_of
from .._unwrap import find_outermost, steps_of
from ..detectors._decision import BaseDecision
from ..detectors._scores import is_estimator
from ..feature_extraction import (
    LayerActivationTransformer,
    NetworkFeatures,
    StabilityTransformer,
)
from ..feature_extraction._base import BaseModelTransformer
from ..torch_engine.model_state import model_dtype
from ._feature_modules import FAMILIES, Features
from ._p_value_modules import Decision
from ._score_modules import score_module


class GuardModule(nn.Module):
    """A fitted guard or detector as one torch module.

    Network, features, score, threshold and p-values are one computation of torch: it
    stays on the device where the module is, can be exported, and needs nothing of
    scikit-learn. :func:`skgrad.export` writes it to a file.

    Parameters
    ----------
    guard : GuardedClassifier or Pipeline
        A fitted guard, or a fitted pipeline that begins with a transformer of skgrad
        around the network and ends in a novelty detector of skgrad. All parts must
        have such a form, see Notes.

    Raises
    ------
    TypeError
        If a part of the guard has no such form; the message names it.

    See Also
    --------
    skgrad.export : Write it to a file.

    Notes
    -----
    Of the transformers `LayerActivationTransformer`, `StabilityTransformer` and
    `NetworkFeatures` with their families have such a form. After them these have one:
    `Energy`, `MaxLogit`, `MaxSoftmaxProbability`, `GEN`, `FDBD`, `StableConfidence`,
    `ConfidenceDrop`, `ClassConditionalGaussian`, `PerClassSVDD`, `CombinedDetector` and
    `ConformalDetector` of these, and :class:`~sklearn.preprocessing.StandardScaler`.
    What takes gradients has none.

    It holds the guard as it was, with a copy of the network in evaluation mode: what
    happens to either of them later has no effect.

    Scores and p-values are computed in float64, which some devices lack. They are those
    of the guard up to rounding. Where rounding moves a score past one of m calibration
    scores, its p-value is another by 1 / (m + 1).

    Cost: the passes of the features. Each Gaussian copies the matrix of each input's
    class, at most 1 MB per input at a time.

    Examples
    --------
    >>> import torch
    >>> from skgrad import GuardedClassifier
    >>> from skgrad.guard import GuardModule
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.randn(200, 4)
    >>> guard = GuardedClassifier(model, random_state=0).fit(X)
    >>> logits, score, p_value, trust = GuardModule(guard)(torch.full((1, 4), 50.0))
    >>> logits.shape, bool(p_value < 0.05), bool(trust)
    (torch.Size([1, 3]), True, False)
    """

    def __init__(self, guard):
        super().__init__()
        first, *between, last = _checked_steps(guard)
        shape = first.input_shape_
        self.keys = list(shape) if isinstance(shape, dict) else None
        self.integers = first.integer_inputs_
        self.features = Features(first)
        self.before = nn.Sequential(*map(score_module, between))
        self.score = score_module(last)
        # The outermost detector decides, whatever is inside.
        decision = find_outermost(guard, BaseDecision)
        if decision is None:
            raise TypeError(_what_is_due(guard))
        self.decision = Decision(decision, self.score)
        self.eval()

    def train(self, mode=True):
        """Stay in evaluation mode, as part of something that is trained as well.

        Parameters
        ----------
        mode : bool, default=True
            Without effect.

        Returns
        -------
        self : object
            The module.
        """
        return super().train(False)

    def forward(self, *inputs):
        """Judge a batch of inputs.

        Parameters
        ----------
        *inputs : Tensor of shape (n_samples, *input_shape)
            What the network takes, on the device of the module; several inputs in the
            order in which `fit` got them.

        Returns
        -------
        logits : Tensor of shape (n_samples, n_classes)
            The logits of the network.
        score : Tensor of float64 of shape (n_samples,)
            The score of the detector: the lower, the more anomalous.
        p_value : Tensor of float64 of shape (n_samples,)
            The conformal p-value, in [0, 1].
        trust : Tensor of bool of shape (n_samples,)
            Whether the prediction deserves trust. It does not for an input that holds
            NaN or infinity, or for which a layer returns such: the p-value of that
            input is 0, its score -inf, and its logits are NaN.
        """
        finite, x = _made_finite(self._as_batch(inputs))
        logits, features = self.features(x)
        finite = finite & _finite_rows(logits) & _finite_rows(features)
        X = self.before(features).double()
        score = self.score(X)
        p_value, passes = self.decision(score, X)
        return (
            torch.where(finite[:, None], logits, torch.nan),
            torch.where(finite, score, -torch.inf),
            torch.where(finite, p_value, 0.0),
            finite & passes,
        )

    def _as_batch(self, inputs):
        n_inputs = 1 if self.keys is None else len(self.keys)
        if len(inputs) != n_inputs:
            due = "one tensor"
            if self.keys:
                due = f"{n_inputs} tensors, in the order {listed(self.keys)}"
            raise TypeError(f"inputs must be {due}; got {len(inputs)}.")
        dtype = model_dtype(self.features.network)
        if self.keys is None:
            (x,) = inputs
            return x if self.integers else x.to(dtype)
        exact = self.integers or dict.fromkeys(self.keys, False)
        named = zip(self.keys, inputs, strict=True)
        return Several({key: e if exact[key] else e.to(dtype) for key, e in named})


# Inputs that cannot be judged


def _finite_rows(values):
    return values.isfinite().reshape(values.shape[0], -1).all(dim=1)


def _made_finite(x):
    """Return which samples are finite, and the inputs with zeros in place of others."""
    entries = entries_of(x)
    floats = {key: e for key, e in entries.items() if e.is_floating_point()}
    finite = torch.ones(x.shape[0], dtype=torch.bool, device=x.device)
    for entry in floats.values():
        finite = finite & _finite_rows(entry)
    for key, entry in floats.items():
        rows = finite.reshape(-1, *[1] * (entry.ndim - 1))
        entries = {**entries, key: torch.where(rows, entry, 0.0)}
    return finite, Several(entries) if isinstance(x, Several) else entries[""]


# What a guard is made of


def _checked_steps(guard):
    """Return the estimators that inputs pass; raise if the first one has no form."""
    if not is_estimator(guard):
        raise TypeError(_what_is_due(guard))
    check_is_fitted(guard)
    steps = steps_of(guard)
    first = steps[0]
    if not isinstance(first, BaseModelTransformer) or len(steps) < 2:
        raise TypeError(_what_is_due(guard))
    check_is_fitted(first, "n_classes_")
    kinds = (LayerActivationTransformer, StabilityTransformer, NetworkFeatures)
    families = [type(family) for family in first._families.values()]
    others = [kind.__name__ for kind in families if kind not in FAMILIES]
    if type(first) not in kinds or others:
        raise TypeError(
            "guard must take its features from forward passes; "
            f"{listed(others) if others else type(first).__name__} takes gradients or "
            "has no exported form. The nearest detectors that have one are "
            "skgrad.make_recommended_detector(model), with effort 'medium' or 'low', "
            "and skgrad.make_uniform_detector(model, layers)."
        )
    return steps


def _what_is_due(guard):
    return (
        "guard must be a fitted GuardedClassifier, or a fitted pipeline that begins "
        "with a transformer of skgrad around the network and ends in a novelty "
        f"detector of skgrad; got {brief(guard)}.{call_it(guard)}"
    )
