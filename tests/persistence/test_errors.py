"""What is not saved, what is not loaded, and that no code from a file is run."""

import copy
import itertools
import json
import pickle
import sys
import warnings
import zipfile

import numpy as np
import pytest
import skops.io
import torch
from networks import AnyWidth, two_classes
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

import skgrad
from skgrad import LODA, CombinedDetector, LayerActivationTransformer
from skgrad.baselines import PyTorchOODDetector

X = np.random.default_rng(0).normal(size=(40, 4))
CALLS = []


def record_call(*args):
    CALLS.append(args)


class Pickled:
    def __reduce__(self):
        return record_call, ("pickled",)


class OwnEstimator(BaseEstimator):
    def fit(self, X, y=None):
        return self


@pytest.fixture
def loda(tmp_path):
    path = tmp_path / "loda.skgrad"
    skgrad.save(LODA(n_cuts=3, n_bins=5, target_fpr=0.5).fit(X), path)
    return path


@pytest.fixture
def layers(tmp_path):
    path = tmp_path / "layers.skgrad"
    skgrad.save(LayerActivationTransformer(AnyWidth(), "bend").fit(X), path)
    return path


@pytest.fixture(autouse=True)
def no_code_was_run():
    yield
    assert CALLS == []


def changed_weight():
    net = AnyWidth()
    with torch.no_grad():
        net.weight[0, 0] += 1e-12
    return net


def changed_activation():
    net = AnyWidth()
    net.bend = nn.Sigmoid()
    return net


