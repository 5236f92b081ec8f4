"""What is not saved, what is not loaded, and that no code of a file ever runs."""

import copy
import io
import itertools
import json
import pickle
import sys
import warnings
import zipfile

import joblib
import numpy as np
import pytest
import torch
from networks import AnyWidth, seeded, two_classes
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from torch import nn

import skgrad
from skgrad import LODA, ConformalDetector, LayerActivationTransformer
from skgrad.baselines import PyTorchOODDetector
from skgrad.persistence._archive import FORMAT

X = np.random.default_rng(0).normal(size=(40, 4))
RAN = []


def run_me(*args):
    RAN.append(args)


class Evil:
    def __reduce__(self):
        return run_me, ("pickled",)


class Own(BaseEstimator):
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
def nothing_ran():
    yield
    assert RAN == []


# ------------------------------------------------------------------- the network

OTHERS = {
    "another class": (lambda: seeded(two_classes), r"got Linear \(6 parameters\)\."),
    "other weights": (lambda: changed(), "but other weights or layers"),
    "no network": (lambda: None, r"got None\."),
    "other activation": (lambda: bent(), "but other weights or layers"),
    "a list of others": (lambda: [changed(), two_classes()], r" and Linear \(6"),
}


def changed():
    net = AnyWidth()
    with torch.no_grad():
        net.weight[0, 0] += 1e-12
    return net


def bent():
    net = AnyWidth()
    net.bend = nn.Sigmoid()
    return net


@pytest.mark.parametrize("name", OTHERS)
def test_another_network_is_refused(name, layers, counted):
    make, match = OTHERS[name]
    with pytest.raises(ValueError, match=match) as info:
        skgrad.load(layers, model=make())
    message = str(info.value)
    assert "saved with AnyWidth (271 parameters)" in message
    way_out = "Load the weights that it had then" if make() else "Give it as model="
    assert way_out in message
    counted("Saved files", f"network: {name}", "refused, ValueError")


def test_the_same_network_is_taken_in_any_state(layers, counted):
    net = AnyWidth().train().requires_grad_(False)
    for model in (net, [net], copy.deepcopy(net)):
        skgrad.load(layers, model=model).transform(X)
    skorch = pytest.importorskip("skorch")
    wrapped = skorch.NeuralNetClassifier(AnyWidth, classes=[0, 1, 2]).initialize()
    assert skgrad.load(layers, model=wrapped).model is wrapped
    skgrad.save(skgrad.load(layers, model=wrapped), layers)
    assert skgrad.load(layers, model=net).model is net
    counted("Saved files", "network: copy, training mode, skorch net", "right answer")


def test_two_networks_in_any_order(tmp_path, counted):
    one, two = AnyWidth(), AnyWidth(n_classes=4)
    parts = [LayerActivationTransformer(net, "bend") for net in (one, two)]
    pipeline = make_pipeline(*parts).fit(X)
    skgrad.save(pipeline, tmp_path / "d")
    loaded = skgrad.load(tmp_path / "d", model=[two, one])
    assert (loaded[0].model, loaded[1].model) == (one, two)
    with pytest.raises(ValueError, match=r"was saved with AnyWidth \(276"):
        skgrad.load(tmp_path / "d", model=one)
    counted("Saved files", "network: two of them", "right answer")


def test_a_network_that_is_not_asked_for(loda):
    with pytest.raises(ValueError, match="model must be None: the LODA"):
        skgrad.load(loda, model=AnyWidth())


def test_what_is_no_network(layers):
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module"):
        skgrad.load(layers, model="net.pt")
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module"):
        skgrad.save(LayerActivationTransformer("net.pt"), layers)


