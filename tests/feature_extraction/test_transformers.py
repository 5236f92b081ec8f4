"""The contracts that all three transformers keep."""

import gc
import weakref
from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from model_state import assert_same_state, state_of
from networks import AnyWidth, BatchNormNet, LeNet, Recurrent, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
    make_recommended_detector,
)
from skgrad.baselines import make_baselines
from skgrad.feature_extraction import predict_logits

SHAPE = (2, 6, 6)
X = images(7, SHAPE)


def test_graph_of_the_user_stays_valid(make, model):
    model.train()
    loss = model(torch.from_numpy(X)).sum()
    make(model).fit(X).transform(X)
    loss.backward()
    assert model.conv.weight.grad is not None


def test_no_tensor_of_a_pass_stays_in_memory(make, model):
    transformer = make(model).fit(X)
    alive = []
    for part in model.modules():
        part.register_forward_hook(
            lambda _, given, output: alive.extend(map(weakref.ref, [*given, output]))
        )
    transformer.transform(X)
    # Nor in a circle through a graph of torch, which is never collected.
    gc.collect()
    assert len(alive) > 4
    assert not [tensor for tensor in (one() for one in alive) if tensor is not None]


def test_rows_with_input_shape_compose_with_scalers(make, model):
    rows = X.reshape(len(X), -1)
    features = make(model, input_shape=SHAPE).fit_transform(rows)
    assert_allclose(features, make(model).fit_transform(X), rtol=1e-6)
    pipeline = make_pipeline(StandardScaler(), make(model, input_shape=SHAPE))
    assert pipeline.fit_transform(rows).shape == features.shape


def test_names(model, makers):
    names = {k: m(model).fit(X).get_feature_names_out() for k, m in makers.items()}
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


def test_dataset_gives_names_and_frames_too(make, model):
    data = TensorDataset(torch.from_numpy(X))
    transformer = make(model).set_output(transform="pandas")
    assert isinstance(transformer.fit_transform(data), pd.DataFrame)
    assert transformer.n_features_in_ == 2


def test_predict_logits(model):
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(X)).numpy()
    rows = X.reshape(7, -1)
    found = predict_logits(model.train(), rows, input_shape=SHAPE, batch_size=3)
    assert type(found) is np.ndarray
    assert_allclose(found, expected, rtol=1e-5)
    assert model.training


class Reader(TensorDataset):
    """Counts the samples that this process reads."""

    n_read = 0

    def __getitem__(self, index):
        type(self).n_read += 1
        return super().__getitem__(index)


def test_workers_read_the_same(make, model, monkeypatch, tmp_path):
    monkeypatch.setattr(Reader, "n_read", 0)
    data, expected = Reader(torch.from_numpy(X)), make(model).fit_transform(X)
    for memory in (None, str(tmp_path)):
        busy = make(model, num_workers=2, batch_size=3, memory=memory)
        assert_allclose(busy.fit(data).transform(data), expected, rtol=1e-4, atol=1e-6)
        assert Reader.n_read == 0
    assert_array_equal(busy.fit_transform(data), busy.transform(X))


