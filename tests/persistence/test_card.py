"""The card: what a file says of the guard or detector in it."""

import datetime
import json
import pickle
import sys
import zipfile

import numpy as np
import pytest
import sklearn
import torch
from networks import AnyWidth
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

import skgrad
from skgrad import (
    LODA,
    ConformalDetector,
    Energy,
    GuardedClassifier,
    LayerActivationTransformer,
    MLPAnomalyClassifier,
    PerClassSVDD,
)
from skgrad.baselines import GradNorm
from skgrad.guard import Card

NET = AnyWidth()
X = np.random.default_rng(0).normal(size=(100, 4))


def energy(**options):
    features = LayerActivationTransformer(NET, "logits")
    return make_pipeline(features, Energy(random_state=0, **options))


@pytest.fixture
def guard():
    return GuardedClassifier(NET, energy(), target_fpr=0.1, random_state=0).fit(X)


@pytest.fixture
def path(guard, tmp_path):
    skgrad.save(guard, tmp_path / "guard.skgrad")
    return tmp_path / "guard.skgrad"


def saved_card(estimator, tmp_path):
    skgrad.save(estimator, tmp_path / "d")
    return skgrad.read_card(tmp_path / "d")


def test_card_of_a_guard_in_a_file(guard, path, monkeypatch):
    before = datetime.datetime.now(datetime.UTC)
    monkeypatch.setitem(sys.modules, "skops.io", None)  # not needed to read it
    card = skgrad.read_card(path)
    assert card.estimator == "GuardedClassifier"
    (network,) = card.networks
    assert (network["class"], network["n_parameters"]) == ("AnyWidth", 271)
    assert (card.n_fit, card.n_calibration) == (80, 20)
    # The second lowest of 20 scores is the threshold, so one of them is below it.
    assert (card.promised_fpr, card.measured_fpr, card.note) == (0.1, 0.05, "")
    assert card.versions["skgrad"] == skgrad.__version__
    assert card.versions["torch"] == torch.__version__.partition("+")[0]
    assert card.versions["scikit-learn"] == sklearn.__version__
    assert card.versions.keys() >= {"numpy", "skops"}
    age = before - datetime.datetime.fromisoformat(card.saved)
    assert abs(age) < datetime.timedelta(minutes=1)
    assert network["fingerprint"] in repr(card)
    assert "calibrated on 20 inputs" in repr(card)
    assert "5 % of the calibration inputs" in repr(card)


def test_card_of_a_network_that_was_changed_differs(guard, path):
    other = AnyWidth()
    with torch.no_grad():
        next(other.parameters()).add_(1)
    one = skgrad.read_card(path).networks[0]["fingerprint"]
    skgrad.save(GuardedClassifier(other, target_fpr=0.1).fit(X), path)
    assert skgrad.read_card(path).networks[0]["fingerprint"] != one


def test_a_guard_has_the_card_of_its_file_until_it_changes(guard, path):
    card = skgrad.read_card(path)
    assert guard.card_ == Card(**{**vars(card), "saved": None})
    loaded = skgrad.load(path, model=NET)
    assert loaded.card_ == card
    assert pickle.loads(pickle.dumps(loaded)).card_ == card
    for change in (
        lambda guard: guard.set_threshold(target_fpr=0.2),
        lambda guard: guard.recalibrate(X[:30]),
        lambda guard: guard.fit(X),
    ):
        changed = change(skgrad.load(path, model=NET))
        assert changed.card_.saved is None
    assert loaded.recalibrate(X[:30]).card_.n_calibration == 30
    assert loaded.card_.n_fit == 80


def test_versions_are_those_of_the_file(path):
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    card = json.loads(members["card.json"])
    card["versions"]["torch"] = "1.0"
    with zipfile.ZipFile(path, "w") as new:
        for name, content in {**members, "card.json": json.dumps(card)}.items():
            new.writestr(name, content)
    assert skgrad.read_card(path).versions["torch"] == "1.0"
    assert skgrad.load(path, model=NET).card_.versions["torch"] == "1.0"


