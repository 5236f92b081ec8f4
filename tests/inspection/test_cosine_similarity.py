"""Cosine matrices beside inputs: their values, their places, what is rejected."""

import numpy as np
import pytest
import torch
from networks import AnyWidth, BatchNormNet, images, seeded
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skgrad import CosineSimilarityMatrixTransformer
from skgrad.detectors import make_geometric_gradient_detector
from skgrad.inspection import CosineSimilarityDisplay

from_estimator = CosineSimilarityDisplay.from_estimator


def draw(matrices, **options):
    return CosineSimilarityDisplay(matrices=matrices, **options).plot()


def linear(n_inputs=6, n_classes=4):
    return seeded(lambda: nn.Linear(n_inputs, n_classes), dtype=torch.float64)


def rows(n_rows=3, n_columns=6):
    return np.random.default_rng(0).normal(size=(n_rows, n_columns))


def cosines_of(net, X, *, sign):
    """Compute the matrices of a linear network from its weights."""
    weight, bias = (p.detach().numpy() for p in net.parameters())
    matrices = []
    for x in X:
        softmax = np.exp(weight @ x + bias)
        softmax /= softmax.sum()
        maps = (softmax - np.eye(len(softmax))) @ weight
        maps = np.sign(maps) if sign else maps
        maps /= np.linalg.norm(maps, axis=1, keepdims=True)
        matrices.append(maps @ maps.T)
    return np.stack(matrices)


@pytest.mark.parametrize("sign", [True, False])
def test_matrices_are_those_of_the_weights(sign):
    net, X = linear(), rows()
    transformer = CosineSimilarityMatrixTransformer(net, sign=sign, output="upper")
    display = from_estimator(transformer, X)
    expected = cosines_of(net, X, sign=sign)
    np.testing.assert_allclose(display.matrices, expected, atol=1e-12)
    with torch.no_grad():
        predicted = net(torch.from_numpy(X)).argmax(dim=1)
    np.testing.assert_array_equal(display.predicted, predicted)
    np.testing.assert_array_equal(display.inputs, X)
    assert display.classes is None


def test_settings_of_the_transformer_are_used_and_kept():
    model, X = BatchNormNet(), images(2, (2, 5, 5))
    transformer = CosineSimilarityMatrixTransformer(
        model, channel_reduction="max", input_shape=(2, 5, 5)
    )
    display = from_estimator(transformer, X.reshape(2, 50))
    whole = from_estimator(model, X)
    assert np.abs(whole.matrices - display.matrices).max() > 0.01
    # Flat rows are drawn in the shape of the model.
    np.testing.assert_array_equal(whole.inputs, display.inputs)
    assert transformer.output == "statistics"
    assert not hasattr(transformer, "n_classes_")


def test_steps_before_the_transformer_are_applied():
    net, X = linear(), rows(20)
    scaler = StandardScaler()
    inner = make_pipeline(scaler, CosineSimilarityMatrixTransformer(net))
    pipeline = make_pipeline(inner, IsolationForest(n_estimators=2)).fit(X)
    display = from_estimator(pipeline, X[:2])
    np.testing.assert_array_equal(display.inputs, scaler.transform(X[:2]))
    expected = cosines_of(net, scaler.transform(X[:2]), sign=True)
    np.testing.assert_allclose(display.matrices, expected, atol=1e-12)
    # Where no steps stand before it, nothing needs to be fitted.
    display = from_estimator(make_geometric_gradient_detector(net), X[:2])
    assert display.matrices.shape == (2, 4, 4)


def test_largest_classes_are_named():
    net = linear(n_classes=8)
    display = from_estimator(CosineSimilarityMatrixTransformer(net, top_n=3), rows())
    assert display.matrices.shape == (3, 3, 3)
    with torch.no_grad():
        largest = net(torch.from_numpy(rows())).topk(3).indices
    np.testing.assert_array_equal(display.classes, largest)
    np.testing.assert_array_equal(display.predicted, largest[:, 0])
    ticks = [tick.get_text() for tick in display.axes_[1, 2].get_yticklabels()]
    assert ticks == [str(k) for k in display.classes[2]]


def test_each_matrix_has_its_panel():
    matrices = np.linspace(-1, 1, 8)[:, None, None] * np.ones((8, 3, 3))
    display = draw(matrices, predicted=range(8))
    assert display.axes_.shape == (1, 8)
    for i, ax in enumerate(display.axes_[0]):
        np.testing.assert_array_equal(ax.images[0].get_array(), matrices[i])
        assert ax.get_title() == f"predicted {i}"


def test_frame_is_that_of_the_predicted_class():
    matrices = np.zeros((2, 3, 3))
    classes = [[7, 8, 9], [9, 8, 7]]
    display = draw(matrices, predicted=[8, 9], classes=classes)
    for ax, at in zip(display.axes_[0], (0.5, -0.5), strict=True):
        corners = {patch.get_xy() for patch in ax.patches}
        assert corners == {(-0.5, at), (at, -0.5)}


@pytest.mark.parametrize(
    ("shape", "drawn"),  # of unknown shapes the matrices alone
    [((3, 4, 4), "images"), ((2, 9), "lines"), ((6,), "patches"), ((2, 4, 4), None)],
)
def test_inputs_are_drawn_by_their_shape(shape, drawn):
    inputs = np.ones((1, *shape), dtype="uint8")
    display = draw(np.zeros((1, 3, 3)), inputs=inputs)
    assert display.axes_.shape == ((2, 1) if drawn else (1, 1))
    assert drawn is None or getattr(display.axes_[0, 0], drawn)


def test_colours_beyond_the_unit_interval_are_rescaled():
    inputs = np.stack([np.zeros((3, 2, 2)), np.full((3, 2, 2), 4.0)]) - 2
    display = draw(np.zeros((2, 3, 3)), inputs=inputs)
    shown = [np.asarray(ax.images[0].get_array()) for ax in display.axes_[0]]
    assert [(one.min(), one.max()) for one in shown] == [(0, 0), (1, 1)]


def test_wrong_estimators_and_inputs_are_rejected():
    with pytest.raises(TypeError, match=r"estimator must be a torch model.*got Isol"):
        from_estimator(IsolationForest(), rows())
    with pytest.raises(TypeError, match=r"Give an instance, IsolationForest\(\)"):
        from_estimator(IsolationForest, rows())
    with pytest.raises(ValueError, match=r"X must hold at most 8 .* such as X\[:6\]"):
        from_estimator(AnyWidth(), rows(9))
    with pytest.raises(ValueError, match="one name for each of the 2 inputs"):
        draw(np.zeros((2, 3, 3)), input_names=["one"])
