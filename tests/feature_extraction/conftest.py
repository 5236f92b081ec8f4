"""A small image network, and the transformers around it."""

from functools import partial

import pytest
from networks import BatchNormNet, seeded

from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
    NetworkFeatures,
    StabilityTransformer,
)
from skgrad.feature_extraction import (
    GradientNorms,
    LayerActivations,
    SaliencyCosines,
    Stability,
)

MAKERS = {
    "confounding": ConfoundingGradientTransformer,
    "cosine": CosineSimilarityMatrixTransformer,
    "activation": partial(LayerActivationTransformer, layers=["conv", "logits"]),
    # Noise needs inputs that vary, of which some tests have one.
    "stability": partial(StabilityTransformer, changes="grey"),
    "several": partial(
        NetworkFeatures,
        families=[
            ("gradients", GradientNorms(log=True)),
            ("cosines", SaliencyCosines()),
            ("activations", LayerActivations(["conv", "logits"])),
            ("stability", Stability("grey")),
        ],
    ),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request):
    """Each of the transformers."""
    return request.param


@pytest.fixture
def makers():
    """All transformers by name."""
    return MAKERS


@pytest.fixture
def model():
    """An image network for samples of shape (2, height, width), with 3 classes."""
    net = seeded(BatchNormNet)
    # Statistics other than 0 and 1, so that evaluation mode shows.
    net.norm.running_mean += 0.3
    net.norm.running_var *= 2
    return net
