"""AUROC against weights: by definition, for several kinds and blocks."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgrad import ClassConditionalGaussian, PerClassSVDD
from skgrad.inspection import LayerWeightDisplay

RNG = np.random.default_rng(0)
X_TRAIN, X = RNG.normal(size=(120, 5)), RNG.normal(size=(40, 5))
Y = np.repeat([1, -1], [25, 15])
X[25:, :3] *= 2
KINDS = np.array(["-"] * 25 + ["big"] * 8 + ["small"] * 7)
THREE = {"blocks": [2, 1, 2]}


def svdd(**options):
    return PerClassSVDD(random_state=0, **{"blocks": [3, 2], **options}).fit(X_TRAIN)


def test_curve_is_that_of_detectors_with_the_weights():
    display = LayerWeightDisplay.from_estimator(svdd(), X, Y)
    assert display.weights.tolist() == [i / 10 for i in range(11)]
    assert display.blocks == ["block 0", "logits"]
    assert display.used == 0.5
    expected = [
        roc_auc_score(Y, svdd(weights=[1 - w, w]).score_samples(X))
        for w in display.weights
    ]
    assert_allclose(display.curves["anomaly"], expected)
    assert display.ax_.get_xlabel() == "weight of logits (block 0 has the rest)"


def test_one_curve_for_each_kind():
    # The weight is that of fit, whatever was set since.
    detector = svdd(weights=[3, 1]).set_params(weights=[1, 3])
    pipeline = make_pipeline(StandardScaler(), detector)
    pipeline[0].fit(np.array([[-1.0] * 5, [1.0] * 5]))  # mean 0, spread 1
    display = LayerWeightDisplay.from_estimator(
        pipeline, X, Y, kinds=KINDS, block="block 0"
    )
    assert display.used == 0.75
    assert list(display.curves) == ["big", "small"]
    for kind, curve in display.curves.items():
        rows = (Y == 1) | (kind == KINDS)
        expected = [
            roc_auc_score(Y[rows], svdd(weights=weights).score_samples(X[rows]))
            for weights in ([0, 1], [1, 1], [1, 0])
        ]
        assert_allclose(curve[[0, 5, 10]], expected)
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["big", "small", "weight in use: 0.75"]


def test_the_others_share_the_rest():
    display = LayerWeightDisplay.from_estimator(svdd(**THREE), X, Y)
    expected = [
        roc_auc_score(Y, svdd(**THREE, weights=[1 - w, 1 - w, 2 * w]).score_samples(X))
        for w in display.weights
    ]
    assert_allclose(display.curves["anomaly"], expected)
    assert display.used == pytest.approx(1 / 3)
    assert "the others share the rest equally" in display.ax_.get_xlabel()


def test_curves_are_drawn_in_percent():
    display = LayerWeightDisplay(
        weights=[0, 1],
        curves={"a": [0.5, 1.0], "b": [0.7, 0.6]},
        blocks=["layer", "logits"],
        block="logits",
        metric="AUROC by class",
    ).plot()
    assert display.ax_.get_ylabel() == "AUROC by class, %"
    assert_allclose(display.ax_.lines[0].get_ydata(), [50, 100])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kinds": ["a"]}, "kinds must hold one name for each of the 40"),
        ({"block": "conv9"}, "block must be None or one of 'block 0', 'logits'; got"),
        ({"y": np.ones(40)}, "y must label some inputs -1"),
        (
            {"estimator": ClassConditionalGaussian(blocks=[3, 2]).fit(X_TRAIN)},
            r"two blocks.*'block 0 \+ logits'",
        ),
        ({"estimator": PerClassSVDD()}, "not fitted"),
    ],
)
def test_wrong_arguments_are_rejected(options, match):
    with pytest.raises(ValueError, match=match):
        LayerWeightDisplay.from_estimator(
            **{"estimator": svdd(), "X": X, "y": Y, **options}
        )


def test_other_detectors_are_rejected():
    with pytest.raises(TypeError, match=r"a ClassConditionalDetector.*Isolation"):
        LayerWeightDisplay.from_estimator(IsolationForest().fit(X), X, Y)
