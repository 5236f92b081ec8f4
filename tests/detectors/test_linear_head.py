"""The last linear layer as it is learnt, and what is said if there is none."""

import numpy as np
import pytest
import torch
from linear_heads import BIAS, BLOCKS, WEIGHT, draw_linear, split
from numpy.testing import assert_allclose
from sklearn.pipeline import make_pipeline
from torch import nn

from skgrad import LayerActivationTransformer
from skgrad.detectors import CORE, FDBD, NCI, ViM
from skgrad.detectors._linear_head import fit_head

METHODS = [FDBD, ViM, NCI, CORE]
# A threshold for which few samples suffice.
FEW = {"target_fpr": 0.5, "random_state": 0}


@pytest.mark.parametrize(
    ("dtype", "rtol"),
    [(torch.float32, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 5e-2)],
)
def test_weights_of_a_network(dtype, rtol):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(20, 50), nn.ReLU(), nn.Linear(50, 30), nn.ReLU())
    net = nn.Sequential(body, nn.Linear(30, 7)).to(dtype)
    X = np.random.default_rng(0).normal(size=(400, 20)).astype(np.float32)
    features = LayerActivationTransformer(net, ["penultimate", "logits"])
    columns = np.asarray(features.fit_transform(X), dtype=np.float64)
    weight, bias, left = fit_head(columns[:, :30], columns[:, 30:])
    true = net[-1].weight.detach().double().numpy()
    # Of features that are always 0 no weights can be known.
    varied = columns[:, :30].std(axis=0) > 0
    size = np.abs(true).max()
    assert varied.sum() > 15
    assert_allclose(weight[:, varied], true[:, varied], atol=rtol * size)
    assert (weight[:, ~varied] == 0).all()
    assert_allclose(bias, net[-1].bias.detach().double().numpy(), atol=10 * rtol * size)
    assert left < 0.005


def test_fewer_samples_than_features():
    features, logits, _ = split(draw_linear(4))
    weight, bias, left = fit_head(features, logits)
    assert_allclose(features @ weight.T + bias, logits)
    assert left < 1e-12
    # The weights in the three directions in which the features vary.
    centred = features - features.mean(axis=0)
    assert_allclose(weight, WEIGHT @ np.linalg.pinv(centred) @ centred, atol=1e-9)


def test_features_and_logits_of_any_size():
    features, logits, _ = split(draw_linear(100))
    weight, bias, _ = fit_head(features / 8, logits * 1e200)
    assert_allclose(weight, 8e200 * WEIGHT)
    assert_allclose(bias, 1e200 * BIAS)
    # Nothing but rounding varies.
    constant = np.full((50, 3), 0.1)
    weight, bias, left = fit_head(constant, constant)
    assert_allclose(weight, 0)
    assert_allclose(bias, 0.1)
    assert left == 0


@pytest.mark.parametrize("make", METHODS)
def test_a_layer_that_is_not_the_last(make):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
    net.append(nn.Linear(8, 3))
    X = 3 * np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)

    def over(layer, **options):
        features = LayerActivationTransformer(net, [layer, "logits"])
        return make_pipeline(features, make(**options, **FEW))

    with pytest.raises(ValueError, match=r"last linear layer.*'1'.*\['penultimate'"):
        over("1").fit(X)
    scores = [
        over(*layer, **options).fit(X).score_samples(X)
        for layer, options in ((["1"], {"tolerance": 1.0}), (["3"], {}))
    ]
    assert np.isfinite(scores).all()
    assert_allclose(over("penultimate").fit(X).score_samples(X), scores[1])


@pytest.mark.parametrize("make", METHODS)
def test_scale_of_the_features_is_immaterial_to_the_learnt_layer(make):
    X, queries = draw_linear(200), draw_linear(30, seed=1)
    options = {"alpha": 0} if make is NCI else {}
    expected = make(blocks=BLOCKS, **options, **FEW).fit(X).score_samples(queries)
    # As if the last layer had weights that are smaller by as much.
    units = np.r_[np.full(6, 1e30), np.ones(4)]
    detector = make(blocks=BLOCKS, **options, **FEW).fit(X * units)
    factor = 1e-30 if make is NCI else 1
    scores = detector.score_samples(queries * units)
    assert_allclose(scores, factor * expected, rtol=1e-6)
