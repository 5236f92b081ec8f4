"""A map of features in two dimensions, by UMAP or PCA."""

import warnings
from importlib.util import find_spec

import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._messages import brief, listed
from .._optional import import_package
from .._validation import to_array
from ..detectors._scaling import AnyFloatScaler
from ._display import COLORS, check_matplotlib, check_numbers, take_axes

_METHODS = ("auto", "umap", "pca")
_ID, _ANOMALY = COLORS
# Fewer points have no neighbourhoods to speak of.
_FEWEST = 10
_MARKERS = "^sDvPX*<>p"


class FeatureMapDisplay:
    """A 2-D map of the features of in-distribution inputs and anomalies.

    Where a kind of anomaly lies apart from the in-distribution inputs, some detector of
    these features can tell it. Where it lies among them, the map does not say that none
    can: two dimensions do not hold all that the features do.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    coordinates : ndarray of shape (n_samples, 2)
        Where the inputs are.
    labels : ndarray of str of shape (n_samples,)
        Their kinds.
    method : {"umap", "pca"}
        How the coordinates were made, for the axes.
    explained_variance : ndarray of shape (2,), default=None
        Share of the variance of the standardised features along each axis, of a PCA.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    ScoreDistributionDisplay : What a detector makes of them.

    Notes
    -----
    Each feature is standardised first. The standardisation and the map are fitted on
    all inputs shown, anomalies included: the picture is there to look at, and is not
    what a detector that knows in-distribution inputs alone would see. Far anomalies
    therefore draw the axes of a PCA to themselves.

    UMAP needs the package umap-learn (``pip install "skgrad[umap]"``). It keeps
    neighbourhoods; distances between groups, and sizes of groups, mean little. Its
    first map in a process takes 20 seconds or more, for compilation. Its warnings are
    silenced.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.inspection import FeatureMapDisplay
    >>> features = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    >>> display = FeatureMapDisplay.from_predictions(
    ...     features, [1, 1, 1, -1], method="pca"
    ... )
    >>> display.explained_variance.round(2).tolist()
    [1.0, 0.0]
    """

    def __init__(self, *, coordinates, labels, method, explained_variance=None):
        self.coordinates = coordinates
        self.labels = labels
        self.method = method
        self.explained_variance = explained_variance

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, method="auto", random_state=None, ax=None
    ):
        """Draw a map of the features that a fitted transformer makes.

        Parameters
        ----------
        estimator : transformer or Pipeline
            A fitted transformer, or a pipeline of them; of a pipeline that ends in a
            detector all steps but the last.
        X : array-like of shape (n_samples, *input_shape)
            Inputs, as the estimator takes them.
        y : array-like of shape (n_samples,)
            +1 for in-distribution inputs and -1 for anomalies, or names of their kinds.
        method : {"auto", "umap", "pca"}, default="auto"
            ``"auto"`` is UMAP where it is installed and there are 10 inputs or more,
            else PCA.
        random_state : int, RandomState instance or None, default=None
            For UMAP; PCA draws nothing.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        FeatureMapDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        _check_method(method)
        features = _features(estimator, X)
        return cls.from_predictions(
            features, y, method=method, random_state=random_state, ax=ax
        )

    @classmethod
    def from_predictions(
        cls, features, y, *, method="auto", random_state=None, ax=None
    ):
        """Draw a map of features that are there already.

        Parameters
        ----------
        features : array-like of shape (n_samples, n_features)
            The features, finite.
        y : array-like of shape (n_samples,)
            +1 for in-distribution inputs and -1 for anomalies, or names of their kinds.
        method : {"auto", "umap", "pca"}, default="auto"
            As in `from_estimator`.
        random_state : int, RandomState instance or None, default=None
            For UMAP.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        FeatureMapDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_predictions")
        _check_method(method)
        features = check_numbers(features, "features", n_axes=2)
        if (
            len(features) < 2
            or not features.shape[1]
            or not np.isfinite(features).all()
        ):
            raise ValueError(
                "features must be finite numbers of 2 or more inputs; got shape "
                f"{features.shape} with {(~np.isfinite(features)).sum()} infinite."
            )
        labels = _labels(y, len(features))
        features = AnyFloatScaler().fit(features).transform(features)
        if method == "auto":
            there = find_spec("umap") is not None and len(features) >= _FEWEST
            method = "umap" if there else "pca"
        if method == "umap":
            coordinates, explained = _by_umap(features, random_state), None
        else:
            coordinates, explained = _by_pca(features)
        display = cls(
            coordinates=coordinates,
            labels=labels,
            method=method,
            explained_variance=explained,
        )
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        FeatureMapDisplay
            The display, with ``ax_`` and ``figure_``.
        """
        ax = take_axes(self, ax, figsize=(6.0, 5.2))
        size = float(np.clip(4000 / len(self.labels), 8, 30))
        for label, style in _styles(self.labels).items():
            ax.scatter(
                *self.coordinates[self.labels == label].T,
                s=size,
                alpha=0.7,
                linewidths=0,
                label=label,
                **style,
            )
        if self.method == "umap":
            # Its coordinates have no meaning of their own.
            ax.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
        else:
            one, two = 100 * np.asarray(self.explained_variance)
            ax.set_xlabel(f"principal component 1 ({one:.1f} % of the variance)")
            ax.set_ylabel(f"principal component 2 ({two:.1f} %)")
        ax.legend(
            fontsize=8,
            ncols=3,
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.06 if self.method == "umap" else -0.12),
        )
        return self


def _check_method(method):
    if method not in _METHODS:
        raise ValueError(
            f"method must be one of {listed(_METHODS)}; got {brief(method)}."
        )


def _features(estimator, X):
    """Return what a transformer makes of X, of a pipeline before its detector."""
    if isinstance(estimator, Pipeline):
        check_is_fitted(estimator)
        if not hasattr(estimator[-1], "transform"):
            if len(estimator.steps) > 1:
                return estimator[:-1].transform(X)
            estimator = estimator[-1]
    if not hasattr(estimator, "transform") or isinstance(estimator, type):
        raise TypeError(
            "estimator must be a fitted transformer, or a pipeline that begins with "
            f"one; got {brief(estimator)}. Features that are there already go to "
            "from_predictions."
        )
    return estimator.transform(X)


def _labels(y, n_samples):
    """Return the kind of each input as text."""
    y = to_array(y, "y")
    text = y.dtype.kind in "UO" and all(isinstance(label, str) for label in y.flat)
    signs = y.dtype.kind in "if" and np.isin(y, (1, -1)).all()
    if y.shape != (n_samples,) or not (text or signs):
        raise ValueError(
            "y must hold +1 (in-distribution) or -1 (anomaly), or the name of a kind, "
            f"for each of the {n_samples} inputs; got shape {y.shape}: {brief(y)}."
        )
    return y.astype(str) if text else np.where(y == 1, _ID, _ANOMALY)


def _by_pca(features):
    n_components = min(2, *features.shape)
    pca = PCA(n_components, svd_solver="full")
    # Where nothing varies the shares are 0 of 0.
    with np.errstate(invalid="ignore"):
        found = pca.fit_transform(features)
    coordinates, explained = np.zeros((len(features), 2)), np.zeros(2)
    coordinates[:, :n_components] = found
    explained[:n_components] = np.nan_to_num(pca.explained_variance_ratio_)
    return coordinates, explained


def _by_umap(features, random_state):
    if len(features) < _FEWEST:
        raise ValueError(
            f"method='umap' needs {_FEWEST} inputs or more; got {len(features)}. Take "
            "'pca'."
        )
    with warnings.catch_warnings():
        # Of packages that it would use, and of threads that a seed takes from it.
        warnings.simplefilter("ignore")
        umap = import_package("umap", "method='umap' needs", "umap")
        if random_state is not None:
            random_state = check_random_state(random_state)
        mapper = umap.UMAP(n_components=2, random_state=random_state)
        return np.asarray(mapper.fit_transform(features), dtype=np.float64)


def _styles(labels):
    """Choose colours and markers by kind, what is in-distribution first."""
    from matplotlib import colormaps

    kinds = list(dict.fromkeys(labels.tolist()))
    kinds.sort(key=lambda kind: kind != _ID)  # others keep their order
    if set(kinds) <= set(COLORS):
        markers = {_ID: "o", _ANOMALY: "^"}
        return {k: {"color": COLORS[k], "marker": markers[k]} for k in kinds}
    # The first colour is that of in-distribution inputs.
    others = [kind for kind in kinds if kind != _ID]
    styles = {
        kind: {
            "color": colormaps["tab10"](1 + number % 9),
            "marker": _MARKERS[number % len(_MARKERS)],
        }
        for number, kind in enumerate(others)
    }
    first = {_ID: {"color": COLORS[_ID], "marker": "o"}} if _ID in kinds else {}
    return first | styles