def test_traced_networks_are_known_too(tmp_path):
    example = torch.zeros(1, 4, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have it compiled
        traced = torch.jit.trace(AnyWidth().eval(), example)
    transformer = LayerActivationTransformer(traced)
    skgrad.save(transformer, tmp_path / "d")
    assert skgrad.load(tmp_path / "d", model=traced).model is traced


# ------------------------------------------------------------------- not ours, damaged


def rewritten(path, *, without=(), stored=True, **parts):
    """Replace parts of a file: a function of the old bytes, or the new ones."""
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    for name in without:
        del content[name]
    for name, part in parts.items():
        name = {"header": "skgrad.json", "schema": "schema.json"}.get(name, name)
        content[name] = part(content.get(name)) if callable(part) else part
    method = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(path, "w", method) as new:
        for name, part in content.items():
            new.writestr(name, part)


def header(**changes):
    return lambda old: json.dumps({**json.loads(old), **changes})


def first_array(path):
    with zipfile.ZipFile(path) as archive:
        return next(name for name in archive.namelist() if name.endswith(".npy"))


def pickled_array():
    buffer = io.BytesIO()
    np.save(buffer, np.array([Evil()], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def huge_array():
    buffer = io.BytesIO()
    form = {"descr": "<f8", "fortran_order": False, "shape": (2**40,)}
    np.lib.format.write_array_header_1_0(buffer, form)
    return buffer.getvalue()


def npz(path):
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


def overwritten(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


ODD = {"class": "Linear", "n_parameters": "many", "fingerprint": ""}


def doubling(times):
    """Put a list in that holds one twice that holds one twice that holds one."""

    def change(old):
        schema = json.loads(old)
        part = node("ListNode", "builtins", "list", content=[])
        for _ in range(times):
            again = {key: part[key] for key in part if key != "content"}
            part = node("ListNode", "builtins", "list", content=[part, again])
        schema["content"]["content"]["n_cuts"] = part
        return json.dumps(schema)

    return change


DAMAGES = {
    "empty": lambda p: p.write_bytes(b""),
    "text": lambda p: p.write_text("not a detector"),
    "cut short": lambda p: p.write_bytes(p.read_bytes()[:-100]),
    "one byte changed": overwritten,
    "a pickle": lambda p: p.write_bytes(pickle.dumps(Evil())),
    "a joblib file": lambda p: joblib.dump(Evil(), p),
    "a torch file": lambda p: torch.save(nn.Linear(2, 2).state_dict(), p),
    "an npz file": lambda p: npz(p),
    "no header": lambda p: rewritten(p, without=["skgrad.json"]),
    "header of text": lambda p: rewritten(p, header=b"{"),
    "header of a list": lambda p: rewritten(p, header=b"[]"),
    "header nested too deep": lambda p: rewritten(p, header=b"[" * 10**5),
    "header without networks": lambda p: rewritten(p, header=header(networks=3)),
    "header with odd networks": lambda p: rewritten(p, header=header(networks=[{}])),
    "network of no size": lambda p: rewritten(p, header=header(networks=[ODD])),
    "format 0": lambda p: rewritten(p, header=header(format=0)),
    "no schema": lambda p: rewritten(p, without=["schema.json"]),
    "schema of text": lambda p: rewritten(p, schema=b"{"),
    "a list of lists of lists": lambda p: rewritten(p, schema=doubling(50)),
    "schema of nothing": lambda p: rewritten(p, schema=b"{}"),
    "array missing": lambda p: rewritten(p, without=[first_array(p)]),
    "array that is none": lambda p: rewritten(p, **{first_array(p): b"\x93NUMPY"}),
    "array of objects": lambda p: rewritten(p, **{first_array(p): pickled_array()}),
    "array that claims 8 TB": lambda p: rewritten(p, **{first_array(p): huge_array()}),
    "compressed array": lambda p: rewritten(p, stored=False),
    "a foreign part": lambda p: rewritten(p, **{"evil.py": b"import os"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_refused(damage, loda, counted):
    DAMAGES[damage](loda)
    with pytest.raises(ValueError, match=r"cannot be loaded: .* copy or save it again"):
        skgrad.load(loda)
    with pytest.raises(ValueError, match=str(loda)):
        skgrad.load(loda)
    counted("Saved files", f"file: {damage}", "refused, ValueError")


# ------------------------------------------------------------------- code


NUMBERS = itertools.count(1)


def node(loader, module, name, **content):
    head = {"__class__": name, "__module__": module, "__loader__": loader}
    return {**head, "__id__": next(NUMBERS), **content}


def text(value):
    return node("JsonNode", "builtins", "str", content=json.dumps(value), is_json=True)


def arguments(*values):
    return node("TupleNode", "builtins", "tuple", content=[text(v) for v in values])


def call(module, name, *values):
    return node("ConstructorFromReduceNode", module, name, content=arguments(*values))


def function(module, name):
    return node("FunctionNode", module, name)


def partial(module, name, *values):
    nothing = node("DictNode", "builtins", "dict", content={}, key_types=arguments())
    content = {
        "func": function(module, name),
        "args": arguments(*values),
        "kwds": nothing,
        "namespace": nothing,
    }
    return node("PartialNode", "functools", "partial", content=content)


def method(name, *values):
    attributes = arguments(name, *values)
    return node("OperatorFuncNode", "operator", "methodcaller", attrs=attributes)


NASTY = {
    "os.system": call("os", "system", "echo"),
    "builtins.eval": call("builtins", "eval", "1"),
    "builtins.exec, a type": node("TypeNode", "builtins", "exec"),
    "subprocess.Popen": call("subprocess", "Popen", "true"),
    "a function of os": function("os", "system"),
    "a partial of os.system": partial("os", "system", "echo"),
    "os behind a module of skgrad": call("skgrad._files", "os", "x"),
    "a class that skgrad imports": call("skgrad._files", "Path", "x"),
    "a function of skgrad": call("skgrad._files", "write_text", "x", "nasty"),
    "a function of scikit-learn": function("sklearn.datasets", "fetch_openml"),
    "a class of skgrad, no estimator": call("skgrad.evaluation._store", "Store", "x"),
    "a class of joblib": call("joblib.memory", "Memory", "x"),
    "a class of torch": call("torch.nn", "Linear", 2, 2),
    "a module that does not exist": call("sklearn.nowhere", "Thing"),
    "a class of these tests": call(__name__, "Own"),
    "a method caller": method("mro"),
    "a class of scikit-learn's tests": call("sklearn.tests.test_base", "MyEstimator"),
    "a program of pyod": call("pyod.cli", "main"),
    "a loader of no name": node("EvilNode", "os", "system"),
}


@pytest.mark.parametrize("what", NASTY)
def test_no_code_is_run(what, loda, counted, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def with_nasty(old):
        schema = json.loads(old)
        schema["content"]["content"]["n_cuts"] = NASTY[what]
        return json.dumps(schema)

    rewritten(loda, schema=with_nasty)
    why = "Can't find loader" if "loader" in what else "it names .*, which is not trus"
    with pytest.raises(ValueError, match=f"cannot be loaded: .*{why}"):
        skgrad.load(loda)
    assert [path.name for path in tmp_path.iterdir()] == ["loda.skgrad"]
    counted("Saved files", f"file names {what}", "refused, ValueError")


def test_classes_of_others_are_named(loda):
    rewritten(loda, schema=lambda old: old.replace(b"LODA", b"Loda"))
    with pytest.raises(ValueError, match=r"it names skgrad.detectors.Loda, which is n"):
        skgrad.load(loda)


# ------------------------------------------------------------------- versions


def test_a_newer_format_is_refused(loda, counted):
    rewritten(loda, header=lambda old: json.dumps({"format": 99, "skgrad": "7.0"}))
    match = f"format 99 of skgrad 7.0; .* reads up to format {FORMAT}. Update skgrad"
    with pytest.raises(ValueError, match=match):
        skgrad.load(loda)
    counted("Saved files", "file: of a later format", "refused, ValueError")


def test_another_scikit_learn_warns_once(loda, counted):
    rewritten(loda, header=header(versions={"scikit-learn": "0.1"}))
    with pytest.warns(InconsistentVersionWarning, match=r"LODA from version 0\.1") as w:
        skgrad.load(loda)
    assert len(w) == 1
    counted("Saved files", "file: of another scikit-learn", "warned, right answer")


def test_the_header_says_what_is_needed(layers):
    with zipfile.ZipFile(layers) as archive:
        header = json.loads(archive.read("skgrad.json"))
    assert header["format"] == FORMAT == 1
    assert header["skgrad"] == skgrad.__version__
    assert set(header["versions"]) == {"numpy", "scikit-learn", "torch"}
    assert [network["class"] for network in header["networks"]] == ["AnyWidth"]
    # The weights are not in it.
    assert layers.stat().st_size < 15_000


def test_classes_are_named_as_users_name_them(layers):
    with zipfile.ZipFile(layers) as archive:
        schema = archive.read("schema.json")
    assert b'"skgrad.feature_extraction"' in schema
    assert b"skgrad.feature_extraction._" not in schema


def test_numpy_is_named_as_all_its_versions_know_it(tmp_path):
    parts = FunctionTransformer(np.square), OneHotEncoder(dtype=np.bool_)
    skgrad.save(make_pipeline(*parts), tmp_path / "d")
    with zipfile.ZipFile(tmp_path / "d") as archive:
        schema = archive.read("schema.json").decode()
    assert '"square", "__module__": "numpy"' in schema
    assert '"bool_", "__module__": "numpy"' in schema
    loaded = skgrad.load(tmp_path / "d")
    assert loaded[0].func is np.square
    assert loaded[1].dtype is np.bool_


# ------------------------------------------------------------------- not to be saved


def own_function(X):
    return X


def nested():
    estimator = LODA()
    estimator.self_ = [estimator]
    return estimator


UNSAVEABLE = {
    "an estimator of one's own": (
        lambda: make_pipeline(StandardScaler(), Own()),
        r"steps\[1\]\[1\] is made of .*Own",
    ),
    "a lambda": (
        lambda: ConformalDetector(LODA(), predicted_class=lambda X: X),
        r"predicted_class is made of .*<lambda>",
    ),
    "a function": (
        lambda: make_pipeline(FunctionTransformer(own_function)),
        r"steps\[0\]\[1\].func is made of .*own_function",
    ),
    "a bound method": (
        lambda: ConformalDetector(LODA(), predicted_class=Own().fit),
        "predicted_class is made of .*Own",
    ),
    "a joblib.Memory": (
        lambda: make_pipeline(LODA(), memory=joblib.Memory(None, verbose=0)),
        "memory is made of joblib.memory.Memory",
    ),
    "a module elsewhere": (
        lambda: ConformalDetector(LODA(), blocks=nn.Linear(2, 2)),
        "ConformalDetector cannot be saved: blocks is made of .*Linear",
    ),
    "an estimator that holds itself": (nested, "it holds itself"),
}


@pytest.mark.parametrize("what", UNSAVEABLE)
def test_what_cannot_be_saved(what, tmp_path, counted):
    make, match = UNSAVEABLE[what]
    path = tmp_path / "d"
    path.write_text("what was there")
    with pytest.raises(TypeError, match=match) as info:
        skgrad.save(make(), path)
    assert "pickle" in str(info.value)
    assert path.read_text() == "what was there"
    assert list(tmp_path.iterdir()) == [path]
    counted("Saved files", f"saving {what}", "refused, TypeError")


def test_own_classes_and_functions_may_be_trusted(tmp_path, counted):
    pipeline = make_pipeline(FunctionTransformer(own_function), Own()).fit(X)
    skgrad.save(pipeline, tmp_path / "d", trusted=[own_function, Own])
    loaded = skgrad.load(tmp_path / "d", trusted=[own_function, Own])
    assert loaded[0].func is own_function
    assert type(loaded[1]) is Own
    with pytest.raises(ValueError, match=r"Own, .*own_function, which is not trusted"):
        skgrad.load(tmp_path / "d")
    counted("Saved files", "own classes in trusted=", "right answer")


@pytest.mark.parametrize(
    ("trusted", "error", "match"),
    [
        ("Own", TypeError, "must be a list of classes or functions; got 'Own'"),
        (Own, TypeError, r"Write \[Own\]"),
        (["Own"], TypeError, "classes or functions themselves; got 'Own'"),
        ([lambda: 1], ValueError, "that can be imported; .* cannot"),
    ],
)
def test_what_trusted_may_be(trusted, error, match, loda):
    with pytest.raises(error, match=match):
        skgrad.load(loda, trusted=trusted)
    with pytest.raises(error, match=match):
        skgrad.save(LODA(), loda, trusted=trusted)


# ------------------------------------------------------------------- paths


def test_paths(tmp_path, counted):
    with pytest.raises(ValueError, match="path must lie in a folder that exists"):
        skgrad.save(LODA(), tmp_path / "missing" / "d")
    for action in (lambda p: skgrad.save(LODA(), p), skgrad.load):
        with pytest.raises(ValueError, match=r"path must be that of a file; .* folder"):
            action(tmp_path)
        with pytest.raises(TypeError, match="path must be a str or path-like; got flo"):
            action(3.5)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        skgrad.load(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="detector must be an estimator"):
        skgrad.save({"a": 1}, tmp_path / "d")
    assert list(tmp_path.iterdir()) == []
    counted("Saved files", "paths that cannot be", "refused, ValueError or TypeError")


def test_a_full_disk_leaves_what_was_there(loda, monkeypatch, counted):
    before = loda.read_bytes()

    def full(self, content):
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(loda), "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        skgrad.save(LODA(), loda)
    assert loda.read_bytes() == before
    assert list(loda.parent.iterdir()) == [loda]
    counted("Saved files", "full disk while saving", "old file kept")


def test_without_skops(loda, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    for action in (lambda: skgrad.save(LODA(), loda), lambda: skgrad.load(loda)):
        with pytest.raises(ImportError, match=r'pip install "skgrad\[save\]"'):
            action()


def test_fitted_detectors_of_pytorch_ood(tmp_path, counted):
    pytest.importorskip("pytorch_ood")
    fitted = PyTorchOODDetector(AnyWidth(), "KLMatching", target_fpr=0.5).fit(X)
    with pytest.raises(TypeError, match=r"detector_ is made of pytorch_ood.*KLM"):
        skgrad.save(fitted, tmp_path / "d")
    assert list(tmp_path.iterdir()) == []
    counted("Saved files", "saving what pytorch-ood has fitted", "refused, TypeError")
