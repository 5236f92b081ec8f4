"""The contracts that all three transformers keep."""

import copy
import pickle
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from model_state import assert_same_state, state_of
from networks import AnyWidth, BatchNormNet, LeNet, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
)
from skgrad.feature_extraction import FeatureArray

SHAPE = (2, 6, 6)
X = images(7, SHAPE)

MAKERS = {
    "confounding": ConfoundingGradientTransformer,
    "cosine": CosineSimilarityMatrixTransformer,
    "activation": lambda model, **options: LayerActivationTransformer(
        model, ["conv", "logits"], **options
    ),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request):
    return request.param


@pytest.fixture
def model():
    net = seeded(BatchNormNet)
    # Statistics other than 0 and 1, so that evaluation mode shows.
    net.norm.running_mean += 0.3
    net.norm.running_var *= 2
    return net


@pytest.fixture
def used_model(model):
    """A model in the middle of its user's work: gradients, modes, hooks, flags."""
    model(torch.from_numpy(X)).sum().backward()
    model.train()
    model.norm.eval()
    model.head.bias.requires_grad_(False)
    model.conv.register_forward_hook(lambda *_: None)
    return model


def test_model_is_left_as_it_was(make, used_model):
    before = state_of(used_model)
    transformer = make(used_model, batch_size=3)
    transformer.fit(X).transform(X)
    assert_same_state(before, state_of(used_model))


@pytest.mark.parametrize("call_that_fails", [1, 2, 3])
def test_model_is_left_as_it_was_when_it_fails(make, used_model, call_that_fails):
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) >= call_that_fails:
            raise RuntimeError("cosmic ray")

    used_model.drop.register_forward_hook(fail)
    before = state_of(used_model)
    transformer = make(used_model, batch_size=1)
    with pytest.raises((RuntimeError, ValueError), match="cosmic ray"):
        transformer.fit(X).transform(X)
    assert_same_state(before, state_of(used_model))


def test_parameters_are_left_as_they_were(make, model):
    transformer = make(model)
    before = joblib.hash(clone(transformer))
    transformer.fit(X).transform(X)
    assert joblib.hash(clone(transformer)) == before
    assert transformer.model is model


@pytest.mark.parametrize("caller", [torch.no_grad, torch.inference_mode])
def test_callers_grad_mode_does_not_matter(make, model, caller):
    expected = make(model).fit_transform(X)
    with caller():
        inside = torch.from_numpy(X).clone()
        assert_array_equal(make(model).fit_transform(inside), expected)


def test_batch_size_order_and_batch_mates_do_not_matter(make, model):
    # Sign maps jump where a gradient is 0 up to rounding; float64 has no such luck.
    model = model.double()
    expected = make(model).fit_transform(X)
    for batch_size in (1, 2, 3, 7):
        features = make(model, batch_size=batch_size).fit(X).transform(X)
        assert_allclose(features, expected, rtol=1e-9, atol=1e-12)
    order = np.array([3, 3, 0, 6])
    features = make(model).fit(X).transform(X[order])
    assert_allclose(features, np.asarray(expected)[order], rtol=1e-9, atol=1e-12)


def test_all_kinds_of_input_give_the_same(make, model, tmp_path):
    expected = make(model).fit_transform(X)
    np.save(tmp_path / "x.npy", X)
    read_only = X.copy()
    read_only.flags.writeable = False
    kinds = {
        "list": X.tolist(),
        "float64": X.astype(float),
        "read-only": read_only,
        "memmap": np.load(tmp_path / "x.npy", mmap_mode="r"),
        "tensor": torch.from_numpy(X),
        "tensor with grad": torch.from_numpy(X).clone().requires_grad_(),
        "Dataset of x": TensorDataset(torch.from_numpy(X)),
        "Dataset of (x, y)": TensorDataset(torch.from_numpy(X), torch.arange(7)),
    }
    for kind, data in kinds.items():
        features = make(model).fit(data).transform(data)
        assert_allclose(features, expected, rtol=1e-6, err_msg=kind)