OTHERS = {
    "other weights": (changed_weight, "but other weights or layers"),
    "other activation": (changed_activation, "but other weights or layers"),
    "no network": (lambda: None, r"got None\. Pass it as model="),
    "two others": (lambda: [changed_weight(), two_classes()], r" and Linear \(6"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_network_raises(name, layers):
    make, match = OTHERS[name]
    with pytest.raises(ValueError, match=match) as info:
        skgrad.load(layers, model=make())
    assert "fitted on, AnyWidth (271 parameters)" in str(info.value)


def test_the_same_network_is_accepted_in_any_state(layers):
    net = AnyWidth().train().requires_grad_(False)
    for model in (net, [net], copy.deepcopy(net)):
        skgrad.load(layers, model=model).transform(X)
    skorch = pytest.importorskip("skorch")
    wrapped = skorch.NeuralNetClassifier(AnyWidth, classes=[0, 1, 2]).initialize()
    assert skgrad.load(layers, model=wrapped).model is wrapped
    skgrad.save(skgrad.load(layers, model=wrapped), layers)
    assert skgrad.load(layers, model=net).model is net


def test_several_networks_in_any_order(tmp_path):
    one, two = AnyWidth(), AnyWidth(n_classes=4)
    parts = [LayerActivationTransformer(net, "bend") for net in (one, two)]
    skgrad.save(make_pipeline(*parts).fit(X), tmp_path / "d")
    loaded = skgrad.load(tmp_path / "d", model=[two, one])
    assert (loaded[0].model, loaded[1].model) == (one, two)
    with pytest.raises(ValueError, match=r"fitted on, AnyWidth \(276"):
        skgrad.load(tmp_path / "d", model=one)


def test_a_network_that_the_file_does_not_need_raises(loda):
    with pytest.raises(ValueError, match="model must be None: LODA in"):
        skgrad.load(loda, model=AnyWidth())


def test_what_is_no_network_raises(layers):
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module"):
        skgrad.load(layers, model="net.pt")
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module"):
        skgrad.save(LayerActivationTransformer("net.pt"), layers)


def test_a_traced_network_is_recognised(tmp_path):
    example = torch.zeros(1, 4, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have it compiled
        traced = torch.jit.trace(AnyWidth().eval(), example)
    skgrad.save(LayerActivationTransformer(traced), tmp_path / "d")
    assert skgrad.load(tmp_path / "d", model=traced).model is traced


def rewrite(path, change):
    """Change the schema of a file by a function of its dict."""
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    content["schema.json"] = json.dumps(change(json.loads(content["schema.json"])))
    with zipfile.ZipFile(path, "w") as new:
        for name, part in content.items():
            new.writestr(name, part)


DAMAGES = {
    "empty": lambda p: p.write_bytes(b""),
    "cut short": lambda p: p.write_bytes(p.read_bytes()[:-30]),
    "a pickle": lambda p: p.write_bytes(pickle.dumps(Pickled())),
    "weights of torch": lambda p: torch.save(nn.Linear(2, 2).state_dict(), p),
    "skops file without estimator": lambda p: skops.io.dump([1, 2], p),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_foreign_files_raise(damage, loda):
    DAMAGES[damage](loda)
    with pytest.raises(ValueError, match=r"loda.skgrad' is damaged or was not written"):
        skgrad.load(loda)


NUMBERS = itertools.count(1)


def node(loader, module, name, **content):
    head = {"__class__": name, "__module__": module, "__loader__": loader}
    return {**head, "__id__": next(NUMBERS), **content}


def call(module, name, *values):
    """Return the node of a call: skops calls a trusted class with any arguments."""
    texts = [
        node("JsonNode", "builtins", "str", content=json.dumps(v), is_json=True)
        for v in values
    ]
    arguments = node("TupleNode", "builtins", "tuple", content=texts)
    return node("ConstructorFromReduceNode", module, name, content=arguments)


UNTRUSTED = {
    "os.system": call("os", "system", "echo"),
    "a class imported by a detector": call("skgrad.detectors._loda", "Interval", 1),
    "a function of a detector's module": node(
        "FunctionNode", "skgrad.detectors._decision", "take"
    ),
    "a class of another package of skgrad": call(
        "skgrad.evaluation._anomaly_set", "AnomalySet", "x"
    ),
    "a class of this file": call(__name__, "OwnEstimator"),
    "a module that does not exist": call("skgrad.detectors.nowhere", "Thing"),
}


@pytest.mark.parametrize("what", UNTRUSTED)
def test_what_is_not_trusted_raises_and_is_not_run(what, loda, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def with_node(schema):
        schema["content"]["estimator"]["content"]["content"]["n_cuts"] = UNTRUSTED[what]
        return schema

    rewrite(loda, with_node)
    named = "{__module__}.{__class__}".format(**UNTRUSTED[what])
    with pytest.raises(ValueError, match=rf"does not trust .*trusted=\['{named}'\]"):
        skgrad.load(loda)
    assert [path.name for path in tmp_path.iterdir()] == ["loda.skgrad"]


def own_function(X):
    return X


def test_own_classes_and_functions_may_be_trusted(tmp_path):
    pipeline = make_pipeline(FunctionTransformer(own_function), OwnEstimator()).fit(X)
    skgrad.save(pipeline, tmp_path / "d")
    names = [f"{__name__}.OwnEstimator", f"{__name__}.own_function"]
    for trusted in ([own_function, OwnEstimator], names):
        loaded = skgrad.load(tmp_path / "d", trusted=trusted)
        assert loaded[0].func is own_function
        assert type(loaded[1]) is OwnEstimator
    with pytest.raises(ValueError, match=r"OwnEstimator'.*own_function'"):
        skgrad.load(tmp_path / "d")


@pytest.mark.parametrize("trusted", ["Own", OwnEstimator, own_function])
def test_trusted_must_be_a_list(trusted, loda):
    with pytest.raises(TypeError, match="trusted must be a list of names, classes"):
        skgrad.load(loda, trusted=trusted)


UNSAVEABLE = {
    "a lambda": CombinedDetector([("a", LODA())], two_sided=[lambda X: X]),
    "a tensor": CombinedDetector([("a", LODA())], blocks=torch.zeros(2)),
}


@pytest.mark.parametrize("what", UNSAVEABLE)
def test_what_cannot_be_saved_raises(what, tmp_path):
    path = tmp_path / "d"
    path.write_text("what was there")
    with pytest.raises(TypeError, match=r"cannot be saved without code: .* pickle"):
        skgrad.save(UNSAVEABLE[what], path)
    assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]


def test_fitted_detectors_of_pytorch_ood_cannot_be_saved(tmp_path):
    pytest.importorskip("pytorch_ood")
    fitted = PyTorchOODDetector(AnyWidth(), "KLMatching", target_fpr=0.5).fit(X)
    with pytest.raises(TypeError, match="cannot be saved without code"):
        skgrad.save(fitted, tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_wrong_paths_and_detectors_raise(tmp_path):
    for action in (lambda p: skgrad.save(LODA(), p), skgrad.load):
        with pytest.raises(OSError, match=r"directory"):
            action(tmp_path)
        with pytest.raises(TypeError, match=r"path must be a str or a Path; got 3\.5"):
            action(3.5)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        skgrad.load(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="detector must be an estimator"):
        skgrad.save({"a": 1}, tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_without_skops_the_extra_is_named(loda, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    for action in (lambda: skgrad.save(LODA(), loda), lambda: skgrad.load(loda)):
        with pytest.raises(ImportError, match=r'pip install "\.\[save\]"'):
            action()
