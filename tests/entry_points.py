"""Every public entry point that takes inputs, as a function of a model and X."""

from functools import partial
from importlib.util import find_spec
from inspect import signature

import numpy as np
from networks import BatchNormNet, images, seeded
from novelty_detectors import MAKERS
from sklearn.pipeline import Pipeline, make_pipeline

from skgrad import (
    LODA,
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    GuardedClassifier,
    LayerActivationTransformer,
    MLPAnomalyClassifier,
    MostDiscriminativeLayer,
    NetworkFeatures,
    StabilityTransformer,
    attacks,
    evaluation,
    inspection,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
    predict_logits,
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
)
from skgrad.feature_extraction import (
    GradientNorms,
    LayerActivations,
    SaliencyCosines,
    Stability,
)

N_SAMPLES = 24
# Multiples of 1/16 are the same in every floating type.
IMAGES = np.round(images(N_SAMPLES, (2, 6, 6)) * 16) / 16
ROWS = np.round(images(N_SAMPLES, (5,), seed=1) * 16) / 16
OTHER = 1 - IMAGES / 2
LABELS = np.repeat([1, -1], [N_SAMPLES - 4, 4])
CLASSES = np.arange(N_SAMPLES) % 3
# Few samples: a threshold at half of them needs no warning that there are too few.
HALVES = {"target_fpr": 0.5, "calibration_fraction": 0.5, "random_state": 0}
RATE = {"target_fpr": 0.5, "random_state": 0}
SEED = {"random_state": 0}
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


def _confounding_gradient_detector(model):
    pipeline = make_confounding_gradient_detector(model, **SEED)
    pipeline[-1].set_params(max_epochs=3)
    return pipeline


FAMILIES = [
    ("gradients", GradientNorms()),
    ("cosines", SaliencyCosines(output="upper")),
    ("activations", LayerActivations(["conv", "logits"])),
    ("stability", Stability("blur")),
]
# Estimators and pipelines around a model.
MODEL_ESTIMATORS = {
    "ConfoundingGradientTransformer": ConfoundingGradientTransformer,
    "CosineSimilarityMatrixTransformer": CosineSimilarityMatrixTransformer,
    "LayerActivationTransformer": LayerActivationTransformer,
    "MostDiscriminativeLayer": partial(MostDiscriminativeLayer, **SEED),
    "NetworkFeatures": partial(NetworkFeatures, families=FAMILIES),
    "StabilityTransformer": partial(StabilityTransformer, **SEED),
    "GuardedClassifier": partial(GuardedClassifier, **RATE),
    "ODIN": partial(ODIN, **HALVES),
    "GradNorm": partial(GradNorm, **HALVES),
    "FeatureSqueezing": partial(FeatureSqueezing, bit_depth=4, **HALVES),
    "Mahalanobis": partial(Mahalanobis, layers="all", eps=0.01, **HALVES),
    "LID": partial(LID, n_neighbors=3, **HALVES),
    "KernelDensityUncertainty": partial(KernelDensityUncertainty, n_passes=3, **HALVES),
    "ELO": partial(ELO, layers="conv", **HALVES),
    "make_recommended_detector": partial(make_recommended_detector, **RATE),
    "make_confounding_gradient_detector": _confounding_gradient_detector,
    "make_geometric_gradient_detector": partial(
        make_geometric_gradient_detector, **RATE
    ),
    "make_uniform_detector": partial(make_uniform_detector, layers="conv", **RATE),
}
if find_spec("pytorch_ood"):
    MODEL_ESTIMATORS["PyTorchOODDetector"] = partial(
        PyTorchOODDetector, detector="EnergyBased", **HALVES
    )

# Estimators over features. How a wrapped detector of another library rejects inputs is
# not for skgrad to say.
FEATURE_ESTIMATORS = {
    name: partial(make, **HALVES)
    for name, make in MAKERS.items()
    if not name.startswith("wrapped")
}
FEATURE_ESTIMATORS["MLPAnomalyClassifier"] = partial(
    MLPAnomalyClassifier, max_epochs=2, **SEED
)

