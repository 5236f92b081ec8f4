"""The catalogue of wrong arguments, of all doors but for X, y and model."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from judged import many
from networks import BatchNormNet, images, seeded
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from torch import nn
from wrong_data import Fails, Yields

import skgrad
from skgrad import LODA, NoveltyKFold, datasets, evaluation, metrics
from skgrad.__main__ import main
from skgrad.attacks import adaptive_pgd, fgsm
from skgrad.baselines import (
    ELO,
    LID,
    ODIN,
    KernelDensityUncertainty,
    Mahalanobis,
    PyTorchOODDetector,
    make_baselines,
)
from skgrad.detectors import select_by_fdr

IMAGES, ROWS = images(24, (2, 6, 6)), images(24, (5,))
KINDS, SCORES = np.repeat([1, -1], 12), np.linspace(0, 1, 24)
NET = seeded(BatchNormNet).eval()
ENDLESS = Yields(24, lambda index: index % 3)
REFUSALS = (ValueError, TypeError, OSError, NotFittedError)
pytestmark = pytest.mark.usefixtures("time_limit")


def refused(call, parameter, *arguments):
    """Return the answer to a call that must be refused by the parameter's name."""
    with pytest.raises(REFUSALS) as caught:
        call(*arguments)
    message = str(caught.value)
    assert re.search(rf"(?<!\w)({parameter})(?!\w)", message), message
    # What checks many things for many users lists what is legal at length.
    assert len(message) < 1200
    return f"refused, {type(caught.value).__name__}"


MAIN = {
    "--seed": ["-1", "a", "1.5"],
    "--target-fpr": ["0", "1", "nan", "x"],
    "--device": ["gpu"],
    "--output": ["{file}", "{file}/folder"],
    "--nope": ["1"],
}
EVALUATE = {
    "--id": ["mnits", "", "{file}/none"],
    "--fit": ["nope"],
    "--anomalies": ["fgsmm", ",", "{file}", "digits"],
    "--data-dir": ["{file}/none --id mnist"],
    "--model": [
        "no_such_module:x",
        "torch",
        "torch:nope",
        "torch.nn:Linear",
        "math:pi",
        "torch.nn:Identity --id {file}/none",
    ],
    "--weights": [
        "{file}",
        "{file} --model torch.nn:Identity",
        "{file}/none --model torch.nn:Identity",
    ],
    "--detectors": ["mahalanobs", ",", "torch:nope", "a"],
    "--protocol": ["D"],
    "--target-fpr": ["0", "1", "x"],
    "--seeds": ["a", "-1", ",", "1.5"],
    "--eps": ["0", "inf", "x"],
    **{
        f"--n-{part}": ["0", "x", "1.5"]
        for part in ("fit", "test", "anomalies", "attack", "slow")
    },
    "--device": ["gpu"],
    "--cache": ["{file}"],
    "--n-fi": ["3"],
}


@pytest.mark.parametrize(
    ("command", "option"),
    [("", option) for option in MAIN] + [("evaluate", option) for option in EVALUATE],
)
def test_command_line(command, option, tmp_path, capsys, counted):
    (tmp_path / "file").write_text("no data")
    for values in (EVALUATE if command else MAIN)[option]:
        first, *more = values.format(file=tmp_path / "file").split(" ")
        words = [*command.split(), option, first, *more]
        if option != "--output":
            words += ["--output", str(tmp_path / "report")]
        try:
            status = main(words)
        except SystemExit as end:
            status = end.code
        told = capsys.readouterr().err
        assert status == 2
        assert told.count("\n") == 1
        assert told.startswith("skgrad")
        # A path that two options share may be told by the other.
        assert re.search("|".join(w for w in words if w[:2] == "--"), told), told
        counted("Wrong command lines", f"{command} {option}", "refused in one line")


def with_layers(make, parameter):
    return lambda layers: make(**{parameter: layers}).fit(IMAGES)


LAYERS = {
    "layers": [
        partial(skgrad.LayerActivationTransformer, NET),
        partial(skgrad.MostDiscriminativeLayer, NET),
        partial(Mahalanobis, NET),
        partial(LID, NET),
        partial(ELO, NET),
        partial(skgrad.make_recommended_detector, NET),
    ],
    "layer": [
        partial(KernelDensityUncertainty, NET),
        partial(skgrad.make_uniform_detector, NET),
        partial(PyTorchOODDetector, NET, detector="Mahalanobis"),
    ],
}
WRONG_LAYERS = {
    "unknown": "zzz",
    "near miss": "con",
    "empty list": [],
    "twice": ["conv", "conv"],
    "number": 3,
    "negative": -1,
    "number among names": ["conv", 3],
    "class": nn.Conv2d,
    "module": NET.conv,
    "dict": {"conv": 1},
    "set": {"conv"},
    "Dataset without an end": Yields(3, lambda index: "conv"),
}


