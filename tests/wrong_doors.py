"""The doors: every public way in for inputs X, ready to be knocked at."""

from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from inspect import signature

import joblib
import numpy as np
from networks import BatchNormNet, images, seeded
from novelty_detectors import MAKERS as OVER_FEATURES
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from torch.nn.parameter import is_lazy

from skgrad import (
    LODA,
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
    MLPAnomalyClassifier,
    MostDiscriminativeLayer,
    attacks,
    evaluation,
    inspection,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad.baselines import (
    ELO,
    LID,
    ODIN,
    FeatureSqueezing,
    GradNorm,
    KernelDensityUncertainty,
    Mahalanobis,
    PyTorchOODDetector,
    fine_tune_with_outliers,
)

HALVES = {"target_fpr": 0.5, "calibration_fraction": 0.5, "random_state": 0}
N = 24
# Multiples of 1/16 are the same in every floating type.
IMAGES = np.round(images(N, (2, 6, 6)) * 16) / 16
ROWS = np.round(images(N, (5,), seed=1) * 16) / 16
ANOMALIES = np.repeat([1, -1], [N - 4, 4])
METHODS = (
    "transform",
    "score_samples",
    "decision_function",
    "predict",
    "p_values",
    "select_anomalies",
    "predict_proba",
    "log_p_values",
)
WITH_MODEL = {
    "ConfoundingGradientTransformer": ConfoundingGradientTransformer,
    "CosineSimilarityMatrixTransformer": CosineSimilarityMatrixTransformer,
    "LayerActivationTransformer": LayerActivationTransformer,
    "MostDiscriminativeLayer": partial(MostDiscriminativeLayer, random_state=0),
    "ODIN": partial(ODIN, **HALVES),
    "GradNorm": partial(GradNorm, **HALVES),
    "FeatureSqueezing": partial(FeatureSqueezing, bit_depth=4, **HALVES),
    "Mahalanobis": partial(Mahalanobis, **HALVES),
    "LID": partial(LID, n_neighbors=3, **HALVES),
    "KernelDensityUncertainty": partial(KernelDensityUncertainty, n_passes=3, **HALVES),
    "ELO": partial(ELO, layers="conv", **HALVES),
    "make_recommended_detector": partial(
        make_recommended_detector, target_fpr=0.5, random_state=0
    ),
    "make_confounding_gradient_detector": partial(
        make_confounding_gradient_detector, random_state=0
    ),
    "make_geometric_gradient_detector": partial(
        make_geometric_gradient_detector, target_fpr=0.5, random_state=0
    ),
    "make_uniform_detector": partial(
        make_uniform_detector, layer="conv", target_fpr=0.5, random_state=0
    ),
}
if find_spec("pytorch_ood"):
    WITH_MODEL["PyTorchOODDetector"] = partial(
        PyTorchOODDetector, detector="EnergyBased", **HALVES
    )
# What a wrapped detector takes, and how it refuses, is its own affair.
OVER_ROWS = {
    f"{name} detector": partial(make, **HALVES)
    for name, make in OVER_FEATURES.items()
    if not name.startswith("wrapped")
}
OVER_ROWS["MLPAnomalyClassifier"] = partial(
    MLPAnomalyClassifier, max_epochs=2, random_state=0
)
ATTACKS = {
    "fgsm": partial(attacks.fgsm, eps=0.1),
    "bim": partial(attacks.bim, eps=0.1, n_steps=2),
    "pgd": partial(attacks.pgd, eps=0.1, n_steps=2),
    "iterative_least_likely": partial(
        attacks.iterative_least_likely, eps=0.1, n_steps=2
    ),
    "random_noise": partial(attacks.random_noise, eps=0.1),
    "semantic": attacks.semantic,
    "rotate": attacks.rotate,
    "jsma": partial(attacks.jsma, gamma=0.05),
    "carlini_wagner": partial(attacks.carlini_wagner, n_steps=2, binary_search_steps=1),
    "cosine_similarity_attack": partial(
        attacks.cosine_similarity_attack, eps=0.1, n_steps=2
    ),
    "fooling_images": partial(attacks.fooling_images, n_generations=2),
}
if find_spec("foolbox"):
    ATTACKS["foolbox_attack"] = partial(
        attacks.foolbox_attack, attack="LinfFastGradientAttack", eps=0.1
    )
    ATTACKS["brendel_bethge"] = partial(attacks.brendel_bethge, n_steps=2)
if find_spec("art"):
    ATTACKS["art_attack"] = partial(
        attacks.art_attack, attack="FastGradientMethod", options={"eps": 0.1}
    )


FUNCTIONS = (
    "evaluate(X_test)",
    "evaluate(anomalies)",
    "evaluate(X_fit)",
    "train_network",
    "fine_tune_with_outliers(X)",
    "fine_tune_with_outliers(X_outliers)",
    "loss_alignment",
    "layer_norms(gradients)",
    "layer_norms(activations)",
    "score_contributions(X)",
    "score_contributions(X_id)",
    "AnomalySet",
)


@dataclass
class Door:
    """One way in.

    Attributes
    ----------
    good : ndarray
        Inputs that are taken.
    ask : dict of str to callable
        What takes inputs and returns numbers, by name.
    seen : callable
        Returns all that must be as before when inputs were refused.
    learn : callable or None
        Takes inputs, fits a fresh estimator, returns numbers that tell how it came out.
    relearn : callable or None
        Fits the one that ``ask`` asks once more.
    parameter : str
        What messages call the inputs.
    """

    good: np.ndarray
    ask: dict
    seen: object
    learn: object = None
    relearn: object = None
    parameter: str = "X"


def network():
    """Make the network that all doors with a model hold."""
    return seeded(BatchNormNet)


def content(tensor):
    """Return the values of a tensor, None of one that has none yet."""
    return None if is_lazy(tensor) else tensor.numpy()


def look(module):
    """Return all of a model that a refusal may not change."""
    if module is None:
        return None
    return (
        joblib.hash([content(value) for value in module.state_dict().values()]),
        [part.training for part in module.modules()],
        [(p.requires_grad, p.grad is None) for p in module.parameters()],
        [
            (len(part._forward_hooks), len(part._backward_hooks))
            for part in module.modules()
        ],
    )


def labels_for(estimator):
    """Return the y that an estimator is fitted with."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    return ANOMALIES if isinstance(last, MLPAnomalyClassifier) else None


def estimator_door(make, good, module=None):
    """Return the door of an estimator: fit, and all that scores or transforms."""
    estimator = make() if module is None else make(module)
    y = labels_for(estimator)
    fitted = clone(estimator).fit(good, y)
    ask = {name: getattr(fitted, name) for name in METHODS if hasattr(fitted, name)}
    first = next(iter(ask))

    def learn(X):
        return getattr(clone(estimator).fit(X, y), first)(good)

    def seen():
        return (
            look(module),
            repr(fitted.get_params()),
            np.asarray(ask[first](good)).tobytes(),
        )

    return Door(good, ask, seen, learn, lambda X: fitted.fit(X, y))


def attack_door(attack):
    """Return the door of an attack."""
    module = network()
    if "random_state" in signature(attack).parameters:
        attack = partial(attack, random_state=0)
    return Door(
        IMAGES, {"attack": lambda X: attack(module, X).X_adv}, lambda: look(module)
    )


@cache
def function_doors():
    """Return the functions that take inputs under this name or that."""
    module = network()
    logits = LayerActivationTransformer(module, "logits")
    classes = np.asarray(logits.fit_transform(IMAGES)).argmax(axis=1)
    odin = {"odin": ODIN(module, **HALVES)}
    other = 1 - IMAGES / 2

    def evaluate(X=IMAGES, anomalies=other, **options):
        options = {"seeds": (0,), "n_folds": 2, **options}
        result = evaluation.evaluate(module, odin, X, {"other": anomalies}, **options)
        return np.concatenate(
            [[r.metrics["auroc"], *r.scores_anomaly] for r in result.results]
        )

    def train(X):
        net = evaluation.train_network(network(), X, classes, max_epochs=1)
        return net.module_.head.weight.detach().numpy()

    def tune(X, outliers=other):
        net = fine_tune_with_outliers(
            module, X, classes, outliers, max_epochs=1, random_state=0
        )
        return net.module_.head.weight.detach().numpy()

    def align(X):
        return evaluation.loss_alignment(
            module, X, None, sigma=0.1, n_injections=2, random_state=0
        )

    def norms(X, quantity):
        return inspection.layer_norms(module, X, quantity=quantity)[0]

    detector = make_pipeline(
        clone(logits), LODA(n_cuts=5, target_fpr=0.2, random_state=0)
    ).fit(IMAGES)

    def contributions(X=other, X_id=IMAGES):
        options = {"groups": "feature", "n_permutations": 2, "random_state": 0}
        found = inspection.score_contributions(detector, X, X_id, **options)
        return found.contributions

    calls = {
        "evaluate(X_test)": (evaluate, "X_test"),
        "evaluate(anomalies)": (lambda X: evaluate(other, X), "anomalies"),
        "evaluate(X_fit)": (lambda X: evaluate(other, other / 2, X_fit=X), "X_fit"),
        "train_network": (train, "X"),
        "fine_tune_with_outliers(X)": (tune, "X"),
        "fine_tune_with_outliers(X_outliers)": (
            lambda X: tune(IMAGES, X),
            "X_outliers",
        ),
        "loss_alignment": (align, "X"),
        "layer_norms(gradients)": (lambda X: norms(X, "gradients"), "X"),
        "layer_norms(activations)": (lambda X: norms(X, "activations"), "X"),
        "score_contributions(X)": (contributions, "X"),
        "score_contributions(X_id)": (lambda X: contributions(other, X), "X_id"),
        "AnomalySet": (lambda X: evaluation.AnomalySet(X).X, "X"),
    }
    return {
        name: Door(IMAGES, {name: call}, lambda: look(module), parameter=parameter)
        for name, (call, parameter) in calls.items()
    }


@cache
def doors():
    """Return all doors by name; those of estimators are made when first opened."""
    found = {name: partial(attack_door, attack) for name, attack in ATTACKS.items()}
    for name, make in WITH_MODEL.items():
        found[name] = lambda make=make: estimator_door(make, IMAGES, network())
    for name, make in OVER_ROWS.items():
        found[name] = partial(estimator_door, make, ROWS)
    for name in FUNCTIONS:
        found[name] = lambda name=name: function_doors()[name]
    return {name: cache(make) for name, make in found.items()}