_EPS = {"eps": 0.1}
_STEPS = {"eps": 0.1, "n_steps": 2}
ATTACKS = {
    "fgsm": partial(attacks.fgsm, **_EPS),
    "bim": partial(attacks.bim, **_STEPS),
    "pgd": partial(attacks.pgd, **_STEPS),
    "iterative_least_likely": partial(attacks.iterative_least_likely, **_STEPS),
    "random_noise": partial(attacks.random_noise, **_EPS),
    "semantic": attacks.semantic,
    "rotate": attacks.rotate,
    "jsma": partial(attacks.jsma, gamma=0.05),
    "cosine_similarity_attack": partial(attacks.cosine_similarity_attack, **_STEPS),
    "fooling_images": partial(attacks.fooling_images, n_generations=2),
}
# Attacks by other libraries.
LIBRARY_ATTACKS = {}
if find_spec("foolbox"):
    LIBRARY_ATTACKS["carlini_wagner"] = partial(
        attacks.carlini_wagner, n_steps=2, binary_search_steps=1
    )
    LIBRARY_ATTACKS["foolbox_attack"] = partial(
        attacks.foolbox_attack, attack="LinfFastGradientAttack", **_EPS
    )


def network():
    """Make the network that the entry points are tried with."""
    return seeded(BatchNormNet)


def labels_for(estimator):
    """Return the y that an estimator is fitted with."""
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    return LABELS if isinstance(last, MLPAnomalyClassifier) else None


def methods_of(fitted):
    """Return the methods of a fitted estimator that take X, by name."""
    return {name: getattr(fitted, name) for name in METHODS if hasattr(fitted, name)}


def first_answer(fitted, X):
    """Return the features of a transformer, else the scores."""
    return np.asarray(next(iter(methods_of(fitted).values()))(X))


def _fit_and_apply(make, model, X):
    estimator = make(model)
    return first_answer(estimator.fit(X, labels_for(estimator)), X)


def _attack(attack, model, X):
    options = SEED if "random_state" in signature(attack).parameters else {}
    return attack(model, X, **options).X_adv


def _fitted_detector(model, X=IMAGES):
    features = LayerActivationTransformer(model, "logits")
    return make_pipeline(features, LODA(n_cuts=5, **RATE)).fit(X)


def _adaptive_pgd(model, X):
    detector = _fitted_detector(model)
    return attacks.adaptive_pgd(model, X, detector=detector, **_STEPS, **SEED).X_adv


def _evaluate(model, X_test=OTHER, anomalies=OTHER / 2, X_fit=None):
    result = evaluation.evaluate(
        model,
        {"odin": ODIN(model, **HALVES)},
        X_test,
        {"other": anomalies},
        X_fit=X_fit,
        n_folds=2,
    )
    return np.concatenate(
        [np.r_[one.metrics["auroc"], one.scores_anomaly] for one in result.results]
    )


def _classes_of(X):
    return CLASSES[: len(X)] if hasattr(X, "__len__") else CLASSES


def _make_anomalies(model, X):
    kinds = ["fgsm", "uniform noise", "misclassified"]
    threat = evaluation.Threat(eps=0.5, n_steps=2, **SEED)
    made = evaluation.make_anomalies(model, X, _classes_of(X), kinds, threat=threat)
    return np.concatenate([one.X for one in made.values()])


def _layer_norms(quantity, model, X):
    return inspection.layer_norms(model, X, quantity=quantity)[0]


def _score_contributions(model, X=OTHER[:3], X_test=IMAGES):
    detector = _fitted_detector(model)
    options = {"groups": "feature", "n_permutations": 2, **SEED}
    found = inspection.score_contributions(detector, X, X_test, **options)
    return found.contributions


# Functions of model and X, with the name that messages give to X.
FUNCTIONS = {
    "predict_logits": (predict_logits, "X"),
    "evaluate, X_test": (_evaluate, "X_test"),
    "evaluate, anomalies": (
        lambda model, X: _evaluate(model, anomalies=X),
        "anomalies",
    ),
    "evaluate, X_fit": (lambda model, X: _evaluate(model, X_fit=X), "X_fit"),
    "make_anomalies": (_make_anomalies, "X"),
    "layer_norms, gradients": (partial(_layer_norms, "gradients"), "X"),
    "layer_norms, activations": (partial(_layer_norms, "activations"), "X"),
    "score_contributions, X": (_score_contributions, "X"),
    "score_contributions, X_test": (
        lambda model, X: _score_contributions(model, X_test=X),
        "X_test",
    ),
    "AnomalySet": (lambda model, X: evaluation.AnomalySet(X).X, "X"),
}

# All of them as functions of model and X that return an array.
ENTRY_POINTS = {
    **{name: partial(_fit_and_apply, make) for name, make in MODEL_ESTIMATORS.items()},
    **{name: partial(_attack, attack) for name, attack in ATTACKS.items()},
    "adaptive_pgd": _adaptive_pgd,
    **{name: function for name, (function, _) in FUNCTIONS.items()},
}
del ENTRY_POINTS["AnomalySet"]  # takes no model
LIBRARY_ENTRY_POINTS = {
    name: partial(_attack, attack) for name, attack in LIBRARY_ATTACKS.items()
}