def test_rates_that_are_not_promised_are_named(guard, tmp_path):
    by_score = saved_card(guard.set_threshold(score=np.inf), tmp_path)
    assert (by_score.promised_fpr, by_score.measured_fpr) == (None, 1.0)
    assert by_score.note == "the threshold is not that of target_fpr=0.1"
    assert guard.set_threshold(target_fpr=0.2).card_.promised_fpr == 0.2

    changed = energy(target_fpr=0.1).fit(X).set_params(energy__target_fpr=0.3)
    assert saved_card(changed, tmp_path).promised_fpr is None
    with pytest.warns(skgrad.detectors.TooFewSamplesWarning):
        few = saved_card(energy(target_fpr=0.01).fit(X), tmp_path)
    assert (few.promised_fpr, few.note[:7]) == (1 / 21, "too few")
    unfitted = saved_card(energy(), tmp_path)
    assert (unfitted.n_fit, unfitted.n_calibration) == (None, None)
    assert unfitted.note == "it is not fitted"
    mlp = MLPAnomalyClassifier(max_epochs=1).fit(X, np.repeat([1, -1], 50))
    assert "holds no inputs out" in saved_card(mlp, tmp_path).note
    assert "promised      no rate" in repr(saved_card(mlp, tmp_path))


HALF = {"target_fpr": 0.5, "random_state": 0}
DETECTORS = {
    "of features": (LODA(**HALF), 80, 20, 0),
    "with a network": (GradNorm(NET, **HALF), 80, 20, 1),
    "of another library": (
        ConformalDetector(IsolationForest(n_estimators=5), **HALF),
        *(80, 20, 0),
    ),
    "frozen": (
        ConformalDetector(FrozenEstimator(LODA(**HALF).fit(X)), **HALF),
        *(None, 100, 0),
    ),
    "per class": (
        make_pipeline(
            LayerActivationTransformer(NET),
            PerClassSVDD(threshold="per_class", **HALF),
        ),
        *(80, 20, 1),
    ),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_sizes_of_detectors(name, tmp_path):
    detector, n_fit, n_calibration, n_networks = DETECTORS[name]
    card = saved_card(detector.fit(X), tmp_path)
    assert (card.n_fit, card.n_calibration) == (n_fit, n_calibration)
    assert len(card.networks) == n_networks
    assert card.promised_fpr == 0.5
    assert 0 < card.measured_fpr <= 0.5


def test_html_of_a_guard_ends_with_its_card(guard):
    bundle = guard._repr_mimebundle_()
    assert bundle["text/plain"] == repr(guard)
    for html in (bundle["text/html"], guard._repr_html_()):
        assert "sk-container" in html
        assert html.endswith(guard.card_._repr_html_())
    unfitted = GuardedClassifier(NET)._repr_html_()
    assert "sk-container" in unfitted
    assert "calibrated on" not in unfitted
    with sklearn.config_context(display="text"):
        assert not hasattr(guard, "_repr_html_")
        assert guard._repr_mimebundle_().keys() == {"text/plain"}


def test_html_of_a_card_is_escaped(guard):
    card = Card(**{**vars(guard.card_), "note": "<script>"})
    assert "&lt;script&gt;" in card._repr_html_()
    assert "<script>" not in card._repr_html_()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"estimator": 1}'])
def test_what_is_no_card_raises(text, guard):
    with pytest.raises(ValueError, match=r"text must be what Card\.to_json returned"):
        Card.from_json(text)
    broken = {**json.loads(guard.card_.to_json()), "networks": 3}
    with pytest.raises(ValueError, match="text must be what"):
        Card.from_json(json.dumps(broken))


def test_files_without_a_card_raise(path, tmp_path):
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"guard.skgrad' holds no card: it is damaged"):
        skgrad.read_card(path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(ValueError, match=r"was not written by skgrad.save \(KeyError"):
        skgrad.read_card(tmp_path / "other.zip")
    with pytest.raises(FileNotFoundError):
        skgrad.read_card(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="path must be a str or a Path"):
        skgrad.read_card(3.5)
