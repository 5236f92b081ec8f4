"""scikit-learn's own checks on every public estimator."""

import copyreg
import inspect
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from networks import AnyWidth, AnyWidthDropout
from pyod.models.knn import KNN
from sklearn.ensemble import IsolationForest
from sklearn.svm import OneClassSVM
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

import skgrad
from skgrad import (
    LODA,
    ClassConditionalDetector,
    ClassConditionalGaussian,
    CombinedDetector,
    ConfidenceDrop,
    ConformalDetector,
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    Energy,
    GuardedClassifier,
    LayerActivationTransformer,
    MaxLogit,
    MaxSoftmaxProbability,
    MLPAnomalyClassifier,
    MostDiscriminativeLayer,
    NetworkFeatures,
    PerClassSVDD,
    PyODDetector,
    StabilityTransformer,
    StableConfidence,
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
from skgrad.detectors import (
    CORE,
    FDBD,
    GEN,
    NCI,
    RMDS,
    DeepKNN,
    DetectorPipeline,
    ViM,
)
from skgrad.feature_extraction import (
    GradientNorms,
    LayerActivations,
    SaliencyCosines,
)

# The checks fit on a handful of samples: a threshold at half of them needs no warning
# that there are too few, and the two logits are the last columns of whatever comes.
HALVES = {"target_fpr": 0.5, "calibration_fraction": 0.5}
# Those that need a layer before the logits take the logits: some checks have no more.
LOGITS_ALONE = {"layer": "logits", "blocks": [-1, 2]}
ESTIMATORS = [
    ConfoundingGradientTransformer(AnyWidth()),
    ConfoundingGradientTransformer(AnyWidth(), label="none", log=True),
    CosineSimilarityMatrixTransformer(AnyWidth()),
    CosineSimilarityMatrixTransformer(AnyWidth(), output="upper", sign=False),
    LayerActivationTransformer(AnyWidth(), ["bend", "logits"]),
    NetworkFeatures(
        AnyWidth(),
        [
            ("gradients", GradientNorms(log=True)),
            ("cosines", SaliencyCosines(output="upper")),
            ("activations", LayerActivations(["bend", "logits"])),
        ],
    ),
    StabilityTransformer(AnyWidth(), ["noise", "grey"], random_state=0),
    MostDiscriminativeLayer(AnyWidth(), ["bend"]),
    LODA(n_cuts=10, **HALVES),
    LODA(n_cuts=10, n_bins=5, **HALVES),
    PerClassSVDD(blocks=[-1, 2], **HALVES),
    ClassConditionalGaussian(blocks=[-1, 2], **HALVES),
    ClassConditionalGaussian(blocks=[-1, 2], covariance="tied", **HALVES),
    ClassConditionalDetector(OneClassSVM(), blocks=[-1, 2], **HALVES),
    MaxLogit(**HALVES),
    MaxSoftmaxProbability(**HALVES),
    Energy(**HALVES),
    GEN(**HALVES),
    RMDS(**LOGITS_ALONE, **HALVES),
    RMDS(normalize=True, **LOGITS_ALONE, **HALVES),
    DeepKNN(n_neighbors=2, **LOGITS_ALONE, **HALVES),
    FDBD(**LOGITS_ALONE, **HALVES),
    ViM(**LOGITS_ALONE, **HALVES),
    NCI(**LOGITS_ALONE, **HALVES),
    CORE(**LOGITS_ALONE, **HALVES),
    StableConfidence(**HALVES),
    ConfidenceDrop(copies="worst", **HALVES),
    CombinedDetector(
        [("energy", Energy()), ("cuts", LODA(n_cuts=10))], blocks=[-1, 2], **HALVES
    ),
    PyODDetector(KNN(n_neighbors=1), **HALVES),
    ConformalDetector(IsolationForest(n_estimators=10), **HALVES),
    ConformalDetector(KNN(n_neighbors=1), **HALVES),
    PerClassSVDD(blocks=[-1, 2], threshold="per_class", **HALVES),
    FeatureSqueezing(AnyWidth(), bit_depth=9, bounds=(-1e3, 1e3), **HALVES),
    GradNorm(AnyWidth(), **HALVES),
    ODIN(AnyWidth(), **HALVES),
    Mahalanobis(AnyWidth(), **HALVES),
    Mahalanobis(AnyWidth(), layers=["bend", "logits"], eps=0.1, **HALVES),
    LID(AnyWidth(), **HALVES),
    LID(AnyWidth(), layers=["bend", "logits"], **HALVES),
    KernelDensityUncertainty(AnyWidthDropout(), n_passes=5, **HALVES),
    KernelDensityUncertainty(AnyWidth(), n_passes=0, **HALVES),
    ELO(AnyWidth(), layers="bend", **HALVES),
    GuardedClassifier(AnyWidth(), target_fpr=0.5),
    MLPAnomalyClassifier(max_epochs=10, learning_rate=0.1, validation_fraction=0.1),
]
if find_spec("pytorch_ood"):
    ESTIMATORS.append(PyTorchOODDetector(AnyWidth(), "MaxLogit", **HALVES))

# Check name -> reason.
OF_THRESHOLDS_PER_CLASS = {
    "check_outliers_train": (
        "wants decision_function to be score_samples - offset_ and its sign to be that "
        "of one threshold; here each predicted class has a threshold of its own"
    ),
}
OF_NAMES = {
    "check_dataframe_column_names_consistency": (
        "gives columns of other names, among which a detector of the log-odds on "
        "changed inputs must not look for them"
    ),
}
OF_OTHER_CLASSES = "fits on classes that the network does not have"
OF_GUARDS = {
    "check_dtype_object": OF_OTHER_CLASSES,
    "check_classifiers_classes": OF_OTHER_CLASSES,
    "check_estimator_sparse_array": OF_OTHER_CLASSES,
    "check_estimator_sparse_matrix": OF_OTHER_CLASSES,
    "check_classifiers_one_label": (
        "wants the one class of y to be predicted; the network is trained already"
    ),
    "check_classifiers_train": (
        "wants the classes of y to be learnt; the network is trained already"
    ),
    "check_decision_proba_consistency": (
        "wants decision_function to rank as the probability of a class; here it ranks "
        "trust, as that of the detectors"
    ),
}


def expected_failures(estimator):
    if isinstance(estimator, GuardedClassifier):
        return OF_GUARDS
    if isinstance(estimator, (StableConfidence, ConfidenceDrop)):
        return OF_NAMES
    per_class = getattr(estimator, "threshold", None) == "per_class"
    return OF_THRESHOLDS_PER_CLASS if per_class else {}


def by_content(parameter):
    """Pickle a parameter as an array: torch writes down where in memory it is."""
    values = parameter.detach().numpy()
    return from_content, (values, parameter.requires_grad, parameter.grad)


def from_content(values, requires_grad, grad):
    parameter = nn.Parameter(torch.from_numpy(np.array(values)), requires_grad)
    parameter.grad = grad
    return parameter


@pytest.fixture
def seen_by_the_checks(monkeypatch):
    """Let checks look where they would see nothing."""
    # One compares the model before and after by joblib.hash.
    monkeypatch.setitem(copyreg.dispatch_table, nn.Parameter, by_content)
    # One is skipped without.
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


# The checks give class labels to detectors too.
@pytest.mark.filterwarnings("ignore:y holds 0 and 1, which was ignored")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_sklearn_checks(estimator, check, seen_by_the_checks):
    check(estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_no_tag_skips_the_checks(estimator):
    tags = estimator.__sklearn_tags__()
    assert tags.input_tags.two_d_array
    assert not tags.no_validation
    assert not tags.non_deterministic
    assert not tags._skip_test


def public_estimators():
    rooms = [getattr(skgrad, room) for room in skgrad._ROOMS]
    things = [getattr(room, name) for room in rooms for name in room.__all__]
    return {t for t in things if inspect.isclass(t) and hasattr(t, "fit")}


# Those that need a package which may be missing.
OPTIONAL = set() if find_spec("pytorch_ood") else {PyTorchOODDetector}


def test_every_public_estimator_is_checked():
    public = public_estimators()
    assert len(public) > 20
    # The checks are not for scikit-learn's Pipeline either, which fits its own steps.
    assert public - {type(e) for e in ESTIMATORS} == OPTIONAL | {DetectorPipeline}
