"""Paper A's classifier: any float X, any binary y."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.model_selection import cross_val_score
from torch.utils.data import TensorDataset

from skgrad import MLPAnomalyClassifier
from skgrad.detectors._mlp import _Batches

X, Y = make_moons(400, noise=0.15, random_state=0)
QUICK = {"random_state": 0, "learning_rate": 0.05, "patience": 10}


@pytest.mark.parametrize("dtype", [np.float16, ">f4"])
def test_any_float(dtype):
    classifier = MLPAnomalyClassifier(**QUICK).fit(X.astype(dtype), Y)
    assert classifier.score(X.astype(dtype), Y) > 0.95
    assert classifier.predict_proba(X.astype(dtype)).dtype == np.float64


@pytest.mark.parametrize("size", [1e-200, 1e300])
def test_any_size(size):
    classifier = MLPAnomalyClassifier(**QUICK).fit(X * size, Y)
    assert classifier.score(X * size, Y) > 0.95
    probability = classifier.predict_proba([[1e308, -1e308], [-1e308, 1e308]])
    assert np.isfinite(probability).all()


@pytest.mark.parametrize("labels", [[-1, 1], ["in", "out"], [False, True]])
def test_any_binary_labels(labels):
    y = np.array(labels)[Y]
    classifier = MLPAnomalyClassifier(**QUICK).fit(X, y)
    assert_array_equal(classifier.classes_, labels)
    assert (classifier.predict(X) == y).mean() > 0.95
    assert classifier.predict_proba(X)[Y == 1, 1].mean() > 0.8


def test_best_weights_are_kept_and_validation_rows_left_out():
    classifier = MLPAnomalyClassifier(**QUICK).fit(X, Y)
    history = classifier.net_.history[:, "valid_loss"]
    assert len(history) < classifier.max_epochs
    batches = classifier.net_.history[0, "batches", :, "train_batch_size"]
    assert sum(batches) == 200
    held_out = classifier.validation_indices_
    assert len(held_out) == 200
    assert abs(Y[held_out].mean() - 0.5) < 0.01
    with torch.no_grad():
        scaled = classifier.scaler_.transform(X[held_out])
        logits = classifier.net_.module_(torch.from_numpy(scaled))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(Y[held_out]))
    assert loss.item() == pytest.approx(min(history), rel=1e-9)


def test_seed_decides_and_global_generators_are_left_alone():
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_state = torch.get_rng_state()
    first, second = (MLPAnomalyClassifier(**QUICK).fit(X, Y) for _ in range(2))
    assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)


def test_clone_pickle_deepcopy_and_cross_validation():
    classifier = MLPAnomalyClassifier(max_epochs=10, **QUICK).fit(X, Y)
    expected = classifier.predict_proba(X)
    for copied in (pickle.loads(pickle.dumps(classifier)), copy.deepcopy(classifier)):
        assert_array_equal(copied.predict_proba(X), expected)
    assert cross_val_score(clone(classifier), X, Y, cv=3).min() > 0.8


def test_two_samples_are_enough_to_run():
    classifier = MLPAnomalyClassifier(max_epochs=2).fit([[0.0], [1.0]], [0, 1])
    assert classifier.predict_proba([[0.5]]).shape == (1, 2)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(400), "y must hold two labels; got only"),
        (np.arange(400) % 3, "Only binary classification.*multiclass: y must hold two"),
        (np.linspace(0, 1, 400), "Unknown label type: continuous"),
        (np.zeros(3), "inconsistent numbers of samples"),
    ],
)
def test_bad_labels(y, message):
    with pytest.raises(ValueError, match=message):
        MLPAnomalyClassifier().fit(X, y)


def test_every_epoch_has_all_rows_in_another_order():
    X = torch.arange(10.0)[:, None]
    batches = _Batches(TensorDataset(X, X[:, 0]), 4, shuffle=True)
    epochs = [list(batches) for _ in range(2)]
    assert [len(batch) for batch, _ in epochs[0]] == [4, 4, 2]
    orders = [torch.cat([batch[:, 0] for batch, _ in epoch]) for epoch in epochs]
    assert not torch.equal(*orders)
    assert all(torch.equal(order.sort().values, X[:, 0]) for order in orders)
    assert all(torch.equal(X[:, 0], y) for epoch in epochs for X, y in epoch)


def test_the_net_takes_arrays_itself():
    X, y = make_moons(50, random_state=0)
    classifier = MLPAnomalyClassifier(max_epochs=2, random_state=0).fit(X, y)
    scaled = classifier.scaler_.transform(X)
    expected = classifier.predict_proba(X)
    assert_allclose(classifier.net_.predict_proba(scaled), expected)
    assert len(classifier.net_.partial_fit(scaled, y).history) > 2
