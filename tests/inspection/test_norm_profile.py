"""Norms over the layers, recomputed by autograd and by hooks."""

import numpy as np
import pytest
import torch
from networks import LeNet, MaskedText, OfOneTensor, images, seeded
from torch import nn

from skgrad.inspection import NormProfileDisplay, layer_norms


def draw(norms, norms_id, layers, **options):
    data = {"norms": norms, "norms_id": norms_id, "layers": layers, **options}
    return NormProfileDisplay(**data).plot()


LAYERS = ["conv1", "conv2", "fc1", "fc2", "fc3"]
X = images(5, (1, 28, 28))


def test_gradients_are_those_of_autograd():
    model = seeded(LeNet)
    norms, layers = layer_norms(model, X, batch_size=2)
    assert layers == LAYERS
    for x, row in zip(torch.as_tensor(X), norms, strict=True):
        logits = model(x[None])
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits, torch.ones_like(logits)
        )
        weights = [getattr(model, layer).weight for layer in layers]
        expected = [g.norm().item() for g in torch.autograd.grad(loss, weights)]
        np.testing.assert_allclose(row, expected, rtol=1e-4)


@pytest.mark.parametrize("layers", [None, ["conv2", "fc3"], "fc1"])
def test_activations_are_those_of_hooks(layers):
    model = seeded(LeNet)
    norms, names = layer_norms(
        model, X, quantity="activations", layers=layers, batch_size=2
    )
    seen = {}
    for name in names:
        getattr(model, name).register_forward_hook(
            # The activation that follows works in place.
            lambda part, given, out, name=name: seen.update({name: out.clone()})
        )
    with torch.no_grad():
        model(torch.as_tensor(X))
    expected = [seen[name].flatten(1).norm(dim=1).numpy() for name in names]
    np.testing.assert_allclose(norms, np.transpose(expected), rtol=1e-5)


def test_gradient_of_a_layer_without_weight_is_that_of_all_its_parameters():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    model, series = Recurrent(), np.ones((2, 6, 3), dtype=np.float32)
    norms, _ = layer_norms(model, series, layers=["rnn"])
    logits = model(torch.as_tensor(series[:1]))
    loss = nn.functional.binary_cross_entropy_with_logits(
        logits, torch.ones_like(logits)
    )
    parts = torch.autograd.grad(loss, list(model.rnn.parameters()))
    expected = torch.sqrt(sum(part.square().sum() for part in parts)).item()
    assert norms[0, 0] == pytest.approx(expected, rel=1e-4)


def test_band_and_lines_are_drawn():
    norms_id = np.linspace(1, 2, 101)[:, None] * [1.0, 10.0, 100.0]
    norms = np.array([[1.5, 40.0, 0.0], [1.0, 1.0, 1.0]])
    display = draw(norms, norms_id, ["a", "b", "c"], input_names=["first", "second"])
    np.testing.assert_allclose(display.band[1], [1.5, 15, 150])
    lines = {line.get_label(): line.get_ydata() for line in display.ax_.lines}
    np.testing.assert_allclose(lines["in-distribution median"], [1.5, 15, 150])
    # A norm of 0 is drawn at the smallest of the others.
    np.testing.assert_allclose(lines["first"], [1.5, 40, 1.0])
    assert display.ax_.get_yscale() == "log"
    assert "gradients" in display.ax_.get_ylabel()


def test_layers_inside_attention_have_no_activations():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.attention(x, x, x)[0].mean(dim=1))

    series = images(3, (5, 4))
    names = [
        layer_norms(Attention(), series, quantity=quantity)[1]
        for quantity in ("gradients", "activations")
    ]
    assert names == [["attention.out_proj", "head"], ["head"]]


def test_many_inputs_are_counted_and_zeros_drawn():
    display = draw(np.zeros((9, 2)), np.zeros((3, 2)), ["a", "b"])
    display.figure_.canvas.draw()
    assert display.ax_.get_legend().get_texts()[2].get_text() == "9 inputs"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"layers": ["relu"]}, "layers with parameters of their own, .*got 'relu'"),
        ({"layers": ["conv"]}, "Did you mean 'conv"),
        ({"X": np.empty((0, 1, 28, 28))}, "at least one"),
        ({"model": nn.Linear(784, 3)}, "layers must be given for a model without"),
    ],
)
def test_wrong_arguments_are_rejected(change, match):
    with pytest.raises(ValueError, match=match):
        layer_norms(**{"model": seeded(LeNet), "X": X, **change})


def test_errors_about_in_distribution_inputs_name_them():
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="must be finite") as caught:
        NormProfileDisplay.from_estimator(model, [[0.0, 1.0]], [[np.nan, 0]])
    assert caught.value.__notes__ == ["The X of this message is X_test."]


@pytest.mark.parametrize("quantity", ["gradients", "activations"])
def test_norms_of_several_inputs(quantity):
    net = seeded(MaskedText, dtype=torch.float64)
    ids = np.random.default_rng(0).integers(1000, size=(7, 5))
    mask = np.tri(7, 5, dtype=np.int64)
    options = {"quantity": quantity, "batch_size": 3}
    X_several = {"input_ids": ids, "attention_mask": mask}
    found, layers = layer_norms(net, X_several, **options)
    assert layers == ["hidden", "head"]
    one = np.concatenate([ids, mask], axis=1).astype(float)
    expected, _ = layer_norms(OfOneTensor(net), one, **options)
    np.testing.assert_allclose(found, expected)
