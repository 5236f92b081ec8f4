"""What all displays have in common, with one example of each."""

import inspect
import pickle
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from networks import AnyWidth
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from skgrad import LODA, MostDiscriminativeLayer, PerClassSVDD, inspection
from skgrad.inspection._display import check_numbers

DISPLAYS = [name for name in inspection.__all__ if name.endswith("Display")]
RNG = np.random.default_rng(0)
X, X_TEST = RNG.normal(size=(120, 5)), RNG.normal(size=(17, 5))
X_TEST[12:] *= 3
Y = np.repeat([1, -1], [12, 5])
CLASSES = np.arange(17) % 2
KINDS = np.where(np.arange(17) % 2, "odd", "even")
FOREST = IsolationForest(n_estimators=10, random_state=0).fit(X)


def risk_coverage():
    classifier = LogisticRegression().fit(X, np.arange(120) % 2)

    def data(display):
        scores = classifier.predict_proba(X_TEST).max(axis=1)
        correct = np.r_[classifier.predict(X_TEST[:12]) == CLASSES[:12], np.zeros(5)]
        options = {"anomaly": Y == -1, "threshold": 0.55, "name": display.name}
        return (correct, scores), options

    options = {"X_anomaly": X_TEST[12:], "threshold": 0.55}
    return (classifier, X_TEST[:12], CLASSES[:12]), options, data


def score_distribution():
    def data(display):
        scores = np.concatenate([display.scores_id, display.scores_anomaly])
        return (Y, scores), {"threshold": display.threshold, "name": display.name}

    return (FOREST, X_TEST, Y), {}, data


def contribution():
    options = {"top_n": 3, "n_permutations": 3, "n_band": 5, "random_state": 0}

    return (EllipticEnvelope().fit(X), X_TEST[14], X_TEST[:12]), options


def cosine_similarity():
    names = [f"input {i}" for i in range(2)]
    return (AnyWidth(), X[:2]), {"input_names": names}


def detector_heat_map():
    loda = LODA(n_cuts=5, target_fpr=0.2, random_state=0).fit(X)
    detectors = {"forest": FOREST, "LODA": loda}
    anomalies = {"far": X_TEST[12:], "none": X_TEST[:0]}

    def data(display):
        scores = {n: d.score_samples(X_TEST) for n, d in detectors.items()}
        scores_id = {name: part[:12] for name, part in scores.items()}
        anomaly = {n: {"far": part[12:], "none": []} for n, part in scores.items()}
        return (scores_id, anomaly), {}

    return (detectors, X_TEST[:12], anomalies), {}, data


def drift():
    detector = LODA(n_cuts=5, target_fpr=0.2, random_state=0).fit(X)

    def data(display):
        return (display.log_wealth,), {"name": "LODA"}

    return (detector, X_TEST), {}, data


def feature_map():
    scaler = StandardScaler().fit(X)

    def data(display):
        return (scaler.transform(X_TEST), KINDS), {"method": "pca"}

    return (scaler, X_TEST, KINDS), {"method": "pca"}, data


def layer_score():
    choice = MostDiscriminativeLayer(AnyWidth(), ["bend", "head"], random_state=0)

    return (choice.fit(X),), {}


def layer_weight():
    detector = PerClassSVDD(blocks=[3, 2], random_state=0).fit(X)
    return (detector, X_TEST, Y), {"kinds": KINDS}


def norm_profile():
    options = {"input_names": ["one", "two"], "layers": "head"}

    return (AnyWidth(), X_TEST[12:14], X_TEST[:12]), options


# Each returns arguments of from_estimator and, where there is from_predictions, a
# function of the display that returns its arguments.
CASES = [
    *(
        contribution,
        cosine_similarity,
        detector_heat_map,
        drift,
        feature_map,
        layer_score,
    ),
    *(layer_weight, norm_profile, risk_coverage, score_distribution),
]
# In the order of the names.
CASES = dict(zip(DISPLAYS, CASES, strict=True))


@pytest.fixture(params=DISPLAYS, scope="module")
def case(request):
    args, options, *data = CASES[request.param]()
    cls = getattr(inspection, request.param)
    display = cls.from_estimator(*args, **options)
    display.figure_.canvas.draw()
    return cls, display, args, options, *data


