"""AUROC against weights: by definition, for several kinds and blocks."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgrad import ClassConditionalDetector, ClassConditionalGaussian, PerClassSVDD
from skgrad.inspection import LayerWeightDisplay

matplotlib.use("Agg")

RNG = np.random.default_rng(0)
X_TRAIN, X = RNG.normal(size=(120, 5)), RNG.normal(size=(40, 5))
Y = np.repeat([1, -1], [25, 15])
X[25:, :3] *= 2
KINDS = np.array(["-"] * 25 + ["big"] * 8 + ["small"] * 7)
THREE = {"blocks": [2, 1, 2]}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def svdd(**options):
    return PerClassSVDD(random_state=0, **{"blocks": [3, 2], **options}).fit(X_TRAIN)


def test_curve_is_that_of_detectors_with_the_weights():
    display = LayerWeightDisplay.from_estimator(svdd(), X, Y)
    assert display.weights.tolist() == [i / 10 for i in range(11)]
    assert display.names == ["block 0", "logits"]
    assert display.used == 0.5
    expected = [
        roc_auc_score(Y, svdd(weights=[1 - w, w]).score_samples(X))
        for w in display.weights
    ]
    assert_allclose(display.curves["anomaly"], expected)
    assert display.ax_.get_xlabel() == "weight of logits (block 0 has the rest)"


def test_one_curve_for_each_kind():
    pipeline = make_pipeline(StandardScaler(), svdd(weights=[3, 1]))
    pipeline[0].fit(np.array([[-1.0] * 5, [1.0] * 5]))  # changes nothing
    display = LayerWeightDisplay.from_estimator(
        pipeline, X, Y, kinds=KINDS, block="block 0", n_weights=3
    )
    assert display.used == 0.75
    assert list(display.curves) == ["big", "small"]
    for kind, curve in display.curves.items():
        rows = (Y == 1) | (kind == KINDS)
        expected = [
            roc_auc_score(Y[rows], svdd(weights=weights).score_samples(X[rows]))
            for weights in ([0, 1], [1, 1], [1, 0])
        ]
        assert_allclose(curve, expected)
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["big", "small", "weight in use: 0.75"]


def test_the_others_share_the_rest():
    display = LayerWeightDisplay.from_estimator(svdd(**THREE), X, Y, n_weights=5)
    expected = [
        roc_auc_score(Y, svdd(**THREE, weights=[1 - w, 1 - w, 2 * w]).score_samples(X))
        for w in display.weights
    ]
    assert_allclose(display.curves["anomaly"], expected)
    assert display.used == pytest.approx(1 / 3)
    assert "the others share the rest alike" in display.ax_.get_xlabel()


def test_styles_and_titles():
    display = LayerWeightDisplay(
        weights=[0, 1],
        curves={"a": [0.5, 1.0], "b": [0.7, 0.6]},
        names=["layer", "logits"],
        block="logits",
        metric="AUROC of ours",
    ).plot(name="net", styles={"b": {"ls": "--"}})
    assert [line.get_linestyle() for line in display.ax_.lines] == ["-", "--"]
    assert display.ax_.get_title() == "net"
    assert display.ax_.get_ylabel() == "AUROC of ours, %"
    assert_allclose(display.ax_.lines[0].get_ydata(), [50, 100])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kinds": ["a"]}, r"kinds must hold one name for each of the 40.*\(1,\)"),
        ({"block": "conv9"}, "block must be None or one of 'block 0', 'logits'; got"),
        ({"n_weights": 1}, "n_weights must be an int of 2 or more; got 1"),
        ({"n_weights": 2.5}, "n_weights must be an int"),
        ({"y": np.ones(40)}, "y must label some inputs -1"),
        ({"y": np.zeros(40)}, r"^y must hold \+1 .*\[0.0\]"),
    ],
)
def test_wrong_options_are_refused(options, match):
    y = options.pop("y", Y)
    with pytest.raises(ValueError, match=match):
        LayerWeightDisplay.from_estimator(svdd(), X, y, **options)


@pytest.mark.parametrize(
    ("scores", "names", "match"),
    [
        (np.ones((40, 2)), ["a"], r"names must be different names.*\['a'\] for 2"),
        (np.ones((40, 2)), ["a", "a"], "names must be different"),
        (np.ones((40, 1)), ["a"], "two or more columns"),
        (np.ones((40, 2)), "ab", "names must be different"),
        (np.ones(40), ["a", "b"], "block_scores must have 2 axes"),
        (
            np.full((40, 2), np.nan),
            ["a", "b"],
            "block_scores must hold numbers; got NaN",
        ),
    ],
)
def test_wrong_scores_are_refused(scores, names, match):
    with pytest.raises(ValueError, match=match):
        LayerWeightDisplay.from_predictions(Y, scores, names)


def test_wrong_estimators_are_refused():
    with pytest.raises(
        TypeError, match=r"must be a ClassConditionalDetector.*Isolation"
    ):
        LayerWeightDisplay.from_estimator(IsolationForest().fit(X), X, Y)
    joint = ClassConditionalGaussian(blocks=[3, 2]).fit(X_TRAIN)
    with pytest.raises(ValueError, match=r"two blocks.*'block 0 \+ logits'"):
        LayerWeightDisplay.from_estimator(joint, X, Y)
    alone = ClassConditionalDetector(
        IsolationForest(n_estimators=5), blocks=[3, 2], include_logits=False
    ).fit(X_TRAIN)
    with pytest.raises(ValueError, match=r"two blocks of columns or more.*'block 0'"):
        LayerWeightDisplay.from_estimator(alone, X, Y)
    with pytest.raises(NotFittedError):
        LayerWeightDisplay.from_estimator(PerClassSVDD(), X, Y)


def test_weights_in_use_are_those_of_fit():
    detector = svdd(weights=[3, 1]).set_params(weights=[1, 3])
    display = LayerWeightDisplay.from_estimator(detector, X, Y, n_weights=2)
    assert display.used == 0.25


def test_infinite_scores_have_an_end_without_their_block():
    scores = [[2, 0], [1, 3], [-np.inf, 4], [-np.inf, -np.inf]]
    display = LayerWeightDisplay.from_predictions(
        [1, 1, -1, -1], scores, ["a", "b"], n_weights=3
    )
    assert display.curves["anomaly"].tolist() == [1, 1, 0.5]