def test_rows_with_input_shape_compose_with_scalers(make, model):
    rows = X.reshape(len(X), -1)
    features = make(model, input_shape=SHAPE).fit_transform(rows)
    assert_allclose(features, make(model).fit_transform(X), rtol=1e-6)
    pipeline = make_pipeline(StandardScaler(), make(model, input_shape=SHAPE))
    assert pipeline.fit_transform(rows).shape == features.shape


@pytest.mark.parametrize("shape", [(5,), (1, 9)])
def test_rows_and_series(shape):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(1, 4, 3, padding=1)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            x = x[:, None] if x.ndim == 2 else x
            return self.head(self.conv(x).relu().mean(dim=2))

    data = images(4, shape)
    for make in MAKERS.values():
        features = make(seeded(Net)).fit_transform(data)
        assert features.shape[0] == 4
        assert np.isfinite(features).all()


def test_names(model):
    names = {k: m(model).fit(X).get_feature_names_out() for k, m in MAKERS.items()}
    assert names["confounding"].tolist() == [n for n, _ in model.named_parameters()]
    assert names["cosine"].tolist()[:2] == ["others_mean", "others_max"]
    assert names["cosine"].tolist()[5:] == [
        f"predicted_{s}" for s in ("mean", "max", "min", "std", "energy")
    ]
    assert names["activation"].tolist() == [
        *(f"conv_{i}" for i in range(4)),
        *(f"logits_{i}" for i in range(3)),
    ]


def test_names_are_padded_so_that_they_sort():
    net = seeded(LeNet)
    data = images(1, (1, 28, 28))
    names = LayerActivationTransformer(net, "fc1").fit(data).get_feature_names_out()
    assert names[0] == "fc1_000"
    assert sorted(names) == names.tolist()
    cosine = CosineSimilarityMatrixTransformer(
        seeded(lambda: AnyWidth(12)), output="upper"
    )
    names = cosine.fit(np.ones((1, 4))).get_feature_names_out()
    assert names[0] == "cosine_00_01"
    assert sorted(names) == names.tolist()


def test_output_is_a_plain_array_to_everyone_else(make, model):
    features = make(model).fit_transform(X)
    assert isinstance(features, np.ndarray)
    assert features.dtype in (np.float32, np.float64)
    names = make(model).fit(X).get_feature_names_out()
    assert_array_equal(features.feature_names, names)


def test_set_output(make, model):
    frame = make(model).set_output(transform="pandas").fit_transform(X)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == list(make(model).fit(X).get_feature_names_out())
    with config_context(transform_output="pandas"):
        pd.testing.assert_frame_equal(make(model).fit_transform(X), frame)


def test_data_frame_in_and_column_transformer():
    frame = pd.DataFrame(images(6, (4,)), columns=list("abcd"))
    transformer = ConfoundingGradientTransformer(AnyWidth()).fit(frame)
    assert transformer.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        transformer.transform(frame[list("badc")])
    columns = ColumnTransformer([("g", transformer, ["a", "b"])], remainder="drop")
    assert columns.fit_transform(frame).shape == (6, 3)


def test_clone_shares_the_weights(make, model):
    transformer = make(model).set_output(transform="pandas")
    twin = clone(transformer)
    assert twin is not transformer
    assert twin.model is model
    assert twin.get_params().keys() == transformer.get_params().keys()
    assert isinstance(twin.fit_transform(X), pd.DataFrame)
    assert clone(make_pipeline(transformer))[0].model is model


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


HASH = """
import joblib, numpy, pickle, sys
with open(sys.argv[1], "rb") as file:
    print(joblib.hash(pickle.load(file)))
"""


def test_joblib_hash_depends_on_content(make, model):
    transformer = make(model)
    expected = joblib.hash(transformer)
    assert joblib.hash(copy.deepcopy(transformer)) == expected
    assert joblib.hash(clone(transformer)) == expected
    assert joblib.hash(pickle.loads(pickle.dumps(transformer))) == expected
    with torch.no_grad():
        model.head.bias[0] += 1e-6
    assert joblib.hash(transformer) != expected


