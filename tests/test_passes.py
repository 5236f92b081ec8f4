"""What a public call costs: passes through the network, and reads of a Dataset.

Counted by hooks on the network, so that whatever the library does inside is seen.
"""

from collections import Counter
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import torch
from entry_points import HALVES
from networks import (
    AnyWidth,
    BatchNormNet,
    LeNet,
    Recurrent,
    Unrolled,
    images,
    seeded,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import FeatureUnion
from torch.utils.data import Dataset

from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    GuardedClassifier,
    LayerActivationTransformer,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad.feature_extraction import (
    GradientNorms,
    LayerActivations,
    NetworkFeatures,
    SaliencyCosines,
)

SHAPE, N_CLASSES = (1, 28, 28), 10  # of LeNet
BATCH = 3
X_FIT, X_TEST = images(24, SHAPE), images(7, SHAPE, seed=1)


def _supervised(model, **options):
    detector = make_confounding_gradient_detector(model, **options, random_state=0)
    return detector.set_params(classify__max_epochs=2)


def _novelty(make, **options):
    def make_it(model, **more):
        detector = make(model, **options, **more)
        return detector.set_params(**{f"detect__{k}": v for k, v in HALVES.items()})

    return make_it


_geometric = partial(_novelty, make_geometric_gradient_detector)
SUPERVISED = "paper A"
_recommended = partial(_novelty, make_recommended_detector)
# Each recipe, and how often a sample may go forward, and backward.
RECIPES = {
    # Of images in grey there are two changed copies.
    "recommended": (_recommended(), 3, 0),
    "recommended, low": (_recommended(effort="low"), 1, 0),
    "recommended, high": (_recommended(effort="high"), 3, 1),
    SUPERVISED: (_supervised, 1, 1),
    # The gradients of all classes are mixtures of one fewer, unless logits are scaled.
    "paper B": (_geometric(), 1, N_CLASSES - 1),
    "paper B, authors' code": (_geometric(setting="authors_code"), 1, N_CLASSES),
    "paper C": (_novelty(make_uniform_detector, layers="conv1"), 1, 0),
}
each_recipe = pytest.mark.parametrize("recipe", RECIPES)


@contextmanager
def counted_passes(model):
    """Count calls of a network, and the samples that go forward and backward."""
    counts = Counter(calls=0, forward=0, backward=0)

    # At the start, because a pass for an early layer may end before the logits.
    def begins(_, inputs):
        counts.update(calls=1, forward=len(inputs[0]))

    def ends(_, __, logits):
        if logits.requires_grad:
            logits.register_hook(goes_back)

    def goes_back(gradient):
        counts.update(backward=len(gradient))

    hooks = model.register_forward_pre_hook(begins), model.register_forward_hook(ends)
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


class Counting(Dataset):
    """Samples that count how often each is read."""

    def __init__(self, X):
        self.X, self.reads = torch.from_numpy(X), Counter()

    def __len__(self):
        return len(self.X)

    def __getitem__(self, index):
        self.reads[index] += 1
        return self.X[index]


def fitted(recipe, X, model=None):
    """Return the detector of a recipe around LeNet, fitted."""
    make, *_ = RECIPES[recipe]
    detector = make(model or seeded(LeNet), batch_size=BATCH)
    return detector.fit(X, np.arange(len(X)) % 2 if recipe == SUPERVISED else None)


def test_hooks_count_what_a_loop_does():
    model = seeded(LeNet).eval()
    with counted_passes(model) as counts:
        logits = model(torch.from_numpy(X_TEST))
        logits.sum().backward(retain_graph=True)
        torch.autograd.grad(logits[:, 0].sum(), list(model.parameters()))
        with torch.no_grad():
            model(torch.from_numpy(X_TEST[:2]))
    assert counts == {"calls": 2, "forward": 9, "backward": 14}
    model(torch.from_numpy(X_TEST))
    assert counts["calls"] == 2


@each_recipe
def test_predict_costs_one_pass(recipe):
    model = seeded(LeNet)
    detector = fitted(recipe, X_FIT, model)
    n, (_, forward, backward) = len(X_TEST), RECIPES[recipe]
    for method in ("predict", "decision_function", "predict_proba"):
        if hasattr(detector, method):
            with counted_passes(model) as counts:
                getattr(detector, method)(X_TEST)
            assert counts["forward"] == n * forward
            assert counts["calls"] == -(-n // BATCH) * forward
            assert counts["backward"] == n * backward


@pytest.mark.parametrize("recipe", [r for r in RECIPES if r != SUPERVISED])
def test_judge_costs_what_predict_costs(recipe):
    model = seeded(LeNet)
    make, forward, backward = RECIPES[recipe]
    detector = make(model, batch_size=BATCH)
    detector.set_params(detect__target_fpr=0.05)
    guard = GuardedClassifier(model, detector, target_fpr=0.5).fit(X_FIT)
    # Without logits among its features, paper B needs one more pass for the class.
    forward += "paper B" in recipe
    n = len(X_TEST)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    for ask in (guard.judge, guard.predict):
        with counted_passes(model) as counts:
            ask(X_TEST)
        assert counts["forward"] == n * forward
        assert counts["calls"] == -(-n // BATCH) * forward
        assert counts["backward"] == n * backward
    assert model.training
    assert all(torch.equal(model.state_dict()[key], state[key]) for key in state)
    # A wrong input among others costs at most the passes that it stopped.
    broken = X_TEST.copy()
    broken[0] = np.nan
    with counted_passes(model) as counts, pytest.warns(UserWarning, match="row 0"):
        guard.judge(broken)
    assert counts["forward"] == (n - 1) * forward


@each_recipe
def test_fit_costs_one_pass_and_a_probe(recipe):
    model, (_, forward, backward) = seeded(LeNet), RECIPES[recipe]
    probes = []
    for n in (len(X_FIT) - 1, len(X_FIT)):
        with counted_passes(model) as counts:
            fitted(recipe, X_FIT[:n], model)
        n_probed = counts["forward"] - n * forward, counts["backward"] - n * backward
        probes.append(n_probed)
    # Three samples, and one of them alone; one of each changed copy.
    assert probes[0][0] <= 4 + (forward - 1)
    # With the loss of each of the three alone, for the norms.
    assert probes[0][1] <= (9 if backward == 1 else 3 * backward)
    assert probes[1] == probes[0]


@each_recipe
def test_samples_of_a_dataset_are_read_once(recipe):
    data = Counting(X_FIT)
    detector = fitted(recipe, data)
    # A second read of those that come first shows whether they stay the same.
    assert {data.reads[i] for i in range(8, len(data))} == {1}
    assert {data.reads[i] for i in range(8)} <= {1, 2}
    unseen = Counting(X_TEST)
    predicted = detector.predict(unseen)
    assert unseen.reads == dict.fromkeys(range(len(unseen)), 1)
    assert_array_equal(predicted, detector.predict(X_TEST))


class Walked(LeNet):
    """A network that counts how often somebody walks through its modules."""

    walks = 0

    def modules(self):
        self.walks += 1
        return super().modules()


def test_fit_transform_holds_the_network_once():
    model = seeded(Walked)
    walks = []
    for method in ("fit", "fit_transform"):
        model.walks = 0
        # One batch, whose pass may walk too.
        transformer = LayerActivationTransformer(model, "conv1", batch_size=len(X_FIT))
        getattr(transformer, method)(X_FIT)
        walks.append(model.walks)
    assert walks[0] == walks[1] > 0


# Network, shape of its inputs, and the layer that is looked at.
NETWORKS = {
    "lenet": (LeNet, SHAPE, "conv1"),
    "batch_norm": (BatchNormNet, (2, 6, 6), "conv"),
    "recurrent": (Recurrent, (5, 3), "conv"),
    "unrolled": (Unrolled, (5, 3), "conv"),
    "rows": (AnyWidth, (5,), "bend"),
}


def families(layer, log=True):
    return {
        "gradients": GradientNorms(log=log),
        "activations": LayerActivations([layer, "logits"]),
        "cosines": SaliencyCosines(),
    }


def transformers(model, layer, log=True):
    return {
        "gradients": ConfoundingGradientTransformer(model, log=log, batch_size=BATCH),
        "activations": LayerActivationTransformer(
            model, [layer, "logits"], batch_size=BATCH
        ),
        "cosines": CosineSimilarityMatrixTransformer(model, batch_size=BATCH),
    }


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "chosen",
    [["gradients", "activations"], ["cosines", "gradients", "activations"]],
    ids=len,
)
def test_families_equal_their_transformers_and_a_union_of_them(name, chosen):
    make, shape, layer = NETWORKS[name]
    model = seeded(make, dtype=torch.float64)
    X = images(7, shape).astype(np.float64)
    several = [(key, families(layer)[key]) for key in chosen]
    union = FeatureUnion([(key, transformers(model, layer)[key]) for key in chosen])
    features = NetworkFeatures(model, several, batch_size=BATCH).fit(X)
    union.fit(X)
    with counted_passes(model) as counts:
        found = features.transform(X)
    with counted_passes(model) as separate:
        expected = union.transform(X)
    if name == "recurrent":  # which runs step by step in a pass with gradients
        assert_allclose(found, expected, rtol=1e-13, atol=1e-16)
    else:
        assert_array_equal(found, expected)
    names = features.get_feature_names_out().tolist()
    assert names == union.get_feature_names_out().tolist()
    assert found.feature_names.tolist() == names
    # Norms of a recurrent cell take passes of their own, but for a batch of one.
    n_alone = len(X) - len(X) % BATCH if name == "unrolled" else 0
    n_shared = (len(chosen) - 1) * len(X) - n_alone
    assert separate["forward"] - counts["forward"] == n_shared
    assert counts["backward"] == separate["backward"]
    # The others have parameters without a rule, for which each sample passes again.
    if name in ("lenet", "batch_norm", "recurrent"):
        assert counts["forward"] == len(X)
