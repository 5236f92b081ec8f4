"""A map of features in two dimensions, by UMAP or PCA."""

import warnings
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._compat import StrOptions, validate_params
from .._labels import check_per_sample, check_signs
from .._messages import brief
from .._optional import import_package
from .._unwrap import transform_to_last_step, unwrap
from ..detectors._scaling import AnyFloatScaler
from ._display import COLORS, Display, check_matplotlib, check_numbers

_ID, _ANOMALY = COLORS
# UMAP of fewer points shows nothing: they have no neighbourhoods.
_FEWEST = 10
_MARKERS = "^sDvPX*<>p"


@dataclass(kw_only=True, eq=False, repr=False)
class FeatureMapDisplay(Display):
    """A 2-D map of the features of in-distribution inputs and anomalies.

    Where a kind of anomaly lies apart from the in-distribution inputs, some detector of
    these features can find it. Where it lies among them, one may find it still: two
    dimensions do not hold all that the features do.

    Parameters
    ----------
    coordinates : ndarray of shape (n_samples, 2)
        The places of the inputs.
    kinds : ndarray of str of shape (n_samples,)
        Their kinds.
    method : {"umap", "pca"}
        How the coordinates were made, for the axes.
    explained_variance : ndarray of shape (2,), default=None
        Share of the variance of the standardised features along each axis, of a PCA.

    Notes
    -----
    Each feature is standardised first. The standardisation and the map are fitted on
    all inputs shown, anomalies included; far ones dominate the axes of a PCA.

    UMAP needs the package umap-learn (``pip install ".[umap]"``) and 20 seconds or
    more for compilation. It keeps neighbourhoods; distances between groups, and sizes
    of groups, mean little.

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

    _size = 6.0, 5.2

    coordinates: np.ndarray
    kinds: np.ndarray
    method: str
    explained_variance: np.ndarray | None = None

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, method="auto", random_state=None, ax=None
    ):
        """Draw a map of the features that a fitted transformer makes.

        Parameters
        ----------
        estimator : transformer or Pipeline
            A fitted one; of a pipeline with a detector at its end all steps before it.
        X : array-like of shape (n_samples, *input_shape)
            Inputs, as the estimator takes them.
        y : array-like of shape (n_samples,)
            +1 for in-distribution inputs and -1 for anomalies, or names of their kinds.
        method : {"auto", "umap", "pca"}, default="auto"
            "auto" is UMAP if it is installed and there are 10 inputs or more, else PCA.
        random_state : int, RandomState instance or None, default=None
            Starts the optimisation of UMAP; PCA draws nothing.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        FeatureMapDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        features = _features(estimator, X)
        return cls.from_predictions(
            features, y, method=method, random_state=random_state, ax=ax
        )

    @classmethod
    @validate_params(
        {"method": [StrOptions({"auto", "umap", "pca"})]},
        prefer_skip_nested_validation=True,
    )
    def from_predictions(
        cls, features, y, *, method="auto", random_state=None, ax=None
    ):
        """Draw a map of given features.

        Parameters
        ----------
        features : array-like of shape (n_samples, n_features)
            The features, finite.
        y : array-like of shape (n_samples,)
            +1 for in-distribution inputs and -1 for anomalies, or names of their kinds.
        method : {"auto", "umap", "pca"}, default="auto"
            "auto" is UMAP if it is installed and there are 10 inputs or more, else PCA.
        random_state : int, RandomState instance or None, default=None
            Starts the optimisation of UMAP; PCA draws nothing.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        FeatureMapDisplay
            The display, drawn.
        """
        features = check_numbers(features, "features", ("n_samples", "n_features"))
        kinds = _kinds(y, len(features))
        features = AnyFloatScaler().fit(features).transform(features)
        if method == "auto":
            there = find_spec("umap") is not None and len(features) >= _FEWEST
            method = "umap" if there else "pca"
        if method == "umap":
            coordinates, explained = _umap(features, random_state), None
        else:
            coordinates, explained = _pca(features)
        return cls(
            coordinates=coordinates,
            kinds=kinds,
            method=method,
            explained_variance=explained,
        ).plot(ax)

    def _draw(self):
        ax = self.ax_
        size = float(np.clip(4000 / len(self.kinds), 8, 30))
        for kind, style in _styles(self.kinds).items():
            ax.scatter(
                *self.coordinates[self.kinds == kind].T,
                s=size,
                alpha=0.7,
                linewidths=0,
                label=kind,
                **style,
            )
        if self.method == "umap":
            # Its coordinates have no unit.
            ax.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])
        else:
            one, two = 100 * np.asarray(self.explained_variance)
            ax.set_xlabel(f"principal component 1 ({one:.1f} % of the variance)")
            ax.set_ylabel(f"principal component 2 ({two:.1f} %)")
        ax.legend(
            fontsize=8,
            # Markers of many inputs are too small to distinguish.
            markerscale=float(np.sqrt(30 / size)),
            ncols=3,
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.06 if self.method == "umap" else -0.12),
        )