def test_joblib_hash_is_the_same_in_another_process(tmp_path):
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    transformer = ConfoundingGradientTransformer(net)
    path = tmp_path / "transformer.pickle"
    path.write_bytes(pickle.dumps(transformer))
    run = subprocess.run(
        [sys.executable, "-c", HASH, path], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == joblib.hash(transformer)


def test_pipeline_memory_hits_across_copies(make, model, tmp_path):
    memory = joblib.Memory(tmp_path, verbose=0)
    for twin in (make(model), copy.deepcopy(make(model)), clone(make(model))):
        make_pipeline(twin, StandardScaler(), memory=memory).fit(X)
    # The first step was computed once: joblib stored one result for all pipelines.
    assert len(list(tmp_path.rglob("output.pkl"))) == 1
    with torch.no_grad():
        model.head.weight += 1
    make_pipeline(make(model), StandardScaler(), memory=memory).fit(X)
    assert len(list(tmp_path.rglob("output.pkl"))) == 2


def test_pipeline_pickles_the_network_once(model):
    union = FeatureUnion([(name, make(model)) for name, make in MAKERS.items()])
    expected = union.fit_transform(X)
    twin = pickle.loads(pickle.dumps(union))
    models = {id(transformer.model) for _, transformer in twin.transformer_list}
    assert len(models) == 1
    assert_array_equal(twin.transform(X), expected)


def test_graph_of_the_user_stays_valid(make, model):
    model.train()
    loss = model(torch.from_numpy(X)).sum()
    make(model).fit(X).transform(X)
    loss.backward()
    assert model.conv.weight.grad is not None


@pytest.mark.parametrize("compiled", ["script", "trace"])
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_torchscript(compiled):
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    rows = images(5, (3,))
    if compiled == "script":
        script = torch.jit.script(net)
    else:
        script = torch.jit.trace(net, torch.from_numpy(rows))
    for make in (ConfoundingGradientTransformer, CosineSimilarityMatrixTransformer):
        expected = make(net).fit_transform(rows)
        assert_allclose(make(script).fit_transform(rows), expected, rtol=1e-5)


class Recurrent(nn.Module):
    """A recurrent network for series of three values at a time."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 4, batch_first=True)
        self.conv = nn.Linear(4, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.conv(self.gru(x)[0][:, -1]).relu())


def test_recurrent_network_against_single_samples(make):
    net = seeded(Recurrent, dtype=torch.float64)
    series = images(6, (5, 3))
    together = make(net).fit_transform(series)
    one_by_one = [make(net).fit_transform(one[None])[0] for one in series]
    assert_allclose(together, one_by_one, rtol=1e-9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_recurrent_network_on_cuda(make):
    net = seeded(Recurrent)
    series = images(6, (5, 3))
    there = make(net, device="cuda").fit_transform(series)
    assert_allclose(there, make(net).fit_transform(series), rtol=1e-3, atol=1e-3)


def test_parametrized_models_work_but_do_not_pickle():
    net = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    transformer = ConfoundingGradientTransformer(net).fit(np.ones((2, 3)))
    with pytest.raises(
        TypeError, match=r"model cannot be pickled or hashed.*remove_par"
    ):
        pickle.dumps(transformer)


def test_skorch_net_as_model(make):
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(
        BatchNormNet,
        criterion=nn.CrossEntropyLoss,
        max_epochs=1,
        train_split=None,
        verbose=0,
    ).fit(X, np.array([0, 1, 2, 0, 1, 2, 0]))
    transformer = make(net)
    expected = make(net.module_).fit_transform(X)
    assert_array_equal(transformer.fit_transform(X), expected)
    twin = clone(transformer)
    assert twin.model is net
    assert_array_equal(twin.fit_transform(X), expected)
    loaded = pickle.loads(pickle.dumps(transformer))
    assert isinstance(loaded.model, BatchNormNet)
    assert_array_equal(loaded.transform(X), expected)
    assert copy.copy(transformer).model is net
    assert joblib.hash(loaded) == joblib.hash(transformer)


def test_other_device_works_on_a_private_copy(make, model):
    with torch.no_grad():
        transformer = make(model, device="cpu").fit(X)
    assert_array_equal(transformer.transform(X), make(model).fit_transform(X))
    with pytest.raises(ValueError, match="device must be None"):
        make(model, device="abacus").fit(X)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda(make, model):
    expected = make(model).fit_transform(X)
    on_copy = make(model, device="cuda").fit(X).transform(X)
    assert model.conv.weight.device.type == "cpu"
    assert_allclose(on_copy, expected, rtol=1e-3, atol=1e-3)
    there = make(model.cuda()).fit(X).transform(torch.from_numpy(X).cuda())
    assert_allclose(there, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_give_wide_features(make, model, dtype):
    features = make(model.to(dtype)).fit_transform(X)
    assert features.dtype in (np.float32, np.float64)
    assert np.isfinite(features).all()


def test_verbose_shows_a_bar(make, model, capsys):
    make(model, verbose=True).fit(X).transform(X)
    assert "Transformer: 100%" in capsys.readouterr().err
    make(model).fit(X).transform(X)
    assert capsys.readouterr().err == ""


class InPlace(nn.Module):
    """Normalises its input in place, as careless models do."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)

    def forward(self, x):
        return self.conv(x.sub_(0.5).div_(0.1)).mean(dim=(2, 3))


def test_model_that_writes_into_its_input(make):
    net = seeded(InPlace)
    tensor = torch.from_numpy(X.copy())
    expected = make(net).fit_transform(X)
    with torch.inference_mode():
        assert_array_equal(make(net).fit_transform(tensor), expected)
    assert_array_equal(tensor, X)


def test_threads_take_turns(model):
    model.train()
    before = state_of(model)
    union = FeatureUnion([(name, make(model)) for name, make in MAKERS.items()])
    expected = union.fit_transform(X)
    for _ in range(5):
        with joblib.parallel_config(backend="threading", n_jobs=3):
            assert_array_equal(union.set_params(n_jobs=3).fit_transform(X), expected)
    assert_same_state(before, state_of(model))


def test_autocast_does_not_reach_inside(make, model):
    expected = make(model).fit_transform(X)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_array_equal(make(model).fit_transform(X), expected)


@pytest.mark.parametrize(
    "mixing",
    [
        nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)),
        nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=0)),
    ],
    ids=["BatchNorm", "softmax"],
)
def test_model_whose_samples_mix_is_refused(make, mixing):
    net = nn.Sequential()
    net.conv = mixing
    with pytest.raises(ValueError, match="model must treat each sample by itself"):
        make(net).fit(images(5, (4,)))


