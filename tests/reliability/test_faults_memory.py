"""Memory that runs out: smaller batches, or a way out; the model stays as it was."""

import copy

import numpy as np
import pytest
import torch
from judging import Distance
from networks import images, seeded
from numpy.testing import assert_allclose
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.utils.data import Dataset

from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    Energy,
    LayerActivationTransformer,
    attacks,
)
from skgrad.baselines import (
    ELO,
    ODIN,
    FeatureSqueezing,
    GradNorm,
    KernelDensityUncertainty,
    Mahalanobis,
)
from skgrad.evaluation import evaluate, make_anomalies
from skgrad.torch_engine import batching

KIND = "Faults"
# Few samples are enough here.
pytestmark = pytest.mark.filterwarnings("ignore:target_fpr")
SHAPE = (2, 6, 6)
X = images(21, SHAPE)
Y = np.arange(21) % 3
ERRORS = {
    "torch.OutOfMemoryError": torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB"),
    "RuntimeError": RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    "MemoryError": MemoryError("Unable to allocate 2 GiB"),
}


class Hungry(nn.Module):
    """A network that has memory for so many samples only."""

    most, error = 10**9, None

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        if len(x) > Hungry.most:
            raise Hungry.error
        return self.head(self.conv(x).relu().mean(dim=(2, 3)))


@pytest.fixture
def model():
    return seeded(Hungry)


@pytest.fixture(params=ERRORS)
def limit(request, monkeypatch):
    def set_limit(most):
        # A new one each time: notes would add up.
        error = ERRORS[request.param]
        monkeypatch.setattr(Hungry, "error", type(error)(*error.args))
        monkeypatch.setattr(Hungry, "most", most)

    set_limit.name = request.param
    return set_limit


def attacked(name, **options):
    def run(model):
        return getattr(attacks, name)(model, X, batch_size=16, **options).X_adv

    return run


def transformed(transformer, **options):
    return lambda model: np.asarray(
        transformer(model, batch_size=16, **options).fit_transform(X)
    )


def judged(detector, **options):
    def run(model):
        found = detector(model, batch_size=16, **options)
        found.fit(X, Y if isinstance(found, Mahalanobis) else None)
        return found.score_samples(X)

    return run


DOORS = {
    "ConfoundingGradientTransformer": transformed(ConfoundingGradientTransformer),
    "CosineSimilarityMatrixTransformer": transformed(CosineSimilarityMatrixTransformer),
    "LayerActivationTransformer": transformed(
        LayerActivationTransformer, layers=["conv", "logits"]
    ),
    "ODIN": judged(ODIN, random_state=0),
    "GradNorm": judged(GradNorm, random_state=0),
    "ELO": judged(ELO, random_state=0),
    "FeatureSqueezing": judged(FeatureSqueezing, random_state=0),
    "KernelDensityUncertainty": judged(
        KernelDensityUncertainty, n_passes=0, random_state=0
    ),
    "Mahalanobis": judged(Mahalanobis, random_state=0),
    "fgsm": attacked("fgsm", eps=0.1),
    "bim": attacked("bim", eps=0.1, n_steps=3),
    "pgd, random start": attacked("pgd", eps=0.1, n_steps=3, random_state=0),
    "pgd l2": attacked("pgd", eps=1.0, norm="l2", n_steps=3, random_state=0),
    "pgd, random targets": attacked(
        "pgd", eps=0.1, n_steps=3, target="random", random_state=0
    ),
    "random_noise": attacked("random_noise", eps=0.1, random_state=0),
    "rotate": attacked("rotate", random_state=0),
    "semantic": attacked("semantic"),
    "cosine_similarity_attack": attacked(
        "cosine_similarity_attack", eps=0.1, n_steps=3, random_state=0
    ),
}


def state_of(model):
    flags = [(p.requires_grad, p.grad) for p in model.parameters()]
    hooks = [len(part._forward_hooks) for part in model.modules()]
    modes = [part.training for part in model.modules()]
    return flags, hooks, modes, copy.deepcopy(model.state_dict())


def assert_unchanged(model, before):
    *rest, weights = state_of(model)
    assert rest == list(before[:-1])
    for name, weight in weights.items():
        assert torch.equal(weight, before[-1][name])


@pytest.mark.parametrize("door", DOORS)
def test_smaller_batches_give_the_same(door, model, limit, counted):
    expected, before = DOORS[door](model.train()), state_of(model)
    limit(5)
    with pytest.warns(RuntimeWarning, match=r"going on with \d+\. Set batch_size="):
        found = DOORS[door](model)
    assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert_unchanged(model, before)
    counted(KIND, f"{door}: {limit.name}", "survived: smaller batches, same result")


@pytest.mark.parametrize("door", DOORS)
def test_not_even_one_sample(door, model, limit, counted):
    before = state_of(model.train())
    limit(0)
    with pytest.raises(type(Hungry.error)) as caught:
        DOORS[door](model)
    assert caught.value is Hungry.error
    (note,) = caught.value.__notes__
    assert "fit" in note
    assert "take another device, such as device=" in note
    assert_unchanged(model, before)
    counted(KIND, f"{door}: no memory at all", "refused: the error, with a way out")


def test_anomalies_and_evaluation(model, limit, tmp_path, counted):
    def run():
        made = make_anomalies(model, X, Y, ["fgsm", "uniform noise"])
        far = {name: found.X for name, found in made.items() if len(found.X)}
        detectors = {
            "energy": make_pipeline(
                LayerActivationTransformer(model, "logits"), Energy(random_state=0)
            ),
            "distance": Distance(),
        }
        return evaluate(model, detectors, X, far, X_fit=images(30, SHAPE, seed=1))

    expected = run()
    limit(8)
    with pytest.warns(RuntimeWarning, match="going on with"):
        found = run()
    for one, other in zip(found.results, expected.results, strict=True):
        assert_allclose(one.scores_id, other.scores_id, rtol=1e-4)
        assert_allclose(one.scores_anomaly, other.scores_anomaly, rtol=1e-4)
    counted(KIND, f"evaluate: {limit.name}", "survived: smaller batches, same result")


class Large(Dataset):
    """Samples that are fine one by one."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return torch.full(SHAPE, index / 40)


def test_results_that_do_not_fit_together(model, monkeypatch, counted):
    transformer = LayerActivationTransformer(model, "logits", batch_size=10).fit(X)
    cat = torch.cat

    def full(tensors, *args, **options):
        if sum(map(len, tensors)) > 20:
            raise MemoryError("Unable to allocate 2 GiB")
        return cat(tensors, *args, **options)

    monkeypatch.setattr(batching.torch, "cat", full)
    with pytest.raises(MemoryError) as caught:
        transformer.transform(Large())
    assert "All 40 samples were computed" in caught.value.__notes__[0]
    assert "Give X in parts" in caught.value.__notes__[0]
    counted(KIND, "transform: features do not fit", "refused: the error, way out")
