"""The benchmarks run, and the ways that they compare compute the same thing."""

import importlib
import mmap
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import ks_2samp

from skgrad.torch_engine.memory_format import with_channels_last

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def state_of_torch(monkeypatch):
    """Restore what the scripts set for a process of their own."""
    monkeypatch.syspath_prepend(FOLDER)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    yield
    torch.set_rng_state(state)
    torch.set_num_threads(threads)


def names_of(script):
    return runpy.run_path(str(FOLDER / f"{script}.py"))


def rows_of(script, capsys, *options):
    """Run a benchmark, and return the cells of the tables that it prints."""
    names_of(script)["main"](["--quick", *options])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    return [[cell.strip().rstrip("%") for cell in row] for row in rows]


def test_monitor_prints_both_tables(capsys):
    rows = rows_of("monitor", capsys)
    levels, drifts = rows[2:5], rows[7:]
    assert [row[0].strip() for row in levels] == ["100", "500", "2000"]
    assert all(0 <= float(cell.split()[0]) <= 10 for r in levels for cell in r[1:])
    assert len(drifts) == 36
    # Half of the stream, clearly apart, is found wherever it begins.
    for row in drifts[2::6]:
        assert [cell.strip() for cell in row[3:5]] == ["50", "100"]
        assert float(row[5].split()[0]) < 30


@pytest.mark.slow
def test_drift_prints_its_table(capsys):
    pytest.importorskip("torchvision")
    head, _, *rows = rows_of("drift", capsys, "--calibration", "100")
    assert len(head) == 2 + 9
    tests = ["PValueMonitor", "rejections, 100", "KS, 100", "KS, 500"]
    tests += ["MAPIE", "MAPIE, guard's p-values"]
    assert [row[0] for row in rows] == tests
    # The last test takes p-values for independent that are not.
    assert all(float(row[1].split()[0]) <= 15 for row in rows[:-1])  # three of 20
    for row in rows:
        # Half of the stream is noise that lies clearly apart.
        assert float(row[7].split()[0]) <= 400


def test_statistics_of_windows_are_those_of_scipy():
    pytest.importorskip("torchvision")
    drift, rng = names_of("drift"), np.random.default_rng(0)
    calibration = np.sort(rng.normal(size=(3, 40)))
    streams = rng.normal(size=(3, 70)).round(1)
    found, times = drift["smirnov"](calibration, streams, 25)
    assert times.tolist() == list(range(25, 71, 5))
    for row, column in np.ndindex(found.shape):
        window = streams[row, times[column] - 25 : times[column]]
        sides = {"alternative": "greater"}
        expected = ks_2samp(window, calibration[row], **sides).statistic
        assert found[row, column] == pytest.approx(expected)


def test_jumper_is_that_of_mapie():
    pytest.importorskip("torchvision")
    module = pytest.importorskip("mapie.exchangeability_testing")
    drift, rng = names_of("drift"), np.random.default_rng(0)
    p_values = rng.random((2, 60)) ** 2
    for row, path in zip(p_values, drift["jumper"](p_values), strict=True):
        test = module.OnlineMartingaleTest()
        expected = [test.update_simple_jumper_martingale(p) for p in row]
        assert_allclose(path, expected)
    # Its scores are high where ours are low.
    test = module.OnlineMartingaleTest(random_state=0)
    scores = rng.integers(4, size=20).astype(float)
    expected = [
        test.compute_p_value(-scores[time], -scores[:time]) for time in range(9, 20)
    ]
    among_past, rng = drift["p_values_among_past"], np.random.default_rng(0)
    assert_allclose(among_past(scores[9:], scores[:9], rng), expected)


def test_streams_share_nothing_with_their_calibration_scores():
    pytest.importorskip("torchvision")
    drift, rng = names_of("drift"), np.random.default_rng(0)
    pools = {"clean": np.arange(90.0), "noise": -np.arange(90.0)}
    pools["rotated"] = 1000 + pools["clean"]
    shares = np.repeat([0, 1], [20, 40])
    for kind in ("noise", "rotated"):
        draw = drift["draw_streams"](pools, kind, shares, 30, 5, rng)
        for known, stream in zip(*draw, strict=True):
            assert len({*known, *stream[:20]}) == 50
            assert (np.sort(known) == known).all()
            assert np.isin(stream[20:], pools[kind]).all()
            if kind == "rotated":
                assert len({*known, *stream[:20], *(stream[20:] - 1000)}) == 90


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # of foolbox
def test_attacks_of_both_libraries_have_equal_success(capsys):
    _, _, *rows = rows_of("attacks", capsys)
    assert [len(row) for row in rows] == [11] * 5
    for row in rows:
        assert float(row[3]) > 80
        assert all(float(cell) >= 0 for cell in row[1:])
    # Without a random start the images are the same up to rounding.
    for row in (rows[0], rows[1], rows[4]):
        assert float(row[5]) > 99


