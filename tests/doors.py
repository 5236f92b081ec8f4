"""Every public door through which a model goes, as functions of model and inputs."""

from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from sklearn.pipeline import make_pipeline

from skgrad import (
    LODA,
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
    MostDiscriminativeLayer,
    make_recommended_detector,
)
from skgrad.attacks import (
    adaptive_pgd,
    bim,
    cosine_similarity_attack,
    fgsm,
    fooling_images,
    iterative_least_likely,
    pgd,
    random_noise,
    rotate,
    semantic,
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
from skgrad.evaluation import Threat, evaluate, loss_alignment, make_anomalies
from skgrad.inspection import layer_norms, score_contributions


def _features(make, model, X):
    return np.asarray(make(model).fit(X).transform(X))


def _scores(make, model, X):
    return make(model, random_state=0, target_fpr=0.2).fit(X).score_samples(X)


def _attacked(attack, model, X):
    return attack(model, X[:6]).X_adv


def _adaptive(model, X):
    detector = make_pipeline(
        LayerActivationTransformer(model, "logits"),
        LODA(n_cuts=5, target_fpr=0.2, random_state=0),
    ).fit(X)
    options = {"detector": detector, "eps": 0.1, "n_steps": 2, "random_state": 0}
    return adaptive_pgd(model, X[:6], **options).X_adv


def _evaluated(model, X):
    detectors = {"ODIN": ODIN(model, target_fpr=0.2)}
    noise = np.random.default_rng(1).uniform(size=X[:10].shape)
    result = evaluate(model, detectors, X[20:], {"noise": noise}, X_fit=X[:20])
    return np.concatenate(
        [np.r_[one.scores_id, one.scores_anomaly] for one in result.results]
    )


def _anomalies(model, X):
    kinds = ["pgd", "fgsm", "uniform noise", "misclassified"]
    made = make_anomalies(
        model, X[:6], np.arange(6) % 3, kinds, threat=Threat(eps=0.5, n_steps=2)
    )
    return np.concatenate([one.X for one in made.values()])


def _aligned(model, X):
    return loss_alignment(model, X[:2], sigma=0.1, n_injections=3, random_state=0)


def _norms(model, X):
    return layer_norms(model, X)[0]


def _contributions(model, X):
    detector = make_pipeline(
        LayerActivationTransformer(model, "logits"),
        LODA(n_cuts=5, target_fpr=0.2, random_state=0),
    ).fit(X)
    options = {"groups": "feature", "n_permutations": 2, "random_state": 0}
    return score_contributions(detector, X[:3], X, **options).contributions


def _tuned(model, X):
    net = fine_tune_with_outliers(
        model,
        X[:8],
        np.arange(8) % 3,
        1 - X[:8],
        max_epochs=1,
        batch_size=4,
        random_state=0,
    )
    with torch.no_grad():
        return torch.cat([p.flatten() for p in net.module_.parameters()]).numpy()


_TRANSFORMERS = {
    "parameter gradients": ConfoundingGradientTransformer,
    "input gradients": CosineSimilarityMatrixTransformer,
    "activations": LayerActivationTransformer,
    "most discriminative layer": partial(MostDiscriminativeLayer, random_state=0),
}
_DETECTORS = {
    "ODIN": ODIN,
    "GradNorm": GradNorm,
    "feature squeezing": partial(FeatureSqueezing, bit_depth=6),
    "Mahalanobis": partial(Mahalanobis, layers="all", epsilon=0.01),
    "LID": LID,
    "density and uncertainty": partial(KernelDensityUncertainty, n_passes=3),
    "ELO": ELO,
    "recommended": make_recommended_detector,
}
if find_spec("pytorch_ood"):
    _DETECTORS["pytorch-ood"] = partial(PyTorchOODDetector, detector="EnergyBased")
_ATTACKS = {
    "fgsm": partial(fgsm, eps=0.1),
    "bim": partial(bim, eps=0.1, n_steps=2),
    "pgd": partial(pgd, eps=0.1, n_steps=2, random_state=0),
    "iterative least likely": partial(iterative_least_likely, eps=0.1, n_steps=2),
    "cosine attack": partial(
        cosine_similarity_attack, eps=0.1, n_steps=2, random_state=0
    ),
    "random noise": partial(random_noise, eps=0.1, random_state=0),
    "rotate": partial(rotate, random_state=0),
    "semantic": semantic,
    "fooling images": partial(fooling_images, n_generations=3, random_state=0),
}
DOORS = {
    **{name: partial(_features, make) for name, make in _TRANSFORMERS.items()},
    **{name: partial(_scores, make) for name, make in _DETECTORS.items()},
    **{name: partial(_attacked, attack) for name, attack in _ATTACKS.items()},
    "adaptive attack": _adaptive,
    "evaluate": _evaluated,
    "make_anomalies": _anomalies,
    "loss_alignment": _aligned,
    "layer_norms": _norms,
    "score_contributions": _contributions,
    "fine_tune_with_outliers": _tuned,
}
