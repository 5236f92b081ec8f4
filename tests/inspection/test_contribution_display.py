"""Contributions as bars: which are drawn, what is written, what is refused."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from networks import AnyWidth
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from torch.utils.data import TensorDataset

from skgrad import LayerActivationTransformer
from skgrad.inspection import ContributionDisplay, score_contributions

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


NAMES = list("abcde")
VALUES = np.array([0.1, -3.0, 5.0, 0.2, 1.0])


def names_of(display):
    return [tick.get_text() for tick in display.ax_.get_yticklabels()]


def numbers_of(display):
    return [text.get_text() for text in display.ax_.texts]


def test_largest_come_first_and_the_others_are_added_up():
    display = ContributionDisplay.from_predictions(VALUES, NAMES, top_n=2)
    assert names_of(display) == ["c", "b", "3 others"]
    assert numbers_of(display) == ["+5.00", "-3.00", "+1.30"]
    lengths = [bar.get_width() for bar in display.ax_.patches]
    np.testing.assert_allclose(lengths, np.arcsinh([5.0, -3.0, 1.3]))
    # A single other is drawn as itself.
    display = ContributionDisplay.from_predictions(VALUES, NAMES, top_n=4)
    assert names_of(display) == ["c", "b", "e", "d", "a"]


def test_total_and_verdict_are_told():
    title = ContributionDisplay.from_predictions(VALUES, NAMES).ax_.get_title()
    assert title == "3.30 in all"
    options = {"alarm_at": 2.5, "name": "guard"}
    display = ContributionDisplay.from_predictions(VALUES, NAMES, **options)
    assert display.ax_.get_title() == (
        "guard\nrejected: 3.30 in all, rejected above 2.50"
    )
    options["alarm_at"] = 4.0
    display = ContributionDisplay.from_predictions(VALUES, NAMES, **options)
    assert "accepted: 3.30 in all" in display.ax_.get_title()


def test_bands_are_percentiles_of_what_is_usual():
    usual = np.random.default_rng(0).normal(size=(40, 5))
    display = ContributionDisplay.from_predictions(VALUES, NAMES, usual=usual, top_n=2)
    bands = display.ax_.patches[:3]
    low = np.sinh([band.get_x() for band in bands])
    high = np.sinh([band.get_x() + band.get_width() for band in bands])
    sums = np.c_[usual[:, [2, 1]], usual[:, [0, 3, 4]].sum(axis=1)]
    np.testing.assert_allclose([low, high], np.percentile(sums, (5, 95), axis=0))


def detector_and_data():
    X = np.random.default_rng(0).normal(size=(200, 3))
    return IsolationForest(contamination=0.1, random_state=0).fit(X[:100]), X[100:]


def test_from_estimator_agrees_with_the_function_and_predict():
    detector, X_id = detector_and_data()
    options = {"random_state": 0, "n_permutations": 20}
    for x in X_id[:10] * np.linspace(0.5, 3, 10)[:, None]:
        display = ContributionDisplay.from_estimator(
            detector, x, X_id, n_usual=0, **options
        )
        found = score_contributions(detector, x[None], X_id, **options)
        np.testing.assert_array_equal(display.contributions, found.contributions[0])
        rejected = display.total > display.alarm_at
        assert rejected == (detector.predict(x[None])[0] == -1)
        assert display.usual is None
    with_axis = ContributionDisplay.from_estimator(
        detector, x[None], X_id, n_usual=7, **options
    )
    np.testing.assert_array_equal(with_axis.contributions, display.contributions)
    assert with_axis.usual.shape == (7, 3)
    assert with_axis.name == "IsolationForest"


def test_rows_of_data_frames_are_inputs():
    detector, X_id = detector_and_data()
    frame = pd.DataFrame(X_id, columns=["a", "b", "c"])
    detector.fit(frame)
    display = ContributionDisplay.from_estimator(
        detector, frame.iloc[3], frame, random_state=0
    )
    assert display.names == ["a", "b", "c"]


def test_many_bars_and_one_are_readable():
    for n in (1, 40):
        values = np.linspace(-2, 300, n)
        names = [f"layer{i}.0.conv1" for i in range(n)]
        display = ContributionDisplay.from_predictions(values, names, top_n=40)
        display.figure_.canvas.draw()
        # What is written beside the bars lies within the axes.
        box = display.ax_.get_window_extent()
        written = [text.get_window_extent() for text in display.ax_.texts]
        assert all(box.x0 <= w.x0 and w.x1 <= box.x1 for w in written)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"names": ["a"]}, "names must hold one name for each .* got 1 names for 5"),
        ({"contributions": VALUES[None]}, "contributions must have 1 axes"),
        ({"contributions": VALUES * np.nan}, "got NaN in 5 of 5 values"),
        ({"usual": VALUES}, "usual must have 2 axes"),
        ({"usual": VALUES[None, :3]}, r"for each of the 5 names; got shape \(1, 3\)"),
        ({"top_n": 0}, "top_n must be a number of bars, 1 or more; got 0"),
    ],
)
def test_wrong_data_are_refused(change, match):
    arguments = {"contributions": VALUES, "names": NAMES, **change}
    with pytest.raises(ValueError, match=match):
        ContributionDisplay.from_predictions(**arguments)


def test_several_inputs_are_refused():
    detector, X_id = detector_and_data()
    with pytest.raises(ValueError, match=r"x must be one input.*got shape \(2, 3\)"):
        ContributionDisplay.from_estimator(detector, X_id[:2], X_id)
    with pytest.raises(ValueError, match="'n_usual' parameter"):
        ContributionDisplay.from_estimator(detector, X_id[0], X_id, n_usual=-1)
    with pytest.raises(ValueError, match=r"ragged tuple. Of a pair \(x, y\).*give x"):
        ContributionDisplay.from_estimator(detector, (X_id[0], 1), X_id)


def test_threshold_outlasts_rounding_far_out():
    rng = np.random.default_rng(0)
    detector = EllipticEnvelope(random_state=0).fit(rng.normal(size=(100, 2)))
    X_id, options = rng.normal(size=(20, 2)), {"n_usual": 0, "random_state": 0}
    near, far = (
        ContributionDisplay.from_estimator(detector, [x, 0.0], X_id, **options)
        for x in (5.0, 1e12)
    )
    assert far.alarm_at == pytest.approx(near.alarm_at)


@pytest.mark.parametrize("name", ["contributions", "usual"])
def test_infinite_contributions_are_refused(name):
    given = {"contributions": VALUES, "usual": [VALUES]}
    given[name] = np.full_like(given[name], np.inf)
    with pytest.raises(ValueError, match=f"{name} must be finite; got infinity in 5"):
        ContributionDisplay.from_predictions(names=NAMES, **given)


def test_dataset_gives_the_same_as_its_array():
    X_id = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    logits = LayerActivationTransformer(AnyWidth(), ["bend", "logits"])
    detector = make_pipeline(logits, IsolationForest(random_state=0)).fit(X_id)
    dataset = TensorDataset(torch.from_numpy(X_id), torch.zeros(40))
    x, _ = dataset[0]
    shown = [
        ContributionDisplay.from_estimator(detector, x, X, random_state=0)
        for X in (X_id, dataset)
    ]
    np.testing.assert_array_equal(*(display.contributions for display in shown))


def test_wrong_limit_is_refused():
    with pytest.raises(ValueError, match="alarm_at must be a number or None; got 'x'"):
        ContributionDisplay.from_predictions(VALUES, NAMES, alarm_at="x")
