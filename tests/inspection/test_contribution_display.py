"""Contributions as bars: which are drawn, what is written, what is rejected."""

import numpy as np
import pandas as pd
import pytest
import torch
from networks import AnyWidth, MaskedText, OfOneTensor, seeded
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from torch.utils.data import TensorDataset

from skgrad import LayerActivationTransformer
from skgrad.inspection import ContributionDisplay, score_contributions

from_estimator = ContributionDisplay.from_estimator
GROUPS = list("abcde")
VALUES = np.array([0.1, -3.0, 5.0, 0.2, 1.0])


def draw(**options):
    data = {"contributions": VALUES, "groups": GROUPS, **options}
    return ContributionDisplay(**data).plot()


def labels(display):
    return [tick.get_text() for tick in display.ax_.get_yticklabels()]


def test_largest_come_first_and_the_others_are_added_up():
    display = draw(top_n=2)
    assert labels(display) == ["c", "b", "3 others"]
    assert [t.get_text() for t in display.ax_.texts] == ["+5.00", "-3.00", "+1.30"]
    lengths = [bar.get_width() for bar in display.ax_.patches]
    np.testing.assert_allclose(lengths, [5.0, -3.0, 1.3])
    # A single other group is drawn as itself.
    assert labels(draw(top_n=4)) == ["c", "b", "e", "d", "a"]


def test_title_has_total_and_decision():
    assert draw().ax_.get_title() == "3.30 in all"
    title = draw(threshold=2.5, name="guard").ax_.get_title()
    assert title == "guard\nrejected: 3.30 in all, rejected above 2.50"
    assert "accepted: 3.30 in all" in draw(threshold=4.0).ax_.get_title()


def test_bands_are_percentiles_of_in_distribution_contributions():
    known = np.random.default_rng(0).normal(size=(40, 5))
    display = draw(contributions_id=known, top_n=2)
    bands = display.ax_.patches[:3]
    low = [band.get_x() for band in bands]
    high = [band.get_x() + band.get_width() for band in bands]
    sums = np.c_[known[:, [2, 1]], known[:, [0, 3, 4]].sum(axis=1)]
    np.testing.assert_allclose([low, high], np.percentile(sums, (5, 95), axis=0))


def detector_and_data():
    X = np.random.default_rng(0).normal(size=(200, 3))
    forest = IsolationForest(n_estimators=20, contamination=0.1, random_state=0)
    return forest.fit(X[:100]), X[100:]


def test_from_estimator_agrees_with_score_contributions_and_predict():
    detector, X_test = detector_and_data()
    options = {"random_state": 0, "n_permutations": 20}
    for x in X_test[:6] * np.linspace(0.5, 3, 6)[:, None]:
        display = from_estimator(detector, x, X_test, n_band=0, **options)
        found = score_contributions(detector, x[None], X_test, **options)
        np.testing.assert_array_equal(display.contributions, found.contributions[0])
        rejected = display.total > display.threshold
        assert rejected == (detector.predict(x[None])[0] == -1)
        assert display.contributions_id is None
    with_band = from_estimator(detector, x[None], X_test, n_band=7, **options)
    np.testing.assert_array_equal(with_band.contributions, display.contributions)
    assert with_band.contributions_id.shape == (7, 3)
    assert with_band.name == "IsolationForest"


def test_rows_of_data_frames_are_inputs():
    detector, X_test = detector_and_data()
    frame = pd.DataFrame(X_test, columns=["a", "b", "c"])
    detector.fit(frame)
    display = from_estimator(detector, frame.iloc[3], frame, random_state=0)
    assert display.groups == ["a", "b", "c"]


def test_threshold_is_exact_for_scores_of_any_size():
    rng = np.random.default_rng(0)
    detector = EllipticEnvelope(random_state=0).fit(rng.normal(size=(100, 2)))
    X_test, options = rng.normal(size=(20, 2)), {"n_band": 0, "random_state": 0}
    near, far = (
        from_estimator(detector, [x, 0.0], X_test, **options) for x in (5.0, 1e12)
    )
    assert far.threshold == pytest.approx(near.threshold)


def test_dataset_gives_the_same_as_its_array():
    X_test = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    logits = LayerActivationTransformer(AnyWidth(), ["bend", "logits"])
    forest = IsolationForest(n_estimators=10, random_state=0)
    detector = make_pipeline(logits, forest).fit(X_test)
    dataset = TensorDataset(torch.from_numpy(X_test), torch.zeros(40))
    options = {"n_permutations": 5, "n_band": 3, "random_state": 0}
    array, data = (
        from_estimator(detector, dataset[0][0], X, **options) for X in (X_test, dataset)
    )
    np.testing.assert_array_equal(array.contributions, data.contributions)


def test_several_inputs():
    net, rng = seeded(MaskedText, dtype=torch.float64), np.random.default_rng(0)
    ids, mask = rng.integers(1000, size=(40, 5)), np.tri(40, 5, dtype=np.int64)
    floats = np.concatenate([ids, mask], axis=1).astype(float)
    forest = IsolationForest(n_estimators=10, random_state=0)
    options = {"n_permutations": 5, "n_band": 3, "random_state": 0}

    def display(model, layer, x, X):
        layers = LayerActivationTransformer(model, [layer, "logits"])
        detector = make_pipeline(layers, forest).fit(X)
        return from_estimator(detector, x, X, **options).contributions

    several = {"input_ids": ids, "attention_mask": mask}
    one = {key: values[:1] for key, values in several.items()}
    found = display(net, "hidden", one, several)
    expected = display(OfOneTensor(net), "net.hidden", floats[0], floats)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    with pytest.raises(ValueError, match=r"x must be one input.*\(40, 5\)"):
        display(net, "hidden", several, several)


def test_wrong_inputs_are_rejected():
    detector, X_test = detector_and_data()
    with pytest.raises(ValueError, match="groups must hold one name for each of the 5"):
        draw(groups=["a"])
    with pytest.raises(ValueError, match=r"x must be one input.*got shape \(2, 3\)"):
        from_estimator(detector, X_test[:2], X_test)
    with pytest.raises(ValueError, match="'n_band' parameter"):
        from_estimator(detector, X_test[0], X_test, n_band=-1)
