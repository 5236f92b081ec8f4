"""A network and a detector of its mistakes as one classifier."""

from numbers import Integral, Real

import numpy as np
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from .._compat import Interval, fit_context
from .._finite import NotFiniteError
from .._messages import listed, warn
from .._rollback import restored_on_error
from ..detectors._blocks import find_blocks, has_block
from ..detectors._decision import take
from ..feature_extraction import LayerActivationTransformer
from ..feature_extraction._base import BaseModelTransformer
from ..feature_extraction._model_estimator import BaseModelEstimator
from ..torch_engine.activations import LOGITS
from ..torch_engine.fingerprint import network_identity
from ..torch_engine.model_state import unwrap_model
from ._card import make_card
from ._checks import (
    check_known,
    class_names,
    in_distribution,
    label_of_rejects,
    new_detector,
)
from ._detection import DetectionMixin, before_last
from ._judgement import Judgement, spread_out


class GuardedClassifier(ClassifierMixin, DetectionMixin, BaseModelEstimator):
    """A network that says of each input its class and whether to trust it.

    A detector decides beside the network. `judge` gives class, probability, score,
    p-value and trust of each input from one pass; `predict` gives the class, or
    ``reject_label`` where the prediction deserves no trust.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    detector : Pipeline, default=None
        Begins with a transformer of skgrad around the same model and ends in a novelty
        detector of skgrad; cloned and fitted. None is that of
        :func:`skgrad.make_recommended_detector`.
    classes : array-like of str or int of shape (n_classes,), default=None
        Names of the classes in the order of the logits. None numbers them from 0.
    reject_label : str or int, default=None
        What `predict` returns in place of a class that deserves no trust; no class has
        it. None is -1, or "rejected" if the classes are words.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected. It replaces that of the
        detector.
    input_shape, batch_size, num_workers, n_jobs, device, memory, verbose : optional
        As in :class:`skgrad.LayerActivationTransformer`, for the recommended detector;
        the transformer of a given one has its own.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples, and the seeds of a given detector that are None.

    Attributes
    ----------
    detector_ : Pipeline
        The fitted detector.
    classes_ : ndarray of shape (n_classes,)
        The classes, in the order of the logits.
    reject_label_ : str or int
        What `predict` returns for an input that it does not trust.
    card_ : Card
        Network, sizes of the data, rates and versions; `skgrad.save` writes it into the
        file. Hashes the network each time.
    calibration_scores_ : ndarray of float64
        Scores of the in-distribution inputs that place threshold and p-values.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Length of the second axis of X, and its names if X was a data frame.

    See Also
    --------
    skgrad.make_recommended_detector : The detector alone, +1 and -1.

    Notes
    -----
    Cost: the passes of the detector's features, for all answers of one call together.
    Class and probability are read from the logits among the features; a detector whose
    features hold none, as that of paper B, takes one more forward pass.

    ``decision_function`` and ``score_samples`` are those of the detector, so
    scikit-learn's scorers that ask for the first, such as "roc_auc" for two classes,
    judge trust and not classes. "accuracy" counts a rejected input as an error.

    Examples
    --------
    >>> import torch
    >>> from skgrad.guard import GuardedClassifier
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(4, 3), torch.randn(200, 4)
    >>> guard = GuardedClassifier(model, classes=["a", "b", "c"], random_state=0)
    >>> guard.fit(X).judge(torch.full((1, 4), 50.0)).trust.tolist()
    [False]
    >>> guard.predict(torch.full((1, 4), 50.0)).tolist()
    ['rejected']
    """

    # The attribute that `skgrad._unwrap` looks into.
    _wrapped = "detector_"
    _parameter_constraints: dict = {
        **BaseModelTransformer._parameter_constraints,
        "detector": "no_validation",  # by new_detector
        "classes": ["array-like", None],
        "reject_label": [str, Integral, None],
        "target_fpr": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        model,
        detector=None,
        *,
        classes=None,
        reject_label=None,
        target_fpr=0.05,
        input_shape=None,
        batch_size=128,
        num_workers=0,
        n_jobs=None,
        device=None,
        memory=None,
        verbose=False,
        random_state=None,
    ):
        self.model = model
        self.detector = detector
        self.classes = classes
        self.reject_label = reject_label
        self.target_fpr = target_fpr
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.n_jobs = n_jobs
        self.device = device
        self.memory = memory
        self.verbose = verbose
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    def get_params(self, deep=True):
        """Get the parameters, those of the detector as ``detector__<parameter>``.

        Parameters
        ----------
        deep : bool, default=True
            Whether to go into the detector; never into the network.

        Returns
        -------
        dict
            Parameters and their values.
        """
        params = super().get_params()
        if deep and hasattr(self.detector, "steps"):
            inside = self.detector.get_params().items()
            params |= {f"detector__{name}": value for name, value in inside}
        return params

    # A detector inside another one validates its own parameters.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Fit the detector on in-distribution inputs; the network stays as it is.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            In-distribution inputs that the network was not trained on.
        y : array-like of shape (n_samples,), default=None
            Their true classes, which are compared with ``classes`` and not learnt
            from. Or, as for detectors, +1 and -1 for anomalies, which are left out.

        Returns
        -------
        self : object
            The fitted guard.
        """
        with restored_on_error(self):
            self._fit(X, y)
        return self

    def _fit(self, X, y):
        names = class_names(self.classes)
        X, labels = in_distribution(X, y, names)
        detector = new_detector(self).fit(X)
        first = detector[0]
        if names is not None and len(names) != first.n_classes_:
            raise ValueError(
                f"classes must name each of the {first.n_classes_} logits of the "
                f"model, in their order; got {len(names)} names."
            )
        self.classes_ = np.arange(first.n_classes_) if names is None else names
        self.reject_label_ = label_of_rejects(self.reject_label, self.classes_)
        check_known(labels, self.classes_)
        columns = first.get_feature_names_out()
        self._logits = self._of_logits = None
        if has_block(columns, LOGITS):
            blocks, logits = find_blocks(len(columns), columns, None)
            self._logits = blocks[logits]
        else:
            taken = "input_shape", "batch_size", "num_workers", "n_jobs", "device"
            options = {name: getattr(first, name) for name in taken}
            self._of_logits = LayerActivationTransformer(self.model, LOGITS, **options)
            self._of_logits.fit(X)
        self.detector_ = detector
        self._saved = None

    @property
    def card_(self):
        check_is_fitted(self, "detector_")
        network = network_identity(unwrap_model(self.model))
        return make_card(self, [network], self._saved)

    # What notebooks show: the diagram of scikit-learn, and the card below it.

    @property
    def _repr_html_(self):
        diagram = super()._repr_html_  # AttributeError if sklearn is set to show text
        return lambda: diagram() + self._card_html()

    def _repr_mimebundle_(self, **options):
        bundle = super()._repr_mimebundle_(**options)
        if "text/html" in bundle:
            bundle["text/html"] += self._card_html()
        return bundle

    def _card_html(self):
        return self.card_._repr_html_() if hasattr(self, "detector_") else ""

    def judge(self, X):
        """Say of each input its class and whether to trust it.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, as in `fit`. One that holds NaN or infinity is rejected, with
            the p-value 0, and named in a warning; the others are judged.

        Returns
        -------
        Judgement
            The columns ``predicted``, ``probability``, ``score``, ``p_value`` and
            ``trust``, in the order of the inputs.

        Warns
        -----
        UserWarning
            If an input holds NaN or infinity. Its score is -inf.
        """
        try:
            return self._judge(X)
        except ValueError as error:
            # Looked for only now: most calls have none.
            if not isinstance(error.__cause__, NotFiniteError):
                raise
        finite = self.detector_[0]._finite_rows(X)
        wrong = np.flatnonzero(~finite).tolist()
        warn(
            f"X holds NaN, infinity or values too large in row{'s' * (len(wrong) > 1)} "
            f"{listed(wrong, 10)}: rejected, with p-value 0.",
            UserWarning,
        )
        judged = self._judge(take(X, np.flatnonzero(finite))) if finite.any() else None
        return spread_out(judged, finite, self.reject_label_)

    def _judge(self, X):
        check_is_fitted(self, "detector_")
        # Read once: `set_threshold` puts another one in its place.
        detector = self.detector_
        logits, features = self._look(detector, X)
        last, predicted = detector[-1], logits.argmax(axis=1)
        scores, groups = last._score_and_predict(features)
        return Judgement(
            predicted=self.classes_[predicted],
            probability=softmax(logits, axis=1).max(axis=1),
            score=scores,
            p_value=last._p_values_of(scores, groups),
            trust=last._margins(scores, groups) >= 0,
        )

    def predict(self, X):
        """Predict classes, and the reject label where they deserve no trust.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, as in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Classes of ``classes_``, or ``reject_label_``.
        """
        judged = self._judge(X)
        return np.where(judged.trust, judged.predicted, self.reject_label_)

    def score(self, X, y, sample_weight=None):
        """Return the accuracy of `predict`, to which a rejected input is an error.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, as in `fit`.
        y : array-like of shape (n_samples,)
            Their classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the inputs.

        Returns
        -------
        float
            The share of right classes.
        """
        return super().score(X, y, sample_weight)

    def predict_proba(self, X):
        """Return the softmax probabilities of the network, trusted or not.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, as in `fit`.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        check_is_fitted(self, "detector_")
        return softmax(self._look(self.detector_, X)[0], axis=1)

    def _look(self, detector, X):
        """Return logits of float64 and what the last step gets, from one pass."""
        features = detector[0].transform(X)
        if self._of_logits is None:
            logits = np.asarray(features)[:, self._logits]
        else:
            logits = np.asarray(self._of_logits.transform(X))
        return logits.astype(np.float64), before_last(detector, features)