def test_ways_of_the_engine_agree():
    engine = names_of("engine")
    ways = engine["Ways"]("tiny", 3, torch.device("cpu"))
    # The loss of the rivals is summed over classes, that of the paper averaged.
    norms = ways.norms()[:, 0] * ways.forward().shape[1] ** 2
    assert_allclose(norms, ways.norms_by_loop(), rtol=1e-4)
    assert_allclose(norms, ways.norms_by_vmap().detach(), rtol=1e-4)
    assert len(ways.plain()) == norms.shape[1]
    assert_allclose(ways.cosines()[0], ways.cosines_by_full_passes(), atol=0.02)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is read as on Linux"
)
def test_engine_prints_every_row(capsys):
    engine = names_of("engine")
    _, _, *rows = rows_of("engine", capsys, "--threads", "1")
    known = [*engine["TIMES"], *engine["MEMORY"]]
    assert sorted((r[0], r[-1]) for r in rows) == sorted((k[0], k[-1]) for k in known)
    assert all(float(row[1]) > 0 for row in rows)


@pytest.mark.slow
def test_engine_prints_a_row_for_each_other_network(capsys):
    options = "--others", "--networks", "lenet", "lstm", "--threads", "1"
    head, _, *rows = rows_of("engine", capsys, *options)
    assert [row[:2] for row in rows] == [["lenet", "128"], ["lstm", "32"]]
    assert all(len(row) == len(head) for row in rows)
    assert all(float(cell) > 0 for cell in [row[2] for row in rows] + rows[0][5:])


@pytest.mark.slow
def test_latency_prints_four_tables(capsys):
    _, _, *rows = rows_of("latency", capsys)
    asked, judged = rows[:2], rows[4:6]
    held, (a, b, c, d) = rows[8], rows[11:]
    assert [row[:2] for row in asked] == [["tiny", "1"], ["tiny", "4"]]
    for row in asked:
        assert all(float(cell.split()[0]) > 0 for cell in row[1:] if cell)
    # One pass, and one for the changed copy.
    assert [row[1:4:2] for row in judged] == [["1", "1 + 1"], ["4", "4 + 4"]]
    assert all(float(row[4]) > 0 for row in judged)
    assert held[0] == "tiny"
    # Samples that pass forward and backward, through fit and through predict.
    # The recommended detector sends one changed copy of each input, and of a probe. A
    # probe takes three samples, eight, and one alone of both.
    assert [int(cell) for cell in a[1:]] == [254, 0, 240, 0]
    # For gradients three pass in either order in memory.
    image = torch.rand(2, 3, 4, 4)
    orders = 0 if with_channels_last(image) is image else 6
    counts = (133, 0), (133 + orders, 120), (133 + orders, 9 * 120)
    for row, (forward, backward) in zip((b, c, d), counts, strict=True):
        assert [int(row[place]) for place in (1, 3, 4)] == [forward, 120, backward]


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="CPU times are read as on Linux"
)
def test_serving_prints_a_row(capsys):
    for package in ("httpx", "fastapi", "uvicorn"):
        pytest.importorskip(package)
    _, _, times = rows_of("serving", capsys)
    assert times[0] == "tiny"
    assert len(times) == 7
    assert all(float(cell.split()[0]) > 0 for cell in (*times[1:4], times[6]))


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read as on Linux"
)
def test_throughput_prints_both_tables(capsys):
    throughput = names_of("throughput")
    _, _, *times, _, _, logits, scores = rows_of("throughput", capsys)
    assert [row[0] for row in times] == [what for what, *_ in throughput["TIMES"]]
    assert all(float(row[1]) > 0 for row in times)
    assert [row[:2] for row in (logits, scores)] == [
        ["300", "logits"],
        ["300", "scores"],
    ]
    assert all(float(row[5]) > 0 for row in (logits, scores))
    # Pages of their own: an allocator may hand out memory that it already holds.
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, 2**24, flags=private) as held, throughput["Growth"]() as growth:
        held[:: mmap.PAGESIZE] = bytes(2**24 // mmap.PAGESIZE)
    assert growth.bytes > 15 * 2**20


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read as on Linux"
)
def test_throughput_of_processes(capsys):
    _, _, one, two = rows_of("throughput", capsys, "--jobs", "1", "2")
    assert [one[0], two[0]] == ["1", "2"]
    assert [float(cell) for cell in (one[2], one[4])] == [1, 1]
    assert all(float(row[i]) > 0 for row in (one, two) for i in (1, 6, 7))


