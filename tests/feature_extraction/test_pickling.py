"""Clones share the network; pickles and hashes carry it by content."""

import copy
import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from networks import BatchNormNet, images, seeded
from numpy.testing import assert_array_equal
from sklearn.pipeline import FeatureUnion
from skorch import NeuralNetClassifier
from torch import nn

from skgrad import ConfoundingGradientTransformer, LayerActivationTransformer

X = images(7, (2, 6, 6))


def test_pickle_and_deepcopy_carry_the_weights(make, model):
    transformer = make(model).fit(X)
    expected = transformer.transform(X)
    for twin in (pickle.loads(pickle.dumps(transformer)), copy.deepcopy(transformer)):
        assert twin.model is not model
        assert type(twin.model) is BatchNormNet
        assert_array_equal(twin.transform(X), expected)
    assert copy.copy(transformer).model is model


class Tied(nn.Module):
    """A module with all kinds of tensors."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)
        self.shift = torch.tensor(2.0)
        self.register_buffer("empty", torch.empty(0))
        self.short = nn.Parameter(torch.ones(2, dtype=torch.bfloat16))

    def forward(self, x):
        return self.second(self.first(x)) + self.shift


def test_pickle_keeps_what_tensors_share_and_are():
    twin = pickle.loads(pickle.dumps(ConfoundingGradientTransformer(Tied()))).model
    assert twin.second.weight is twin.first.weight
    assert isinstance(twin.first.weight, nn.Parameter)
    assert not twin.first.bias.requires_grad
    assert twin.shift == 2
    assert twin.short.dtype == torch.bfloat16
    assert twin.empty.shape == (0,)


class Holder(nn.Module):
    """Keeps tensors and modules where torch does not look for them."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 3)
        self.listed = [torch.ones(4), nn.Linear(2, 2)]
        self.mapped = {"key": torch.zeros(2)}
        self.last = self.head(torch.ones(1, 3))
        self.flipped = torch.ones(2, dtype=torch.complex64).conj()

    def forward(self, x):
        return self.head(x)


def test_hash_and_pickle_of_tensors_in_containers():
    transformer = ConfoundingGradientTransformer(seeded(Holder))
    twin = pickle.loads(pickle.dumps(transformer))
    assert joblib.hash(twin) == joblib.hash(transformer)
    assert torch.equal(twin.model.mapped["key"], torch.zeros(2))


HASH = """
import joblib, numpy, pickle, sys
with open(sys.argv[1], "rb") as file:
    print(joblib.hash(pickle.load(file)))
"""


@pytest.mark.slow
def test_joblib_hash_is_the_same_in_another_process(tmp_path):
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    transformer = ConfoundingGradientTransformer(net)
    path = tmp_path / "transformer.pickle"
    path.write_bytes(pickle.dumps(transformer))
    run = subprocess.run(
        [sys.executable, "-c", HASH, path], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == joblib.hash(transformer)


def test_pipeline_pickles_the_network_once(model, makers):
    union = FeatureUnion([(name, make(model)) for name, make in makers.items()])
    expected = union.fit_transform(X)
    twin = pickle.loads(pickle.dumps(union))
    models = {id(transformer.model) for _, transformer in twin.transformer_list}
    assert len(models) == 1
    assert_array_equal(twin.transform(X), expected)


def test_parametrized_models_work_but_do_not_pickle():
    net = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    transformer = ConfoundingGradientTransformer(net).fit(np.ones((2, 3)))
    with pytest.raises(
        TypeError, match=r"model cannot be pickled or hashed.*remove_par"
    ):
        pickle.dumps(transformer)


def test_traced_modules_pickle_their_own_way():
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 3)))
    transformer = LayerActivationTransformer(traced, "logits").fit(np.ones((2, 3)))
    twin = pickle.loads(pickle.dumps(transformer))
    assert_array_equal(
        twin.transform(np.ones((2, 3))), transformer.transform(np.ones((2, 3)))
    )


def exported(net, x):
    return torch.export.export(net, x, dynamic_shapes=({0: torch.export.Dim("n")},))


@pytest.mark.parametrize(
    "make",
    [
        lambda net, x: torch.jit.script(net),
        torch.jit.trace,
        lambda net, x: nn.Sequential(torch.jit.script(net)),
        lambda net, x: exported(net, x).module(),
    ],
    ids=["script", "trace", "script as a part", "export"],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_what_no_pickle_can_hold_says_so(make):
    rows = np.ones((2, 3), dtype=np.float32)
    net = make(nn.Sequential(nn.Linear(3, 3)).eval(), (torch.from_numpy(rows),))
    transformer = LayerActivationTransformer(net, "logits").fit(rows)
    for dump in (pickle.dumps, joblib.hash):
        with pytest.raises(TypeError, match=r"model cannot be pickled.*skgrad\.save"):
            dump(transformer)
    assert copy.copy(transformer).model is net
    twin = copy.deepcopy(transformer)
    assert twin.model is not net
    assert_array_equal(twin.transform(rows), transformer.transform(rows))


def test_of_a_skorch_net_the_module_travels(make):
    net = NeuralNetClassifier(BatchNormNet, criterion=nn.CrossEntropyLoss)
    transformer = make(net.initialize()).fit(X)
    loaded = pickle.loads(pickle.dumps(transformer))
    assert isinstance(loaded.model, BatchNormNet)
    assert_array_equal(loaded.transform(X), transformer.transform(X))
    assert copy.copy(transformer).model is net
    assert joblib.hash(loaded) == joblib.hash(transformer)


def test_model_of_a_device_that_is_not_there_comes_back_on_the_cpu(make, model):
    transformer = make(model).fit(X)
    written_there = pickle.dumps(transformer).replace(b"cpu", b"xpu")
    assert written_there.count(b"xpu") > 0
    twin = pickle.loads(written_there)
    assert {p.device.type for p in twin.model.parameters()} == {"cpu"}
    assert_array_equal(twin.transform(X), transformer.transform(X))
