"""Paper A's detector: a small network trained on known anomalies."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn
from torch.utils.data import TensorDataset

from .._compat import Interval, fit_context
from .._conversion import to_numpy
from .._labels import to_array
from .._matrices import check_matrix
from .._optional import import_package
from .._rollback import restored_on_error
from ..feature_extraction._saved_state import SavedStateMixin
from ..torch_engine.restoring import generators_restored
from ..torch_engine.training import fit_net, seeded_training
from ._features import check_features
from ._scaling import AnyFloatScaler

# Rows at a time where no weight is changed after each batch. The network is so small
# that most of the time goes into what stands around it, batch by batch.
_MANY = 4096


class MLPAnomalyClassifier(SavedStateMixin, ClassifierMixin, BaseEstimator):
    """Two-layer perceptron that classifies inputs as in-distribution or anomalous.

    The supervised detector of paper A. Training stops when the loss on held-out samples
    no longer falls, and the best weights are kept.

    Parameters
    ----------
    n_hidden : int, default=100
        Units of the hidden layer (ReLU).
    validation_fraction : float, default=0.5
        Share held out for early stopping: half, as in the paper's 40/40/20.
    max_epochs : int, default=300
        Most passes over the training samples.
    patience : int, default=20
        Epochs without improvement after which training stops.
    learning_rate : float, default=0.01
        Step size of Adam.
    batch_size : int, default=128
        Samples per step.
    random_state : int, RandomState instance or None, default=None
        Draws the split, the weights and the order of the samples.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The labels, sorted; in the scorers 1 of {0, 1} or -1 of {-1, +1} is the anomaly.
    scaler_ : transformer
        Standardises the features; fitted on the rows that were trained on.
    net_ : skorch.NeuralNetClassifier
        The trained network, in float64.
    validation_indices_ : ndarray of int
        The rows of X that were held out.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of features, and their names if X was a data frame.

    See Also
    --------
    skgrad.detectors.make_confounding_gradient_detector : Both, in a pipeline.

    Notes
    -----
    The paper gives neither width nor optimiser nor scaling. Features are standardised
    here.

    References
    ----------
    Lee, Prabhushankar, AlRegib (2022), "Gradient-Based Adversarial and
    Out-of-Distribution Detection", Sec. 3.2.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from skgrad import MLPAnomalyClassifier
    >>> X, y = make_blobs(centers=[[0, 0], [9, 9]], random_state=0)
    >>> classifier = MLPAnomalyClassifier(random_state=0).fit(X, y)
    >>> classifier.predict([[0, 0], [9, 9]]).tolist()
    [0, 1]
    """

    _parameter_constraints: dict = {
        "n_hidden": [Interval(Integral, 1, None, closed="left")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_hidden=100,
        *,
        validation_fraction=0.5,
        max_epochs=300,
        patience=20,
        learning_rate=0.01,
        batch_size=128,
        random_state=None,
    ):
        self.n_hidden = n_hidden
        self.validation_fraction = validation_fraction
        self.max_epochs = max_epochs
        self.patience = patience
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Train on in-distribution inputs and anomalies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        y : array-like of shape (n_samples,)
            Two labels, of any type.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        with restored_on_error(self):
            self._fit(X, y)
        return self

    def _fit(self, X, y):
        # scikit-learn has its own message for None.
        y = None if y is None else to_array(y, "y")
        X, y = validate_data(
            self, check_matrix(X), y, dtype=np.float64, ensure_min_samples=2
        )
        y = self._encode(y)
        random_state = check_random_state(self.random_state)
        train, held_out = self._split(y, random_state)
        self.validation_indices_ = held_out
        self.scaler_ = AnyFloatScaler().fit(X[train])
        X = self.scaler_.transform(X)
        # skorch draws from torch's global generator.
        with seeded_training(random_state.randint(2**31), torch.device("cpu")):
            self.net_ = self._make_net(_as_dataset(X[held_out], y[held_out]))
            fit_net(self.net_, _as_dataset(X[train], y[train]))

    def predict_proba(self, X):
        """Estimate the probabilities of both labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of float64 of shape (n_samples, 2)
            Probabilities in the order of ``classes_``.
        """
        check_is_fitted(self)
        X = check_features(self, X)
        # Inputs like those of training lie within a few units; clipped to a million, no
        # layer overflows.
        X = np.ascontiguousarray(np.clip(self.scaler_.transform(X), -1e6, 1e6))
        # skorch's own method sets up a data loader, which takes longer than the net.
        with torch.inference_mode():
            batches = torch.from_numpy(X).split(_MANY)
            logits = [self.net_.module_(batch) for batch in batches]
            return torch.cat(logits).softmax(dim=1).numpy()

    def predict(self, X):
        """Predict the more probable label.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,)
            The labels.
        """
        columns = self.predict_proba(X).argmax(axis=1)
        return self.classes_[columns]

    def _encode(self, y):
        """Return y as positions in ``classes_``."""
        check_classification_targets(y)
        self.classes_, y = np.unique(y, return_inverse=True)
        if len(self.classes_) == 1:
            raise ValueError(
                "Classifier can't train when only one class is present: y must hold "
                f"two labels; got only {self.classes_.tolist()}."
            )
        if len(self.classes_) > 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(y)}: y must hold two labels; got more."
            )
        return y.astype(np.int64)

    def _split(self, y, random_state):
        """Draw the rows for training and for validation."""
        n_held_out = round(self.validation_fraction * len(y))
        n_held_out = int(np.clip(n_held_out, 1, len(y) - 1))
        # Both labels on both sides, where there are enough of them.
        room = min(n_held_out, len(y) - n_held_out) >= 2
        stratify = y if room and np.bincount(y).min() >= 2 else None
        return train_test_split(
            np.arange(len(y)),
            test_size=n_held_out,
            stratify=stratify,
            random_state=random_state,
        )

    def _make_net(self, validation):
        # Imported here to keep `import skgrad` fast.
        skorch = import_package("skorch", "MLPAnomalyClassifier needs")
        from skorch.callbacks import EarlyStopping
        from skorch.helper import predefined_split

        # Any lower loss counts as an improvement.
        stop = EarlyStopping(patience=self.patience, threshold=0, load_best=True)
        return skorch.NeuralNetClassifier(
            _TwoLayers,
            module__n_features=validation.tensors[0].shape[1],
            module__n_hidden=self.n_hidden,
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            optimizer__fused=True,
            lr=self.learning_rate,
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            train_split=predefined_split(validation),
            iterator_train=_Batches,
            iterator_train__shuffle=True,
            iterator_valid=_Batches,
            iterator_valid__batch_size=_MANY,
            callbacks=[("stop", stop)],
            # Nobody reads the accuracy of each epoch.
            callbacks__valid_acc=None,
            callbacks__print_log=None,
            classes=[0, 1],
            verbose=0,
        )

    # `skgrad.save` stores the weights of the net alone: a skorch net holds code.

    def _to_saved(self, state, networks):
        if "net_" in state:
            weights = self.net_.module_.state_dict()
            state["net_"] = {name: to_numpy(value) for name, value in weights.items()}
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if isinstance(state.get("net_"), dict):
            self.net_ = self._rebuild_net(state["net_"])

    def _rebuild_net(self, weights):
        n_hidden, n_features = weights["layers.0.weight"].shape
        nothing = _as_dataset(np.empty((0, n_features)), np.empty(0, np.int64))
        net = self._make_net(nothing)
        # The parameter n_hidden may have been set since fit.
        net.set_params(module__n_hidden=n_hidden)
        with generators_restored(torch.device("cpu")), torch.inference_mode(False):
            net.initialize()
        tensors = {name: torch.from_numpy(values) for name, values in weights.items()}
        net.module_.load_state_dict(tensors)
        return net


def _as_dataset(X, y):
    return TensorDataset(torch.from_numpy(X), torch.from_numpy(y))


class _Batches:
    """Takes whole batches out of a dataset, in another order each time if ``shuffle``.

    A DataLoader takes several times as long as the steps of a network as small as this,
    and with lists of rows for samples still half as long.
    """

    def __init__(self, dataset, batch_size, shuffle=False):
        self.dataset, self.batch_size, self.shuffle = dataset, batch_size, shuffle

    def __iter__(self):
        n_samples = len(self.dataset)
        order = torch.randperm(n_samples) if self.shuffle else torch.arange(n_samples)
        for rows in order.split(self.batch_size):
            yield self.dataset[rows.numpy()]


class _TwoLayers(nn.Module):
    """One hidden layer; logits of in-distribution and anomaly, in float64."""

    def __init__(self, n_features, n_hidden):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features, n_hidden, dtype=torch.float64),
            nn.ReLU(),
            nn.Linear(n_hidden, 2, dtype=torch.float64),
        )

    def forward(self, X):
        return self.layers(X)