class Noisy(Dataset):
    """Draws from the global generator, as augmentations do."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return torch.rand(SHAPE)


def test_randomness_of_a_dataset_stays_inside(model):
    before = torch.get_rng_state()
    transformer = LayerActivationTransformer(model)
    with pytest.warns(UserWarning, match="X gives different values each time"):
        transformer.fit(Noisy()).transform(Noisy())
    assert torch.equal(torch.get_rng_state(), before)


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
        # "cpu:0" is another name than that of the model's device, so it is copied.
        for device in (None, "cpu:0"):
            found = make(script, device=device).fit_transform(rows)
            assert_allclose(found, expected, rtol=1e-5)


def test_recurrent_network_against_single_samples(make):
    net = seeded(Recurrent, dtype=torch.float64)
    series = images(6, (5, 3))
    transformer = make(net)
    together = transformer.fit_transform(series)
    one_by_one = [transformer.transform(one[None])[0] for one in series]
    assert_allclose(together, one_by_one, rtol=1e-9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("recurrent", [False, True])
def test_cuda(make, model, recurrent):
    net, data = (seeded(Recurrent), images(6, (5, 3))) if recurrent else (model, X)
    expected = make(net).fit_transform(data)
    on_copy = make(net, device="cuda").fit(data).transform(data)
    assert net.conv.weight.device.type == "cpu"
    assert_allclose(on_copy, expected, rtol=1e-3, atol=1e-3)
    there = make(net.cuda()).fit(data).transform(torch.from_numpy(data).cuda())
    assert_allclose(there, expected, rtol=1e-3, atol=1e-3)


def test_verbose_shows_a_bar(make, model, capsys):
    make(model, verbose=True).fit(X).transform(X)
    assert ": 100%" in capsys.readouterr().err
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


def test_out_of_memory_halves_the_batch(model):
    exact = LayerActivationTransformer(model, "logits").fit_transform(X)
    forward = type(model).forward

    class Tight(BatchNormNet):
        def forward(self, x):
            if len(x) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return forward(self, x)

    model.__class__ = Tight
    transformer = LayerActivationTransformer(model, "logits").fit(X)
    with pytest.warns(
        RuntimeWarning, match=r"with 7 samples at a time; continuing with 4"
    ):
        features = transformer.transform(X)
    assert_allclose(features, exact, rtol=1e-4, atol=1e-6)


class Leaky(nn.Linear):
    """Adds a little of the mean over the batch."""

    def __init__(self):
        super().__init__(4, 3)

    def forward(self, x):
        y = super().forward(x)
        return y + 0.05 * y.mean(dim=0)


@pytest.mark.parametrize(
    "mixing",
    [
        nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3, track_running_stats=False)),
        nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=0)),
        seeded(Leaky),
    ],
    ids=["BatchNorm", "softmax", "little"],
)
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_model_whose_samples_mix_is_rejected(mixing, batch_size):
    data = images(9, (4,))
    transformer = LayerActivationTransformer(mixing, "logits", batch_size=batch_size)
    loader = DataLoader(TensorDataset(torch.from_numpy(data)), batch_size=batch_size)
    for read in (transformer.fit, transformer.fit_transform):
        for given in (data, loader):
            with pytest.raises(ValueError, match="must treat each sample by itself"):
                read(given)


class Crowded(nn.Linear):
    """Has room for three samples, or for three quarters of more."""

    def __init__(self):
        super().__init__(4, 3)

    def forward(self, x):
        y = super().forward(x)
        room = max(3, 3 * len(x) // 4)
        return torch.cat([y[:room], torch.zeros_like(y[room:])])


def test_model_that_mixes_more_than_three_samples_is_rejected():
    data, crowded = images(9, (4,)), seeded(Crowded)
    for detector in (
        ConfoundingGradientTransformer(crowded),
        CosineSimilarityMatrixTransformer(crowded),
        LayerActivationTransformer(crowded, "logits"),
        make_baselines(crowded)["energy"],
        make_recommended_detector(crowded),
    ):
        with pytest.raises(ValueError, match=r"of 8 samples .* the last one has other"):
            detector.fit(data)
    LayerActivationTransformer(crowded, "logits", batch_size=3).fit(data)
    loader = DataLoader(TensorDataset(torch.from_numpy(data)), batch_size=3)
    LayerActivationTransformer(crowded, "logits").fit(loader)


class Sociable(nn.Linear):
    """Takes no sample alone."""

    def forward(self, x):
        return super().forward(x.squeeze())


def test_model_that_fails_on_one_sample_is_rejected():
    message = r"takes 3 samples of X together and fails on one\. .* shape \(3,\)"
    with pytest.raises(ValueError, match=message):
        LayerActivationTransformer(Sociable(4, 3), "logits").fit(images(9, (4,)))


class Demanding(nn.Linear):
    """Raises an error that says nothing about X."""

    def forward(self, x):
        if x.shape[1] != 4:
            raise TypeError("need 4")
        return super().forward(x)


def test_errors_of_the_model_become_errors_of_x(make):
    with pytest.raises(ValueError, match=r"model cannot take X.*TypeError: need 4"):
        make(Demanding(4, 3)).fit(images(5, (5,)))


def test_few_samples_are_filled_up_within_their_range(make):
    class Log(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Linear(4, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.head(self.conv(x.log()).tanh())

    data = 0.1 + images(2, (4,))
    assert make(seeded(Log)).fit_transform(data[:1]).shape[0] == 1
    assert make(seeded(Log)).fit_transform(data).shape[0] == 2


def test_model_that_draws_is_rejected(model):
    class Drawing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = model

        def forward(self, x):
            return self.conv(x) + torch.randn(3)

    with pytest.raises(ValueError, match="model must give the same logits each time"):
        LayerActivationTransformer(Drawing(), "logits").fit(X)


def test_failed_fit_leaves_an_earlier_one(model):
    transformer = LayerActivationTransformer(model, "logits")
    with pytest.raises(NotFittedError):
        transformer.get_feature_names_out()
    expected = transformer.fit(X).transform(X)
    transformer.set_params(layers="nope")
    with pytest.raises(ValueError, match="got 'nope'"):
        transformer.fit(X[..., :4])  # of another shape, which must be forgotten
    assert_array_equal(transformer.set_params(layers="logits").transform(X), expected)


def test_changed_model_needs_a_new_fit(model):
    transformer = LayerActivationTransformer(model, "logits").fit(X)
    transformer.set_params(
        model=seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 5)))
    )
    with (
        pytest.warns(UserWarning, match="model has changed since fit"),
        pytest.raises(ValueError, match=r"5 features.*gave 3\. Call fit after"),
    ):
        transformer.transform(X)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X[:, :1], r"model cannot take X: .* \(1, 6, 6\).*The model says: Runtime"),
        (X.reshape(7, -1), r"model cannot take X: .* \(72,\).*input_shape"),
    ],
)
def test_bad_inputs(model, data, message):
    before = state_of(model)
    with pytest.raises(ValueError, match=message):
        LayerActivationTransformer(model).fit(data)
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
    ("input_shape", "message"),
    [
        ((3, 3), r"X must hold samples of shape \(3, 3\)"),
        (72, "'input_shape' parameter"),
        ((2, 6.0, 6), "input_shape must be None or positive integers"),
        ((-1, 6, 6), "input_shape must be None or positive integers"),
    ],
)
def test_bad_input_shapes(model, input_shape, message):
    with pytest.raises(ValueError, match=message):
        LayerActivationTransformer(model, input_shape=input_shape).fit(X)


def test_skorch_parameters_stay_the_nets_own():
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(BatchNormNet, lr=0.1).initialize()
    transformer = ConfoundingGradientTransformer(net)
    assert "model__lr" not in transformer.get_params()
    with pytest.raises(ValueError, match="Invalid parameter"):
        transformer.set_params(head=1)


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.coo_array])
def test_sparse_rows_equal_dense_ones(make, form):
    rows = images(7, (5,)) * (images(7, (5,), seed=1) > 0.5)
    net = OrderedDict(conv=nn.Linear(5, 4), bend=nn.Tanh(), head=nn.Linear(4, 3))
    transformer = make(seeded(lambda: nn.Sequential(net)))
    expected = transformer.fit_transform(rows)
    assert_array_equal(transformer.transform(form(rows)), expected)
    assert_array_equal(transformer.fit_transform(form(rows)), expected)
    assert transformer.n_features_in_ == 5
    with pytest.raises(ValueError, match=r"samples of shape \(5,\)"):
        transformer.transform(form(rows[:, :3]))
    with pytest.raises(ValueError, match="row 2 of X"):
        transformer.fit(form(np.where(np.arange(7)[:, None] == 2, np.nan, rows)))
    with pytest.raises(ValueError, match=r"got shape \(0, 5\)"):
        transformer.fit(form(rows[:0]))