def test_ways_to_many_logits_agree():
    network = names_of("engine")["make_network"]("tiny")[:2]
    ways = names_of("throughput")["ManyInputs"](*network, 200)
    assert_allclose(ways.array(), ways.loop(), rtol=1e-5)
    assert_allclose(ways.dataset(), ways.loop(), rtol=1e-5)
    assert_allclose(ways.loader(), ways.loop(), rtol=1e-5)


def test_both_ways_of_a_grid_search_agree(capsys):
    row = rows_of("grid_search", capsys)[-1]
    assert row[:2] == ["lenet, LODA", "240"]
    assert float(row[5]) > 0
    assert float(row[6]) < 0.01


@pytest.mark.slow
def test_loda_prints_its_table(capsys):
    rows = rows_of("loda", capsys)
    assert len(rows) == 2 + 6
    for row in rows[-6:]:
        areas = [float(cell.split()[0]) for cell in row[1:]]
        assert len(areas) == 6
        assert all(0 <= area <= 100 for area in areas)


@pytest.mark.filterwarnings("ignore:Got `batch_size`:UserWarning")  # scikit-learn's
def test_detectors_print_both_tables(capsys):
    rows = rows_of("detectors", capsys)
    assert [row[0] for row in rows[2:6]] == ["LODA", "PerClassSVDD", "Gaussian", "MLP"]
    cells = [cell.split()[0] for row in rows[2:6] for cell in row[3:7]]
    assert all(float(cell) >= 0 for cell in cells)
    exact, approximate = (float(row[3]) for row in rows[8:])
    assert min(exact, approximate) > 80


def test_largest_detector_models_all_classes(capsys):
    names_of("detectors")["main"](["--quick", "--largest"])
    assert "200 x (30 + 10 logits)" in capsys.readouterr().out


def test_false_alarms_lie_in_their_band(capsys):
    row = rows_of("false_alarms", capsys)[-1]
    assert row[0] == "5"
    assert float(row[1].split("%")[0]) < 15
    assert float(row[5]) == 0


@pytest.mark.slow
def test_exported_guards_are_timed_and_compared(capsys):
    pytest.importorskip("onnxruntime")
    _, _, row, *others = rows_of("exported", capsys)
    assert row[:2] == ["tiny", "1"]
    assert all(float(cell.split()[0]) > 0 for cell in row[2:])
    *single, double = others[2:]
    assert [pair[0] for pair in single] == ["tiny"] * 4
    assert all(float(cell) < 0.01 for pair in single for cell in pair[3:])
    assert all(float(cell) < 1e-9 for cell in double[3:])


@pytest.mark.slow
def test_geometric_reproduction_writes_its_tables(tmp_path, capsys):
    experiment = names_of("geometric_reproduction")
    options = ["--output", str(tmp_path), "--sections", "gradients"]
    experiment["main"](["--quick", *options])
    records = pd.read_csv(tmp_path / "records.csv")
    assert records.auroc.between(0, 1).all()
    assert records.tnr.between(0, 1).all()
    assert set(records.variation) == set(experiment["GRADIENTS"])
    assert (tmp_path / "tables.md").read_text().strip() in capsys.readouterr().out


def test_naive_matrices_are_exact_where_nothing_saturates():
    experiment = names_of("geometric_reproduction")
    detectors = importlib.import_module("geometric_reproduction_detectors")
    naive_matrices, features_of = detectors.naive_matrices, experiment["features_of"]
    net = experiment["parts"].make_network(8).eval()
    X = np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32)
    exact = features_of(net, X, sign=False)
    naive = naive_matrices(net, X, sign=False, dtype=torch.float64)
    assert_allclose(exact.matrices, naive, atol=1e-4)
    # A saturated one loses its gradient altogether.
    with torch.no_grad():
        net[-1].bias[0] = 200.0
    assert (naive_matrices(net, X)[:, 0, 0] == 0).all()
    assert_allclose(features_of(net, X).matrices[:, 0, 0], 1, rtol=1e-6)


@pytest.mark.slow
def test_channels_of_tokens_beat_their_positions(capsys):
    _, _, *rows = rows_of("channel_axes", capsys)
    assert len(rows) == 6
    for row in rows:
        # The density tells noise without error by either axis.
        *_, found, axis_1 = (float(cell.split()[0]) for cell in row[3:])
        if row[2] == "noise":
            assert found > axis_1