def test_model_that_draws_is_refused(make, model):
    class Drawing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = model

        def forward(self, x):
            return self.conv(x) + torch.randn(3)

    with pytest.raises(ValueError, match="model must give the same logits each time"):
        make(Drawing()).fit(X)


def test_features_that_are_no_numbers_are_told():
    class Log(nn.Module):
        def forward(self, x):
            return x.log()

    net = nn.Sequential(Log(), nn.Hardtanh(-3, 3), nn.Linear(3, 3))
    with pytest.raises(ValueError, match="layers: '0' returns NaN or infinite values"):
        LayerActivationTransformer(net, "0").fit(np.zeros((2, 3)))


def test_pooling_none_copies_before_an_inplace_layer():
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.ReLU(inplace=True), nn.Flatten())
    net.append(nn.Linear(108, 3))
    with torch.no_grad():
        net[0].bias.fill_(-1.0)
        maps = net[0](torch.from_numpy(X)).flatten(1).numpy()
    assert (maps < 0).any()
    # With the logits asked for, the pass goes on through the activation.
    layers = ["0", "logits"]
    kept = LayerActivationTransformer(net, layers, pooling="none").fit_transform(X)
    assert_allclose(kept[:, :108], maps, rtol=1e-5)


@pytest.mark.parametrize("how", [torch.no_grad, torch.inference_mode])
def test_fit_refuses_what_transform_would(model, how):
    class Closed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            with how():
                return self.inner(x)

    for make in (ConfoundingGradientTransformer, CosineSimilarityMatrixTransformer):
        with pytest.raises(ValueError, match="model must let autograd reach"):
            make(Closed()).fit(X)


