"""Scores of candidate layers: what is marked and labelled, what is rejected."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from networks import images
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from skgrad import MostDiscriminativeLayer
from skgrad.inspection import LayerScoreDisplay


def draw(values, chosen=None, ax=None, **options):
    data = {"layers": list(values), "values": list(values.values()), **options}
    return LayerScoreDisplay(**data, chosen=chosen).plot(ax)


VALUES = {"conv1": 0.9, "conv2": 0.4, "fc1": 0.75}


@pytest.fixture(scope="module")
def choice():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(8, 6),
        torch.nn.Tanh(),
        torch.nn.Linear(6, 4),
        torch.nn.Linear(4, 3),
    )
    return MostDiscriminativeLayer(model, random_state=0).fit(images(40, (8,)))


def written(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


@pytest.mark.parametrize(
    ("metric", "attribute"), [("auroc", "aurocs_"), ("error", "errors_")]
)
def test_values_are_those_of_the_choice(choice, metric, attribute):
    display = LayerScoreDisplay.from_estimator(choice, metric=metric)
    values = dict(zip(display.layers, display.values.tolist(), strict=True))
    assert values == getattr(choice, attribute)
    assert display.layers == choice.candidates_
    assert display.chosen == choice.layer_
    assert display.anomalies == "generated"
    drawn = display.ax_.collections[1].get_offsets()
    np.testing.assert_allclose(drawn[:, 0], 100 * display.values)
    value = 100 * values[choice.layer_]
    expected = f"layer chosen: {value:.1f} %\nanomalies generated"
    assert display.ax_.get_title() == expected


def test_the_choice_is_found_inside_pipelines_and_unions(choice):
    union = FeatureUnion([("scale", StandardScaler()), ("choice", choice)])
    deep = make_pipeline(make_pipeline("passthrough", union), StandardScaler())
    display = LayerScoreDisplay.from_estimator(deep)
    assert display.chosen == choice.layer_


def test_the_chosen_layer_is_marked():
    display = draw(VALUES, "fc1")
    labels = display.ax_.get_yticklabels()
    assert written(display.ax_) == list(VALUES)
    assert [label.get_fontweight() for label in labels] == ["normal", "normal", "bold"]
    low, high = display.ax_.get_ylim()
    assert low > high  # the first layer stands above
    assert display.ax_.get_title() == "layer chosen: 75.0 %"
    assert "higher is better" in display.ax_.get_xlabel()
    none = draw({"a": 0.1, "b": 0.2}, metric="error")
    assert none.ax_.get_title() == ""
    assert "detection error, % (lower is better" in none.ax_.get_xlabel()


def test_long_names_of_many_layers_do_not_overlap():
    names = [f"a.very.long.path.of.modules.layer{i}.block.conv" for i in range(90)]
    values = dict(zip(names, np.linspace(0, 1, 90), strict=True))
    display = draw(values, ax=plt.subplots(2, 2, layout="constrained")[1][0, 1])
    display.figure_.canvas.draw()
    boxes = [label.get_window_extent() for label in display.ax_.get_yticklabels()]
    pairs = pairwise(boxes)
    assert all(above.y0 > below.y0 + 0.5 * above.height for above, below in pairs)
    # Cut to their ends.
    assert {(len(name), name[0]) for name in written(display.ax_)} == {(32, "…")}


def test_wrong_arguments_are_rejected(choice):
    with pytest.raises(ValueError, match="metric must be one of 'auroc', 'error'"):
        draw(VALUES, metric="f1")
    with pytest.raises(TypeError, match="contains one; got StandardScaler"):
        LayerScoreDisplay.from_estimator(StandardScaler())
    with pytest.raises(NotFittedError):
        LayerScoreDisplay.from_estimator(MostDiscriminativeLayer(choice.model))
