"""Anomalies by name: whom they deceive, where they come from, what is kept."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from recording_detectors import linear_model

from skgrad.attacks import pgd
from skgrad.evaluation import Threat, make_anomalies
from skgrad.evaluation._make_anomalies import _GROUP_OF, KINDS, find_name

QUICK = Threat(eps=0.4, n_steps=3, n_slow=5, random_state=0)
FAST = [
    *("noise in ball", "Semantic", "FGSM", "BIM", "BIM-a", "BIM-b", "IterLL"),
    *("PGD", "PGD L2", "T-SCE", "T-MSE", "CSA"),
]


@pytest.fixture
def data():
    """Draw inputs in [0, 1], a model, and classes; the model gets some wrong."""
    X = np.random.default_rng(0).random((30, 4)).astype(np.float32)
    y = X[:, :3].argmax(axis=1)
    y[::5] = (y[::5] + 1) % 3
    return linear_model(), X, y


def predicted(model, X):
    with torch.no_grad():
        return model(torch.from_numpy(X)).argmax(dim=1).numpy()


@pytest.mark.parametrize("kind", FAST)
def test_attacks_deceive_from_their_sources(data, kind):
    model, X, y = data
    sources = np.arange(30) + 100
    made = make_anomalies(model, X, y, [kind], threat=QUICK, sources=sources)
    found = made[kind]
    attacked = sources[predicted(model, X) == y][: 5 if kind == "CSA" else None]
    assert found.success_rate == len(found.X) / len(attacked)
    assert len(found.X) > 0 or kind == "CSA"
    rows = np.array(sources[:0] if found.sources is None else found.sources) - 100
    assert set(rows + 100) <= set(attacked)
    assert np.all(predicted(model, found.X) != y[rows])
    assert found.X.min(initial=0) >= 0
    assert found.X.max(initial=1) <= 1
    assert found.X.dtype == np.float32
    if kind not in ("Semantic", "PGD L2"):
        assert np.abs(found.X - X[rows]).max(initial=0) <= 0.4 + 1e-6


def test_misclassified_are_those_and_unchanged(data):
    model, X, y = data
    found = make_anomalies(model, X, y, ["misclassified"], sources=np.arange(30))
    assert_array_equal(found["misclassified"].sources, np.arange(0, 30, 5))
    assert_array_equal(found["misclassified"].X, X[::5])


def test_noise_has_number_shape_and_bounds(data):
    threat = Threat(bounds=(-2.0, 3.0), n_steps=3, n_slow=4, random_state=0)
    kinds = ["gaussian-noise", "uniform_noise", "fooling images"]
    made = make_anomalies(*data, kinds, threat=threat, sources=np.arange(30))
    assert list(made) == ["Gaussian noise", "uniform noise", "fooling images"]
    for kind, found in made.items():
        assert found.X.shape[1:] == (4,)
        assert len(found.X) == 30 or kind == "fooling images"
        assert -2 <= found.X.min() < found.X.max() <= 3
        assert found.X.dtype == np.float32
        assert found.sources is None
    assert made["uniform noise"].X.max() > 2.5


def test_a_kind_is_the_attack_and_does_not_depend_on_the_others(data):
    kinds = ["uniform noise", "PGD", "FGSM"]
    together = make_anomalies(*data, kinds, threat=QUICK)
    for kind in kinds:
        alone = make_anomalies(*data, [kind], threat=QUICK)
        assert_array_equal(alone[kind].X, together[kind].X)
    model, X, y = data
    right = predicted(model, X) == y
    threat = Threat(eps=0.1, random_state=4)
    for kind, how in (("PGD", {"eps": 0.1}), ("PGD L2", {"eps": 1.0, "norm": "l2"})):
        found = make_anomalies(*data, [kind], threat=threat)[kind]
        result = pgd(model, X[right], y[right], random_state=4, **how)
        assert_array_equal(found.X, result.X_adv[result.success])


def test_memory_returns_what_was_made(data, tmp_path):
    model, X, y = data
    given = {"model": model, "X": X, "y": y, "kinds": ["PGD"], "threat": QUICK}
    given |= {"memory": str(tmp_path), "sources": np.arange(30)}
    before = make_anomalies(**given)["PGD"]
    again = make_anomalies(**given | {"sources": np.arange(30) + 7})["PGD"]
    assert_array_equal(again.X, before.X)
    # Not measured again.
    assert again.seconds == before.seconds
    assert_array_equal(again.sources, before.sources + 7)
    other = linear_model()
    torch.nn.init.constant_(other.bias, 0.01)
    for change in (
        {"model": other},
        {"X": X + np.float32(1e-6)},
        {"y": np.zeros_like(y)},
        {"threat": Threat(eps=0.4, n_steps=3, n_slow=5, random_state=1)},
        {"threat": Threat(eps=0.41, n_steps=3, n_slow=5, random_state=0)},
    ):
        changed = make_anomalies(**given | change)["PGD"]
        assert changed.seconds != before.seconds, change


def test_nothing_to_attack(data):
    model, X, _ = data
    wrong = (predicted(model, X) + 1) % 3
    made = make_anomalies(model, X, wrong, FAST, threat=QUICK, sources=np.arange(30))
    for found in made.values():
        assert found.X.shape == (0, 4)
        assert np.isnan(found.success_rate)
    failed = make_anomalies(*data, ["PGD"], threat=Threat(eps=1e-9, n_steps=1))["PGD"]
    assert failed.X.shape == (0, 4)
    assert failed.success_rate == 0


def test_every_kind_has_a_group(data):
    kinds = ["misclassified", "uniform noise", "FGSM", "BIM-a", "Semantic"]
    made = make_anomalies(*data, kinds, threat=QUICK)
    groups = ["mistakes", "noise", "strong attacks", "minimal attacks"]
    assert [found.group for found in made.values()] == [*groups, "changed inputs"]
    assert sorted(_GROUP_OF) == sorted(KINDS)


def test_names():
    for name in KINDS:
        assert find_name(name.upper().replace(" ", "-"), KINDS) == name
    assert find_name("BB_L2", KINDS) == "B&B L2"
    assert find_name("pg", KINDS) is find_name(None, KINDS) is None


def test_wrong_arguments(data):
    model, X, y = data
    with pytest.raises(ValueError, match=r"y must .*0 to 2"):
        make_anomalies(model, X, y + 1, ["fgsm"])
    for sources in ([1], np.arange(31)):
        with pytest.raises(ValueError, match="sources must hold one value for each of"):
            make_anomalies(model, X, y, "PGD", sources=sources)
    with pytest.raises(ValueError, match=r"got 'pgdd'\. Did you mean 'PGD'"):
        make_anomalies(*data, ["fgsm", "pgdd"])
