"""Outlier exposure: the loss by hand, the batches and the effect of training."""

import numpy as np
import torch
from numpy.testing import assert_allclose
from torch import nn


def test_loss_by_hand():
    from outlier_exposure import OutlierExposureLoss

    logits = torch.tensor([[np.log(3.0), 0.0], [0.0, 0.0], [np.log(3.0), 0.0]])
    loss = OutlierExposureLoss(weight=2.0)(logits, torch.tensor([0, -1, -1]))
    known, flat, sharp = -np.log(3 / 4), np.log(2), -np.log(3 / 16) / 2
    assert_allclose(loss, known + 2 * (flat + sharp) / 2)


def test_batches_hold_samples_and_outliers():
    from outlier_exposure import MixedBatches

    order = MixedBatches(10, 7, batch_size=4, random_state=np.random.RandomState(0))
    batches = list(order)
    assert [len(batch) for batch in batches] == [12, 12, 6]
    assert len(order) == 3
    known = [[i for i in batch if i < 10] for batch in batches]
    assert [len(batch) for batch in known] == [4, 4, 2]
    assert sorted(i for batch in known for i in batch) == list(range(10))
    others = [i for batch in batches for i in batch if i >= 10]
    assert sorted(others[:7]) == sorted(others[7:14]) == list(range(10, 17))
    assert list(order) != batches


def test_confidence_falls_on_outliers_and_accuracy_stays():
    from outlier_exposure import fine_tune_with_outliers
    from paper_training import train_network

    rng = np.random.default_rng(0)
    centers = np.array([[3.0, 0.0], [-2.0, 3.0], [-2.0, -3.0]])
    y = np.arange(300) % 3
    X = (centers[y] + rng.normal(size=(300, 2))).astype("float32")
    angle = rng.uniform(0, 2 * np.pi, size=400)
    ring = (9 * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype("float32")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 3))
    net = train_network(network, X, y, learning_rate=0.05)
    before = {k: v.clone() for k, v in net.module_.state_dict().items()}
    options = {"max_epochs": 8, "learning_rate": 0.05, "batch_size": 50}

    def confidence(net):
        return net.predict_proba(ring[200:]).max(axis=1).mean()

    tuned = fine_tune_with_outliers(net.module_, X, y, ring[:200], **options)
    plain = fine_tune_with_outliers(net.module_, X, y, ring[:200], weight=0, **options)
    assert all(torch.equal(v, before[k]) for k, v in net.module_.state_dict().items())
    assert tuned.score(X, y) > net.score(X, y) - 0.02
    assert confidence(tuned) < 0.6
    assert min(confidence(net), confidence(plain)) > 0.8
    again = fine_tune_with_outliers(net.module_, X, y, ring[:200], **options)
    assert confidence(again) == confidence(tuned)
