"""Cosine matrices beside inputs: whose they are, where they stand, what is refused."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skgrad import CosineSimilarityMatrixTransformer
from skgrad.detectors import make_geometric_gradient_detector
from skgrad.inspection import CosineSimilarityDisplay
from tests.networks import AnyShape, AnyWidth, BatchNormNet, images, seeded

matplotlib.use("Agg")
from_estimator = CosineSimilarityDisplay.from_estimator
from_predictions = CosineSimilarityDisplay.from_predictions


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


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
    np.testing.assert_allclose(
        display.matrices, cosines_of(net, X, sign=sign), atol=1e-12
    )
    with torch.no_grad():
        predicted = net(torch.from_numpy(X)).argmax(dim=1)
    np.testing.assert_array_equal(display.predicted, predicted)
    np.testing.assert_array_equal(display.inputs, X)
    assert display.classes is None


def test_transformer_and_model_are_left_as_they_were():
    model = BatchNormNet().train()
    transformer = CosineSimilarityMatrixTransformer(model, channel_reduction="max")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    display = from_estimator(transformer, images(2, (2, 5, 5)), batch_size=1)
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert transformer.output == "statistics"
    assert transformer.batch_size == 128
    assert not hasattr(transformer, "n_classes_")
    # Its settings count.
    whole = from_estimator(model, images(2, (2, 5, 5)))
    assert np.abs(whole.matrices - display.matrices).max() > 0.01


def test_steps_before_the_transformer_are_taken():
    net, X = linear(), rows(20)
    scaler = StandardScaler()
    inner = make_pipeline(scaler, CosineSimilarityMatrixTransformer(net))
    pipeline = make_pipeline(inner, IsolationForest(random_state=0)).fit(X)
    display = from_estimator(pipeline, X[:2])
    np.testing.assert_array_equal(display.inputs, scaler.transform(X[:2]))
    expected = cosines_of(net, scaler.transform(X[:2]), sign=True)
    np.testing.assert_allclose(display.matrices, expected, atol=1e-12)


def test_pipelines_need_no_fit_where_nothing_stands_before():
    display = from_estimator(make_geometric_gradient_detector(linear()), rows())
    assert display.matrices.shape == (3, 4, 4)


def test_flat_rows_are_drawn_in_the_shape_that_the_model_sees():
    transformer = CosineSimilarityMatrixTransformer(AnyShape(), input_shape=(1, 2, 3))
    display = from_estimator(transformer, rows())
    assert display.inputs.shape == (3, 1, 2, 3)
    assert len(display.axes_[0, 0].images) == 1


def test_largest_classes_are_named():
    net = linear(n_classes=8)
    display = from_estimator(CosineSimilarityMatrixTransformer(net, top_n=3), rows())
    assert display.matrices.shape == (3, 3, 3)
    np.testing.assert_array_equal(display.classes[:, 0], display.predicted)
    with torch.no_grad():
        largest = net(torch.from_numpy(rows())).topk(3).indices
    np.testing.assert_array_equal(display.classes, largest)
    ticks = [tick.get_text() for tick in display.axes_[1, 2].get_yticklabels()]
    assert ticks == [str(k) for k in display.classes[2]]


@pytest.mark.parametrize(
    ("n_inputs", "shape", "n_unused"),
    [(1, (1, 1), 0), (6, (1, 6), 0), (7, (2, 4), 1), (12, (2, 6), 0)],
)
def test_grid_holds_all_inputs(n_inputs, shape, n_unused):
    matrices = np.zeros((n_inputs, 3, 3))
    display = from_predictions(matrices)
    assert display.axes_.shape == shape
    assert [len(ax.images) for ax in display.axes_.flat].count(1) == n_inputs
    assert sum(not ax.axison for ax in display.axes_.flat) == n_unused
    above = from_predictions(matrices, inputs=np.ones((n_inputs, 1, 2, 2)))
    assert above.axes_.shape == (2 * shape[0], shape[1])
    assert all(len(ax.images) == 1 for ax in above.axes_[:2, 0])


def test_predicted_class_is_framed():
    display = from_predictions(np.zeros((1, 5, 5)), predicted=[3])
    row, column = display.axes_[0, 0].patches
    assert row.get_bbox().bounds == (-0.5, 2.5, 5, 1)
    assert column.get_bbox().bounds == (2.5, -0.5, 1, 5)
    assert display.axes_[0, 0].get_title() == "predicted 3"


def test_inputs_are_drawn_by_their_shape():
    def drawn(shape):
        display = from_predictions(np.zeros((2, 3, 3)), inputs=np.ones((2, *shape)))
        top = display.axes_[0, 0]
        counts = len(top.images), len(top.lines), len(top.patches)
        return display.axes_.shape, counts

    assert drawn((1, 4, 4)) == ((2, 2), (1, 0, 0))
    assert drawn((3, 4, 4)) == ((2, 2), (1, 0, 0))
    assert drawn((2, 9)) == ((2, 2), (0, 2, 0))
    assert drawn((6,)) == ((2, 2), (0, 0, 6))
    # No way to draw these: matrices alone, whose images are the matrices.
    assert drawn((2, 4, 4)) == ((1, 2), (1, 0, 0))
    assert drawn((1, 4, 4, 4)) == ((1, 2), (1, 0, 0))


def test_colours_beyond_the_unit_interval_are_rescaled():
    inputs = np.stack([np.zeros((3, 2, 2)), np.full((3, 2, 2), 4.0)]) - 2
    display = from_predictions(np.zeros((2, 3, 3)), inputs=inputs)
    shown = [np.asarray(ax.images[0].get_array()) for ax in display.axes_[0]]
    assert [(one.min(), one.max()) for one in shown] == [(0, 0), (1, 1)]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float16"])
@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 2, 2), (2, 5), (5,)])
def test_inputs_of_any_numbers_are_drawn(dtype, shape):
    inputs = np.ones((1, *shape), dtype=dtype)
    display = from_predictions(np.zeros((1, 3, 3)), inputs=inputs)
    display.figure_.canvas.draw()
    assert display.axes_[0, 0].has_data()


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"matrices": np.eye(3)}, ValueError, r"matrices must be .* One matrix m is m"),
        ({"matrices": np.zeros((2, 9))}, ValueError, "flat rows of output='matrix'"),
        ({"matrices": np.zeros((0, 3, 3))}, ValueError, "at least one input"),
        ({"matrices": np.zeros((13, 3, 3))}, ValueError, "at most 12 inputs.* got 13"),
        ({"matrices": np.full((2, 3, 3), 2)}, ValueError, "cosines from -1 to 1; got"),
        ({"inputs": np.ones((3, 4))}, ValueError, "inputs must hold one for each of"),
        ({"inputs": [[1, np.nan]] * 2}, ValueError, "inputs must be finite; got NaN"),
        ({"predicted": [1]}, ValueError, r"predicted must hold classes .* \(2,\)"),
        ({"predicted": [0.5, 1]}, ValueError, "predicted must hold classes as whole"),
        ({"classes": [0, 1, 2]}, ValueError, r"classes must .* shape \(2, 3\)"),
        ({"titles": ["one"]}, ValueError, "titles must hold one for each of the 2"),
        ({"titles": "ab"}, TypeError, "titles must be a list of str"),
        ({"titles": [1, 2]}, TypeError, "titles must be a list of str"),
    ],
)
def test_wrong_data_are_refused(change, error, match):
    arguments = {"matrices": np.zeros((2, 3, 3)), **change}
    with pytest.raises(error, match=match):
        from_predictions(arguments.pop("matrices"), **arguments)


def test_wrong_estimators_and_inputs_are_refused():
    with pytest.raises(TypeError, match=r"estimator must be a torch model.*got Isol"):
        from_estimator(IsolationForest(), rows())
    with pytest.raises(TypeError, match=r"Give an instance, IsolationForest\(\)"):
        from_estimator(IsolationForest, rows())
    with pytest.raises(TypeError, match="estimator must be a torch model"):
        from_estimator(make_pipeline(StandardScaler(), IsolationForest()), rows())
    with pytest.raises(ValueError, match=r"X must hold at most 12 .* such as X\[:6\]"):
        from_estimator(AnyWidth(), rows(13))
    with pytest.raises(ValueError, match="'batch_size' parameter"):
        from_estimator(AnyWidth(), rows(), batch_size=0)