def _features(estimator, X):
    """Return the features of X; of a pipeline those before its detector."""
    estimator = unwrap(estimator)
    if isinstance(estimator, Pipeline):
        check_is_fitted(estimator)
        if len(estimator.steps) > 1 and not hasattr(estimator, "transform"):
            return transform_to_last_step(estimator, X)
    if not hasattr(estimator, "transform") or isinstance(estimator, type):
        raise TypeError(
            "estimator must be a fitted transformer, or a pipeline that begins with "
            f"one; got {brief(estimator)}. Give features that you have already to "
            "from_predictions."
        )
    return estimator.transform(X)


def _kinds(y, n_samples):
    """Return the kind of each input as text."""
    y = check_per_sample(y, n_samples, "y")
    if y.dtype.kind in "UO" and all(isinstance(kind, str) for kind in y):
        return y.astype(str)
    return np.where(check_signs(y, n_samples, "y") == 1, _ID, _ANOMALY)


def _pca(features):
    n_components = min(2, *features.shape)
    pca = PCA(n_components, svd_solver="full")
    # Where nothing varies the shares are 0 of 0.
    with np.errstate(invalid="ignore"):
        found = pca.fit_transform(features)
    coordinates, explained = np.zeros((len(features), 2)), np.zeros(2)
    coordinates[:, :n_components] = found
    explained[:n_components] = np.nan_to_num(pca.explained_variance_ratio_)
    return coordinates, explained


def _umap(features, random_state):
    if len(features) < _FEWEST:
        raise ValueError(
            f"method='umap' needs {_FEWEST} inputs or more; got {len(features)}. Take "
            "'pca'."
        )
    with warnings.catch_warnings():
        # UMAP warns of optional packages, and that a seed disables its threads.
        warnings.simplefilter("ignore")
        umap = import_package("umap", "method='umap' needs", "umap")
        if random_state is not None:
            random_state = check_random_state(random_state)
        mapper = umap.UMAP(n_components=2, random_state=random_state)
        return np.asarray(mapper.fit_transform(features), dtype=np.float64)


def _styles(kinds):
    """Choose colours and markers by kind, in-distribution inputs first."""
    from matplotlib import colormaps

    others = [kind for kind in dict.fromkeys(kinds.tolist()) if kind != _ID]
    styles: dict = {}
    if _ID in kinds:
        styles[_ID] = {"color": COLORS[_ID], "marker": "o"}
    for number, kind in enumerate(others):
        # The first colour is that of in-distribution inputs.
        color = colormaps["tab10"](1 + number % 9)
        styles[kind] = {
            "color": COLORS[_ANOMALY] if others == [_ANOMALY] else color,
            "marker": _MARKERS[number % len(_MARKERS)],
        }
    return styles
