"""`evaluate`: attacks that do not tell their sources, and rows for shaped inputs."""

import numpy as np
import pytest
import torch
from networks import images
from numpy.testing import assert_array_equal
from recording_detectors import Distance, linear_model, rows
from sklearn.pipeline import make_pipeline
from torch import nn

from skgrad import LayerActivationTransformer, MaxSoftmaxProbability
from skgrad.attacks import fgsm
from skgrad.evaluation import AnomalySet, evaluate

X_TEST, Y_TEST = rows(50, seed=2)
X_FIT, _ = rows(60, seed=1)


@pytest.mark.parametrize("options", [{"protocol": "A"}, {"protocol": "A'"}, {}])
def test_attacks_without_sources_are_refused_where_test_inputs_are_fitted_on(options):
    model = linear_model()
    result = fgsm(model, X_TEST, eps=0.5, bounds=(-50, 50))
    judged = {"distance": Distance()}
    with pytest.raises(ValueError, match=r"anomalies\['FGSM'\] must tell its sources"):
        evaluate(model, judged, X_TEST, {"FGSM": result}, **options)
    told = AnomalySet.from_attack(result, sources=np.arange(50))
    evaluate(model, judged, X_TEST, {"FGSM": told}, **options)
    # Fitted on other inputs, no clean one can be on the other side.
    if not options:
        evaluate(model, judged, X_TEST, {"FGSM": result}, X_fit=X_FIT)


def test_rows_are_judged_as_the_inputs_that_they_are():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 16, 3))
    X = images(80, (1, 6, 6))
    noise = images(20, (1, 6, 6), seed=1) ** 9

    def judge(X, noise, shape=None):
        logits = LayerActivationTransformer(model, "logits", input_shape=shape)
        detector = make_pipeline(logits, MaxSoftmaxProbability(target_fpr=0.2))
        found = evaluate(
            model,
            {"max softmax": detector},
            X[60:],
            {"noise": noise},
            X_fit=X[:60],
            input_shape=shape,
        )
        return found.results[0]

    shaped = judge(X, noise)
    flat = judge(X.reshape(80, -1), noise.reshape(20, -1), (1, 6, 6))
    assert_array_equal(flat.scores_anomaly, shaped.scores_anomaly)
    assert_array_equal(flat.classes_id, shaped.classes_id)
    assert torch.is_grad_enabled()