@pytest.mark.parametrize("case", WRONG_LAYERS)
def test_layers(case, counted):
    for parameter, makes in LAYERS.items():
        for make in makes:
            call = with_layers(make, parameter)
            answer = refused(call, "layers?", WRONG_LAYERS[case])
            if case == "near miss":
                with pytest.raises(ValueError, match="'conv'"):
                    call("con")
            counted("Wrong layers", case, answer)


def scorer(y=KINDS, estimator=None, metric=metrics.auroc):
    estimator = LODA(target_fpr=0.5).fit(ROWS) if estimator is None else estimator
    return metrics.DetectionScorer(metric)(estimator, ROWS, y)


def attack(detector):
    return adaptive_pgd(NET, IMAGES, detector=detector, eps=0.1, n_steps=1)


def bootstrap(**options):
    return evaluation.bootstrap_intervals(
        **{"scores_id": SCORES, "scores_anomaly": SCORES, **options}
    )


def of_another_net():
    net = seeded(BatchNormNet)
    with torch.no_grad():
        net.head.weight.mul_(2)
    features = skgrad.LayerActivationTransformer(net)
    return make_pipeline(features, LODA(target_fpr=0.5)).fit(IMAGES)


STRANGE = {"none": None, "number": 3, "name": "resnet", "class": LODA}
SHAPES = [(), (0,), "abc", None, (1.5, 2), [[1], [1, 2]], (1, -8, 8), ENDLESS]
GROUPS = {
    "too few": np.arange(23),
    "two columns": np.ones((24, 2)),
    "one": np.zeros(24),
    "mixed": np.array([1, "a"] * 12, dtype=object),
    "ragged": [[1], [1, 2]] * 12,
    "number": 3,
    "Dataset": ENDLESS,
    "set": {1, 2},
    "kinds apart": np.arange(24) // 8,
}
RESULTS = {"none": None, "number": 3, "empty": [], "strings": ["a"], "one": many()[0]}
CALLS = {
    "names of data": (
        datasets.load_dataset,
        "name_or_path",
        ["fashion-mnits", "nothing", "", None, 3],
    ),
    "groups": (
        lambda groups: list(NoveltyKFold(3).split(ROWS, KINDS, groups)),
        "groups",
        GROUPS.values(),
    ),
    "lengths": (
        lambda X: NoveltyKFold(3).split(X, KINDS),
        "X",
        [3, iter(ROWS), ROWS[:3]],
    ),
    "estimators to score": (
        lambda estimator: scorer(estimator=estimator),
        "estimator|LODA",
        [3, "LODA", LODA, NET, LODA(), skgrad.LayerActivationTransformer(NET)],
    ),
    "metrics": (lambda metric: scorer(metric=metric), "metric", ["auroc", None, 3]),
    "metrics by class": (
        lambda metric: metrics.class_weighted(metric, KINDS, SCORES, KINDS),
        "metric",
        ["auroc", None, 3],
    ),
    "predicted classes": (
        lambda classes: metrics.class_weighted(metrics.auroc, KINDS, SCORES, classes),
        "predicted",
        [None, 3, KINDS[1:], [[1], [1, 2]] * 12, ENDLESS],
    ),
    "scores by class": (
        lambda scores: metrics.class_weighted(metrics.auroc, KINDS, scores, KINDS),
        "y_score",
        [None, 3, SCORES[1:], SCORES * np.nan, ENDLESS],
    ),
    "labels to score": (
        scorer,
        "y|y_true",
        [None, KINDS[1:], KINDS > 0, ["a"] * 24, [[1], [1, 2]] * 12, ENDLESS],
    ),
    "detectors to attack": (
        attack,
        "detector",
        [*STRANGE.values(), LODA(), ODIN(NET), make_pipeline(LODA())],
    ),
    "detectors of another model": (lambda _: attack(of_another_net()), "model", [0]),
    "models of baselines": (make_baselines, "model", STRANGE.values()),
    "names of detectors": (
        lambda names: evaluation.make_detectors(NET, names),
        "names",
        [["d"], 3, [3], None, "mahalanobs"],
    ),
    "classes to leave": (
        lambda y: fgsm(NET, IMAGES, y, eps=0.1),
        "y",
        [np.full(24, 3), np.full(24, -1), np.full(24, 2**40), ENDLESS],
    ),
    "classes to reach": (
        lambda y: fgsm(NET, IMAGES, target=y, eps=0.1),
        "target",
        [3, -1, np.full(24, 3), "randon", 1.5, ENDLESS],
    ),
    "labels to fit": (
        lambda y: [LODA().fit(ROWS, y), ODIN(NET).fit(IMAGES, y)],
        "y",
        [ENDLESS, KINDS[1:], -np.ones(24), np.ma.masked_less(KINDS, 0)],
    ),
    "labels of a classifier": (
        skgrad.MLPAnomalyClassifier(max_epochs=1).fit,
        "X|y",
        [(ROWS, ENDLESS)],
    ),
    "sources": (
        lambda sources: evaluation.AnomalySet(IMAGES, sources=sources),
        "sources",
        [KINDS[1:], SCORES, 3, ENDLESS],
    ),
    "discovery rates": (
        lambda fdr: LODA(target_fpr=0.5).fit(ROWS).select_anomalies(ROWS, fdr=fdr),
        "fdr",
        [0, 1, -1, "a", None, np.nan, [0.1]],
    ),
    "discovery rates of p-values": (
        partial(select_by_fdr, SCORES),
        "fdr",
        [0, 1, "a", None],
    ),
    "p-values": (select_by_fdr, "p_values", [[2.0], [-1.0], [np.nan], ["a"], None]),
    "sample weights": (
        lambda weights: LODA().fit(ROWS, sample_weight=weights),
        "sample_weight",
        [np.ones(24)],
    ),
    "labels to split": (datasets.split_ecg, "y", [None, [1, 2], ENDLESS, "ab"]),
    "parts": (lambda n: datasets.split_mnist(10, n_fit=n), "n_fit", [10, 0, 1.5, "a"]),
    **{
        f"shapes of {name}": (
            partial(getattr(datasets, f"make_{name}"), 3),
            "shape",
            SHAPES,
        )
        for name in ("gaussian_noise", "uniform_noise", "photo_patches")
    },
    "ranges of noise": (
        lambda low: datasets.make_uniform_noise(3, 4, low=low),
        "low",
        [1, np.nan, -np.inf, "a"],
    ),
    "resampled scores": (
        lambda scores: bootstrap(scores_id=scores),
        "scores_id",
        [None, "a", 3.0, np.c_[SCORES, SCORES], [np.nan], ["a", "b"], SCORES + 1j],
    ),
    "resampled anomalies": (
        lambda scores: bootstrap(scores_anomaly=scores),
        "scores_anomaly",
        [None, [np.nan], {"a": 1}, ENDLESS],
    ),
    "confidence": (
        lambda level: bootstrap(confidence=level),
        "confidence",
        [0, 1, 2, "a", None],
    ),
    **{
        f"results to {name}": (getattr(evaluation, name), "results", RESULTS.values())
        for name in ("render_table", "plot_heat_map", "plot_roc_curves")
    },
    "results to plot": (
        evaluation.plot_score_distributions,
        "results",
        RESULTS.values(),
    ),
    "metrics to plot": (
        lambda metric: evaluation.plot_heat_map(many(), metric=metric),
        "metric",
        ["aurok", None, 3],
    ),
    "networks to load": (
        lambda net: evaluation.load_network(net, "no such file"),
        "network|no such file",
        ["LeNet", None, nn.Linear, lambda: 3, NET],
    ),
    "networks to save": (
        lambda net: evaluation.save_network(net, "never written"),
        "network",
        ["LeNet", None, BatchNormNet, nn.LazyLinear(3)],
    ),
    "paths of weights": (
        evaluation.load_safetensors,
        "path|no such file|tests",
        [None, 3, "no such file"],
    ),
    "detectors to save": (
        lambda detector: skgrad.save(detector, "never written"),
        "detector",
        [None, 3, LODA],
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_arguments(case, counted):
    call, parameter, values = CALLS[case]
    for value in values:
        arguments = value if case == "labels of a classifier" else (value,)
        counted("Wrong arguments", case, refused(call, parameter, *arguments))


WRITERS = {
    "write_csv": lambda r, p: evaluation.write_csv(
        r, p, target_fpr=0.1, random_state=0
    ),
    "write_markdown": evaluation.write_markdown,
    "write_html": evaluation.write_html,
    "plot_score_distributions": evaluation.plot_score_distributions,
    "save_network": lambda r, p: evaluation.save_network(NET, p),
    "save": lambda r, p: skgrad.save(LODA(target_fpr=0.5).fit(ROWS), p),
    "load": lambda r, p: skgrad.load(p),
}


@pytest.mark.parametrize("name", WRITERS)
def test_paths(name, tmp_path, counted):
    write = WRITERS[name]
    paths = {"folder": tmp_path, "in no folder": tmp_path / "none" / "x.png"}
    for case, path in paths.items():
        answer = refused(write, f"path|{re.escape(str(path))}", many(), path)
        counted("Wrong paths", case, answer)
    for path in (3, [tmp_path]):
        counted("Wrong paths", "no path", refused(write, "path", many(), path))
    if name.startswith("plot"):
        answer = refused(write, "path", many(), tmp_path / "x.xyz")
        counted("Wrong paths", "unknown suffix", answer)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [skgrad.LayerActivationTransformer, ODIN])
def test_dataset_that_fails(make, counted):
    options = {"target_fpr": 0.5} if make is ODIN else {}
    fitted = make(NET, **options).fit(IMAGES)
    call = getattr(fitted, "score_samples", None) or fitted.transform
    before = np.asarray(call(IMAGES)).tobytes()
    with pytest.raises(OSError, match="image file is truncated"):
        call(Fails(IMAGES))
    assert np.asarray(call(IMAGES)).tobytes() == before
    counted("Wrong inputs", "Dataset that raises", "its own error")