def fields(display):
    """Return the data of a display by the names of its parameters."""
    return {n: getattr(display, n) for n in inspect.signature(type(display)).parameters}


def is_plain(value):
    """Return True for data: no estimator, network or axes."""
    if isinstance(value, (dict, list, tuple)):
        return all(map(is_plain, value.values() if isinstance(value, dict) else value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biufU"
    return value is None or isinstance(value, (str, bool, int, float))


def test_data_are_plain_and_sufficient(case):
    cls, display, *_ = case
    data = fields(display)
    assert {name for name, value in data.items() if not is_plain(value)} == set()
    signature = inspect.signature(cls)
    assert all(p.kind is p.KEYWORD_ONLY for p in signature.parameters.values())
    copy = cls(**pickle.loads(pickle.dumps(data)))
    assert not hasattr(copy, "figure_")
    assert copy.plot() is copy
    for one, other in zip(copy.axes_.flat, display.axes_.flat, strict=True):
        assert one.get_title() == other.get_title()
        assert one.get_xlim() == other.get_xlim()


def test_from_predictions_gives_the_same_display(case):
    cls, display, _, _, *data = case
    assert bool(data) == hasattr(cls, "from_predictions")
    if not data:
        return
    args, options = data[0](display)
    again = cls.from_predictions(*args, **options)
    np.testing.assert_equal(fields(again), fields(display))


def test_text_lies_inside_the_figure(case):
    cls, display, *_ = case
    copy = cls(**fields(display)).plot()
    copy.figure_.canvas.draw()
    assert any(ax.has_data() and ax.get_xlabel() for ax in copy.axes_.flat)
    box = copy.figure_.get_tightbbox()
    width, height = copy.figure_.get_size_inches()
    assert -0.1 < box.x0 < box.x1 < width + 0.1
    assert -0.1 < box.y0 < box.y1 < height + 0.1


def test_given_axes_are_used(case):
    cls, display, args, options, *_ = case
    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    again = cls.from_estimator(*args, **options, ax=right)
    np.testing.assert_equal(fields(again), fields(display))
    figure.canvas.draw()
    assert again.figure_ is figure
    assert plt.get_fignums()[-1] == figure.number
    assert not left.has_data()
    if again.axes_.size == 1:
        assert again.ax_ is right
    else:  # a grid takes the place of the axes
        assert not right.axison
        x0 = right.get_position().x0
        assert all(ax.get_position().x0 > x0 - 0.2 for ax in again.axes_.flat)


def test_missing_matplotlib_is_reported_before_any_work(case, monkeypatch):
    cls, display, args, options, *_ = case
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    match = rf"{cls.__name__}.* needs matplotlib, .*\.\[plot\]"
    with pytest.raises(ImportError, match="from_estimator needs matplotlib"):
        cls.from_estimator(*args, **options)
    with pytest.raises(ImportError, match=match):
        display.plot()


def test_wrong_axes_are_rejected():
    display = inspection.CosineSimilarityDisplay(matrices=np.zeros((2, 3, 3)))
    for wrong in ("here", plt, plt.subplots(1, 2)[1]):
        with pytest.raises(TypeError, match="ax must be axes of matplotlib"):
            display.plot(wrong)
    with pytest.raises(ValueError, match="ax must stand in a grid"):
        display.plot(plt.figure().add_axes((0, 0, 1, 1)))


@pytest.mark.parametrize(
    ("values", "options", "match"),
    [
        (["a", "b"], {}, "values must hold numbers; got dtype"),
        ([1.0, np.inf], {}, "must hold numbers, finite; got NaN or infinity in 1 of 2"),
        ([1.0, np.nan], {"finite": False}, "must hold numbers, not NaN"),
        ([[1.0]], {}, r"values must be of shape \(n,\).*got \(1, 1\)"),
        ([], {}, r"no axis empty; got \(0,\)"),
    ],
)
def test_wrong_numbers_are_rejected(values, options, match):
    with pytest.raises(ValueError, match=match):
        check_numbers(values, "values", ("n",), **options)