def test_failed_fit_leaves_an_earlier_one(model):
    transformer = LayerActivationTransformer(model, "logits")
    with pytest.raises(NotFittedError):
        transformer.get_feature_names_out()
    expected = transformer.fit(X).transform(X)
    transformer.set_params(layers="nope")
    with pytest.raises(ValueError, match="got 'nope'"):
        transformer.fit(X)
    assert_array_equal(transformer.set_params(layers="logits").transform(X), expected)


def test_dataset_gives_names_and_frames_too(make, model):
    data = TensorDataset(torch.from_numpy(X))
    transformer = make(model).set_output(transform="pandas")
    assert isinstance(transformer.fit_transform(data), pd.DataFrame)
    assert transformer.n_features_in_ == 2


class Noisy(Dataset):
    """Draws from the global generator, as augmentations do."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return torch.rand(SHAPE)


def test_randomness_of_a_dataset_stays_inside(make, model):
    before = torch.get_rng_state()
    make(model).fit(Noisy()).transform(Noisy())
    assert torch.equal(torch.get_rng_state(), before)


def test_skorch_parameters_stay_the_nets_own():
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(BatchNormNet, lr=0.1).initialize()
    transformer = ConfoundingGradientTransformer(net)
    assert "model__lr" not in transformer.get_params()
    with pytest.raises(ValueError, match="Invalid parameter"):
        transformer.set_params(head=1)


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


def test_traced_modules_pickle_their_own_way():
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 3)))
    transformer = LayerActivationTransformer(traced, "logits").fit(np.ones((2, 3)))
    twin = pickle.loads(pickle.dumps(transformer))
    assert_array_equal(
        twin.transform(np.ones((2, 3))), transformer.transform(np.ones((2, 3)))
    )


def test_feature_union_joins_the_names(model):
    union = FeatureUnion([(name, make(model)) for name, make in MAKERS.items()])
    features = union.fit_transform(X)
    assert isinstance(features, FeatureArray)
    assert features.feature_names.tolist()[0] == "conv.weight"
    assert features.feature_names.tolist()[-1] == "logits_2"


class Returns(nn.Module):
    """A module that returns what it is told."""

    def __init__(self, output):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.output = output

    def forward(self, x):
        return self.output


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.empty((0, *SHAPE)), "X must be of shape .* at least one sample; got shape"),
        (np.full((2, *SHAPE), np.nan), "X must be finite.*NaN.*Impute"),
        (np.full((2, *SHAPE), np.inf), "X must be finite.*infinity"),
        (np.full((2, *SHAPE), 1e300), "X must be finite in the model's torch.float32"),
        (X[:, :1], r"model cannot take X: .* \(1, 6, 6\).*The model says: Runtime"),
        (X[0, 0, 0], r"X must be of shape .* got shape \(6,\).*x\[None\]"),
        (X.reshape(7, -1), r"model cannot take X: .* \(72,\).*input_shape"),
        ("image.png", "X must be numeric.*Load and encode"),
        ([["a"]], "X must be numeric"),
        ([[[1.0], [1.0, 2.0]]], "X must be rectangular"),
        (X.astype(complex), "Complex data not supported"),
        (TensorDataset(torch.empty(0, *SHAPE)), "at least one sample; got an empty"),
    ],
)
def test_bad_inputs(make, model, data, message):
    before = state_of(model)
    with pytest.raises(ValueError, match=message):
        make(model).fit(data)
    assert_same_state(before, state_of(model))


def test_bad_inputs_after_fit(make, model):
    transformer = make(model).fit(X)
    with pytest.raises(
        ValueError, match=r"samples of shape \(2, 6, 6\), as those seen"
    ):
        transformer.transform(X[:, :1])
    with pytest.raises(ValueError, match=r"Put the channels first: np\.moveaxis"):
        transformer.transform(np.moveaxis(X, 1, -1))
    for rows in (X.reshape(7, -1), torch.from_numpy(X.reshape(7, -1))):
        with pytest.raises(
            ValueError, match=r"\(2, 6, 6\), as .*\(72,\).*input_shape="
        ):
            transformer.transform(rows)
    with pytest.raises(
        ValueError, match=r"samples of shape \(2, 6, 6\), or rows of 72"
    ):
        transformer.transform(TensorDataset(torch.from_numpy(X[:, :1])))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, "model must return logits.*it returned a NoneType.*Wrap the model"),
        (torch.zeros(2), r"model must return logits.*shape \(2,\)"),
        (torch.zeros(2, 3, 4), r"model must return logits.*shape \(2, 3, 4\)"),
        ({"scores": torch.zeros(2, 3)}, "model must return logits.*a dict"),
        (torch.full((2, 3), float("nan")), "model returned NaN or infinite logits"),
    ],
)
def test_models_without_logits(make, output, message):
    with pytest.raises(ValueError, match=message):
        make(Returns(output)).fit(X)


@pytest.mark.parametrize("model", ["resnet18", None, nn.Linear, StandardScaler()])
def test_what_is_no_model(make, model):
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module.*got"):
        make(model).fit(X)


def test_probabilities_are_noticed(make, model):
    class WithSoftmax(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = model

        def forward(self, x):
            return self.conv(x).softmax(dim=1)

    with pytest.warns(UserWarning, match="look like probabilities.*remove the softmax"):
        make(WithSoftmax()).fit(X)
    WithSoftmax.forward = lambda self, x: self.conv(x).log_softmax(dim=1)
    with pytest.warns(UserWarning, match="or their logarithms"):
        make(WithSoftmax()).fit(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"'batch_size' parameter .* int in the range \[1, inf\)"),
        ({"input_shape": (3, 3)}, r"X must hold samples of shape \(3, 3\)"),
        ({"input_shape": 72}, "'input_shape' parameter"),
        ({"input_shape": (2, 6.0, 6)}, "input_shape must be None or positive integers"),
        ({"input_shape": (-1, 6, 6)}, "input_shape must be None or positive integers"),
        ({"verbose": "loud"}, "'verbose' parameter"),
    ],
)
def test_bad_parameters(make, model, options, message):
    with pytest.raises(ValueError, match=message):
        make(model, **options).fit(X)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("some", "'label' parameter of ConfoundingGradientTransformer"),
        (
            [1, 0],
            r"label must be one of 'all', .*, or 3 numbers in \[0, 1\].*got \[1, 0\]",
        ),
        ([1, 0, 2], r"numbers in \[0, 1\]"),
        ([0, 1, np.nan], r"numbers in \[0, 1\]"),
        (["a", "b", "c"], r"numbers in \[0, 1\]"),
        ([[1], [1, 0], 2], r"numbers in \[0, 1\]"),
    ],
)
def test_bad_labels(model, label, message):
    with pytest.raises(ValueError, match=message):
        ConfoundingGradientTransformer(model, label=label).fit(X)


def test_labels_by_name_and_by_vector(model):
    vectors = (("all", [1, 1, 1]), ("none", np.zeros(3)), ("all", torch.ones(3)))
    for name, vector in vectors:
        by_name = ConfoundingGradientTransformer(model, label=name).fit_transform(X)
        given = ConfoundingGradientTransformer(model, label=vector).fit_transform(X)
        assert_array_equal(by_name, given)


def test_routes_are_told(model):
    transformer = ConfoundingGradientTransformer(model).fit(X)
    assert transformer.routes_ == {
        "conv.weight": "conv2d",
        "conv.bias": "conv2d",
        "norm.weight": "batch_norm",
        "norm.bias": "batch_norm",
        "head.weight": "linear",
        "head.bias": "linear",
    }
    recurrent = ConfoundingGradientTransformer(seeded(Recurrent)).fit(images(3, (4, 3)))
    assert set(recurrent.routes_.values()) == {"autograd", "linear"}


def test_each_class_has_columns_of_its_own(model):
    each = ConfoundingGradientTransformer(model, label="each", loss="cross_entropy")
    features = each.fit_transform(X)
    names = each.get_feature_names_out().tolist()
    assert len(names) == features.shape[1] == 18
    assert names[:2] == ["conv.weight_class_0", "conv.bias_class_0"]
    assert names[-1] == "head.bias_class_2"
    one_hot = each.set_params(label=[0, 1, 0]).fit_transform(X)
    assert_allclose(features[:, 6:12], one_hot, rtol=1e-6)
    predicted = each.set_params(label="predicted").fit_transform(X)
    with torch.no_grad():
        classes = model.eval()(torch.from_numpy(X)).argmax(dim=1).numpy()
    for row, all_classes, k in zip(predicted, features, classes, strict=True):
        assert_allclose(row, all_classes[6 * k : 6 * k + 6], rtol=1e-6)


@pytest.mark.parametrize("loss", ["bce", "bce_softmax", "cross_entropy"])
def test_losses_against_torch(loss, model):
    features = ConfoundingGradientTransformer(model, loss=loss).fit_transform(X)
    model.eval()
    for row, sample in zip(features, X, strict=True):
        logits = model(torch.from_numpy(sample[None]))
        ones = torch.ones_like(logits)
        value = {
            "bce": nn.functional.binary_cross_entropy_with_logits(logits, ones),
            "bce_softmax": nn.functional.binary_cross_entropy(logits.softmax(1), ones),
            "cross_entropy": -logits.log_softmax(1).sum(),
        }[loss]
        gradients = torch.autograd.grad(value, list(model.parameters()))
        assert_allclose(row, [g.square().sum().item() for g in gradients], rtol=1e-4)


def test_top_classes_and_the_authors_variants(model):
    top = CosineSimilarityMatrixTransformer(model, output="upper", top_n=2)
    assert top.fit(X).get_feature_names_out().tolist() == ["cosine_top_0_1"]
    plain = CosineSimilarityMatrixTransformer(model, output="upper")
    names = plain.fit(X).get_feature_names_out().tolist()
    features = plain.transform(X)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(X)).numpy()
    best = np.sort(np.argsort(-logits, axis=1)[:, :2], axis=1)
    for cosine, row, (i, j) in zip(top.transform(X), features, best, strict=True):
        assert_allclose(cosine[0], row[names.index(f"cosine_{i}_{j}")], atol=1e-6)
    for variant in ({"channel_reduction": "max"}, {"logit_scale": 10.0}):
        other = clone(plain).set_params(sign=False, **variant).fit_transform(X)
        assert (
            abs(other - clone(plain).set_params(sign=False).fit_transform(X)).max() > 0
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_n": 4}, "top_n must be None or 2 to 3, the number of classes"),
        ({"top_n": 2}, "needs 3 or more classes.*got 2 as top_n"),
        ({"top_n": 1}, "'top_n' parameter of CosineSimilarityMatrixTransformer"),
        ({"logit_scale": 0.0}, "'logit_scale' parameter"),
        ({"channel_reduction": "mean"}, "'channel_reduction' parameter"),
    ],
)
def test_bad_variants_of_the_cosines(model, options, message):
    with pytest.raises(ValueError, match=message):
        CosineSimilarityMatrixTransformer(model, **options).fit(X)


def test_rows_have_no_channels_to_reduce():
    rows = CosineSimilarityMatrixTransformer(AnyWidth(), channel_reduction="max")
    with pytest.raises(ValueError, match=r"channel_reduction needs.*shape \(4,\)"):
        rows.fit(np.ones((2, 4)))


def test_out_of_memory_halves_the_batch(make, model):
    exact = make(model).fit_transform(X)
    forward = type(model).forward

    class Tight(BatchNormNet):
        def forward(self, x):
            if len(x) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return forward(self, x)

    model.__class__ = Tight
    transformer = make(model).fit(X)
    with pytest.warns(
        RuntimeWarning, match=r"with 7 samples at a time; continuing with 4"
    ):
        features = transformer.transform(X)
    assert_allclose(features, exact, rtol=1e-4, atol=1e-6)


def test_log_has_a_floor(model):
    model.unused = nn.Parameter(torch.ones(1))
    raw = ConfoundingGradientTransformer(model).fit_transform(X)
    log = ConfoundingGradientTransformer(model, log=True).fit_transform(X)
    assert_allclose(log, np.log(np.maximum(raw, 1e-30)), rtol=1e-12)
    assert_array_equal(raw[:, 0], 0)


def test_model_without_parameters_has_no_gradients():
    with pytest.raises(
        ValueError, match=r"model must have parameters.*Flatten has none"
    ):
        ConfoundingGradientTransformer(nn.Flatten()).fit(np.ones((2, 3)))


def test_two_classes_have_no_statistics():
    with pytest.raises(
        ValueError, match=r"needs 3 or more classes.*got 2 in this model.*'upper'"
    ):
        CosineSimilarityMatrixTransformer(AnyWidth(2)).fit(np.ones((2, 3)))


def test_unknown_output(model):
    with pytest.raises(ValueError, match="'output' parameter"):
        CosineSimilarityMatrixTransformer(model, output="mean").fit(X)


def test_outputs_of_the_cosines_agree(model):
    def features(output):
        transformer = CosineSimilarityMatrixTransformer(model, output=output)
        return np.asarray(transformer.fit_transform(X))

    matrix = features("matrix").reshape(7, 3, 3)
    assert_array_equal(features("upper"), matrix[:, [0, 0, 1], [1, 2, 2]])
    assert_allclose(matrix, matrix.transpose(0, 2, 1))
    # With three classes S1 is one pair: its mean, maximum and minimum are it.
    statistics = features("statistics")
    assert_array_equal(statistics[:, 0], statistics[:, 1])
    assert_allclose(statistics[:, 3], 0, atol=1e-7)


def test_changed_model_needs_a_new_fit(model):
    transformer = LayerActivationTransformer(model, "logits").fit(X)
    transformer.set_params(
        model=seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 5)))
    )
    with pytest.raises(
        ValueError, match=r"5 features.*gave 3\. Call fit after changing"
    ):
        transformer.transform(X)


def test_penultimate_is_the_input_of_the_last_layer():
    net = seeded(LeNet)
    data = images(3, (1, 28, 28))
    transformer = LayerActivationTransformer(net, ["conv1", "penultimate", "logits"])
    features = np.asarray(transformer.fit_transform(data))
    assert transformer.layers_ == ["conv1", "penultimate", "logits"]
    names = transformer.get_feature_names_out()
    assert names[[6, -11]].tolist() == ["penultimate_00", "penultimate_83"]
    with torch.no_grad():
        last = features[:, 6:-10] @ net.fc3.weight.numpy().T + net.fc3.bias.numpy()
    assert_allclose(last, features[:, -10:], rtol=1e-4, atol=1e-5)
    alone = LayerActivationTransformer(net, "penultimate").fit(data)
    assert_array_equal(alone.transform(data), features[:, 6:-10])


def test_without_a_last_layer_penultimate_is_the_last_candidate(model):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, x):
            return 2 * self.net(x)

    transformer = LayerActivationTransformer(Scaled(), ["penultimate", "logits"]).fit(X)
    assert transformer.layers_ == ["net.head", "logits"]


def test_unknown_layer(model):
    with pytest.raises(ValueError, match=r"got 'convv'. Did you mean 'conv'"):
        LayerActivationTransformer(model, ["convv"]).fit(X)


def test_traced_models_have_their_logits_alone():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is going out of use
        traced = torch.jit.trace(net, torch.ones(1, 3))
    with pytest.warns(UserWarning, match="the features are its logits alone"):
        transformer = LayerActivationTransformer(traced).fit(np.ones((2, 3)))
    assert transformer.layers_ == ["logits"]
