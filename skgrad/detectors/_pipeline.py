"""A pipeline that has the p-values of the detector at its end."""

from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if


def _last_has(name):
    """Return a condition: the last step of a pipeline has a method of this name."""
    return lambda pipeline: hasattr(pipeline.steps[-1][1], name)


class DetectorPipeline(Pipeline):
    """Pipeline of scikit-learn with the p-values of the detector at its end.

    scikit-learn's own passes on the methods that scikit-learn knows, such as `predict`
    and `score_samples`. This one has also `p_values` and `select_anomalies`, if its
    last step has them. Everything else is as it was. The recipes return one.

    Parameters
    ----------
    steps : list of (str, estimator)
        Names and estimators: transformers, and a detector as the last.
    transform_input : list of str, default=None
        As in :class:`sklearn.pipeline.Pipeline`.
    memory : str or joblib.Memory, default=None
        Cache of the fitted transformers.
    verbose : bool, default=False
        Whether to tell the time that each step takes to fit.

    Attributes
    ----------
    named_steps : Bunch
        The steps by their names.
    classes_ : ndarray
        Those of the last step, if that is a classifier.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Those of the first step.

    See Also
    --------
    skgrad.guard.GuardedClassifier : Class, trust and p-value in one call.

    Examples
    --------
    >>> import torch
    >>> from skgrad import Energy, LayerActivationTransformer
    >>> from skgrad.detectors import DetectorPipeline
    >>> _ = torch.manual_seed(0)
    >>> model, X = torch.nn.Linear(2, 3), torch.randn(100, 2)
    >>> features = LayerActivationTransformer(model, "logits")
    >>> detector = DetectorPipeline(
    ...     [("features", features), ("detect", Energy(random_state=0))]
    ... ).fit(X)
    >>> detector.p_values(X).shape
    (100,)
    """

    @available_if(_last_has("p_values"))
    def p_values(self, X):
        """Return the p-values of the last step for transformed X.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, as in `fit`.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            P-values in (0, 1]: the lower, the more anomalous.
        """
        return self.steps[-1][1].p_values(self._before_last(X))

    @available_if(_last_has("select_anomalies"))
    def select_anomalies(self, X, fdr=0.1):
        """Select anomalies from a batch by their p-values (Benjamini-Hochberg).

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            A batch of inputs, as in `fit`.
        fdr : float, default=0.1
            Bound on the expected share of in-distribution inputs among the selected.

        Returns
        -------
        ndarray of bool of shape (n_samples,)
            True for the selected inputs.
        """
        return self.steps[-1][1].select_anomalies(self._before_last(X), fdr=fdr)

    def _before_last(self, X):
        """Return X as the last step receives it."""
        # scikit-learn has no pipeline without steps.
        return self[:-1].transform(X) if len(self.steps) > 1 else X
