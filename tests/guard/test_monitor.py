"""The monitor: its wealth over all orders, its level, power and memory."""

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline

from skgrad import ConformalDetector
from skgrad.guard import Judgement, PValueMonitor
from skgrad.guard._urn_martingale import UrnMartingale, level_ranks

RNG = np.random.default_rng(0)
CALIBRATION = RNG.normal(size=200)


def play(calibration, stream, ranks, kind=UrnMartingale):
    """Return the log wealth of several streams, shape (n_streams, length)."""
    n_streams, m = calibration.shape
    levels = np.sort(calibration)[:, np.asarray(ranks) - 1]
    game = kind(ranks, m, (n_streams,))
    path = []
    for scores in stream.T:
        game.step(scores[:, None] < levels)
        path.append(game.log_wealth)
    return np.array(path).T


def test_wealth_is_a_martingale():
    """Over all orders of calibration and stream, the mean wealth stays 1."""
    orders = np.array(list(permutations(range(7))), dtype=float)
    path = play(orders[:, :3], orders[:, 3:], [1, 2])
    np.testing.assert_allclose(np.exp(path).mean(axis=0), 1, rtol=1e-12)
    assert path.std() > 0.01
    # Given any past as well, it stays where it was.
    pasts, groups = np.unique(path[:, :-1].round(9), axis=0, return_inverse=True)
    assert len(pasts) > 10
    for group, past in enumerate(pasts):
        mean = np.exp(path[groups.ravel() == group, -1]).mean()
        assert np.log(mean) == pytest.approx(past[-1])


def test_chances_count_what_was_seen():
    game = UrnMartingale([1, 3], 4)
    np.testing.assert_allclose(game.chances(), [1 / 5, 3 / 5])
    game.step(np.array([False, True]))
    np.testing.assert_allclose(game.chances(), [1 / 6, 4 / 6])


@pytest.mark.parametrize(
    ("m", "ranks"),
    [(1, [1]), (19, [1, 4]), (99, [1, 5, 20]), (999, [2, 10, 50, 200])],
)
def test_levels_are_scores_of_the_calibration(m, ranks):
    assert level_ranks(m).tolist() == ranks


def false_alarms(m, length, n_streams, alpha, kind=UrnMartingale):
    rng = np.random.default_rng(m)
    calibration = rng.normal(size=(n_streams, m))
    stream = rng.normal(size=(n_streams, length))
    path = play(calibration, stream, level_ranks(m), kind)
    return np.sum(path.max(axis=1) >= -np.log(alpha))


def test_level_of_short_streams():
    assert false_alarms(30, 500, 500, 0.2) <= binom.ppf(0.999, 500, 0.2)
    # A martingale comes near its bound: the test has something to find.
    assert false_alarms(30, 500, 500, 0.2) > 20


@pytest.mark.slow
@pytest.mark.parametrize("m", [100, 500, 2000])
def test_level_of_long_streams(m):
    assert false_alarms(m, 10_000, 1000, 0.01) <= binom.ppf(0.999, 1000, 0.01)


def first_alarms(path):
    """Return how many inputs each stream takes, infinite without an alarm."""
    above = path >= np.log(100)
    return np.where(above.any(axis=1), 1 + above.argmax(axis=1), np.inf)


class FixedChances(UrnMartingale):
    """A gambler who takes the rates of the calibration scores as known."""

    def chances(self):
        return self.ranks / (self.n_calibration + 1)


def test_p_values_of_one_calibration_set_are_not_independent():
    assert false_alarms(100, 4000, 200, 0.01, FixedChances) > 20


# What the guide's page says, with room for chance: calibration scores, clean inputs
# before the drift, share and depth of anomalies, share found within 3,000 inputs, and
# the median delay.
DELAYS = {
    "clear": (500, 2000, 0.2, 4, (1, 1), (18, 33)),
    "near": (500, 2000, 0.5, 2, (1, 1), (22, 37)),
    "few scores": (100, 0, 0.05, 4, (0.05, 0.3), (3000, np.inf)),
    "more scores": (500, 0, 0.05, 4, (0.95, 1), (80, 160)),
}


@pytest.mark.parametrize("case", DELAYS)
def test_delays_of_the_guide(case):
    m, n_clean, share, depth, found, delay = DELAYS[case]
    rng = np.random.default_rng(0)
    stream = rng.normal(size=(100, n_clean + 3000))
    anomalous = rng.random(stream.shape) < share
    stream[:, n_clean:] -= depth * anomalous[:, n_clean:]
    times = first_alarms(play(rng.normal(size=(100, m)), stream, level_ranks(m)))
    times = times[times > n_clean] - n_clean
    assert found[0] <= np.isfinite(times).mean() <= found[1]
    assert delay[0] <= np.median(times) <= delay[1]


@pytest.mark.slow
def test_slow_drifts_are_found_late_and_at_once_by_a_new_monitor():
    rng = np.random.default_rng(0)
    calibration = rng.normal(size=(40, 500))
    falling = rng.normal(size=(40, 20_000)) - np.linspace(0, 0.5, 20_000)
    slow = first_alarms(play(calibration, falling, level_ranks(500)))
    fallen = rng.normal(size=(40, 2000)) - 0.5
    new = first_alarms(play(calibration, fallen, level_ranks(500)))
    assert 6000 < np.median(slow) < 13_000
    assert 60 < np.median(new) < 300


def test_level_with_ties():
    rng = np.random.default_rng(0)
    monitors = [
        PValueMonitor(rng.integers(3, size=40), alpha=0.2, random_state=seed)
        for seed in range(150)
    ]
    for monitor in monitors:
        monitor.update(rng.integers(3, size=150))
    n_alarms = sum(monitor.alarm_ for monitor in monitors)
    assert n_alarms <= binom.ppf(0.999, 150, 0.2)
    alone = PValueMonitor(np.zeros(40), alpha=0.2)
    alone.update(np.zeros(300))
    assert not alone.alarm_


def test_alarm_by_anomalies():
    monitor = PValueMonitor(CALIBRATION)
    path = monitor.update(RNG.normal(size=300))
    assert path.shape == (300,)
    assert not monitor.alarm_
    assert monitor.alarm_at_ is None
    assert path[-1] == monitor.log_wealth_
    assert monitor.max_log_wealth_ == max(path.max(), 0)
    path = monitor.update(np.full(60, -9.0))
    first = np.argmax(path >= np.log(100))
    assert monitor.alarm_at_ == 301 + first < 320
    # It stays, whatever comes.
    monitor.update(np.full(900, 9.0))
    assert monitor.alarm_
    assert monitor.max_log_wealth_ == path.max()
    assert (monitor.n_seen_, monitor.n_calibration_) == (1260, 200)


def test_high_scores_raise_no_alarm():
    monitor = PValueMonitor(CALIBRATION)
    monitor.update(np.full(2000, 9.0))
    assert monitor.max_log_wealth_ == 0


@pytest.mark.parametrize("text", [False, True], ids=["one object", "restarted"])
def test_parts_of_a_stream_are_equal_to_the_bit(text):
    # Of ties and infinite scores, too.
    stream = RNG.normal(size=400).round(1)
    stream[::50] = -np.inf
    calibration = np.append(CALIBRATION.round(1), [-np.inf] * 3)
    whole = PValueMonitor(calibration, random_state=3)
    expected = whole.update(stream)
    parted, path = PValueMonitor(calibration, random_state=3), []
    for part in np.split(stream, [1, 7, 7, 250, 399]):
        path.extend(parted.update(part))
        if text:
            parted = PValueMonitor.from_json(parted.to_json())
    np.testing.assert_array_equal(path, expected)
    assert parted.to_json() == whole.to_json()
    assert "Infinity" not in whole.to_json()
    assert (parted.alarm_at_, parted.alpha) == (whole.alarm_at_, 0.01)


def judged(predicted, score, trust):
    return Judgement(
        predicted=np.array(predicted),
        probability=np.full(len(predicted), 0.9),
        score=np.array(score),
        p_value=np.full(len(predicted), 0.5),
        trust=np.array(trust, dtype=bool),
    )


@pytest.mark.parametrize("names", [("cat", "dog", "rejected"), (1, 0, -1)])
def test_classes_of_judgements_are_counted(names):
    cat, dog, none = names
    monitor, by_scores = PValueMonitor(CALIBRATION), PValueMonitor(CALIBRATION)
    first = judged([cat, dog, cat, none], [0.1, -5, -4, -np.inf], [1, 0, 0, 0])
    np.testing.assert_array_equal(monitor.update(first), by_scores.update(first.score))
    assert monitor.class_counts_ == {cat: (2, 1), dog: (1, 1), none: (1, 1)}
    again = PValueMonitor.from_json(monitor.to_json())
    for one in (monitor, again):
        one.update(judged([dog], [0.3], [1]))
        one.update(judged([], [], []))
        one.update([0.2])
        assert one.class_counts_ == {cat: (2, 1), dog: (2, 1), none: (1, 1)}
    assert again.to_json() == monitor.to_json()
    assert (monitor.n_seen_, by_scores.class_counts_) == (6, {})


def test_columns_of_other_lengths_leave_the_stream_as_it_was():
    monitor = PValueMonitor(CALIBRATION)
    before = monitor.to_json()
    for wrong, name in (
        (judged(["cat"], [0.1, 0.2], [1, 1]), "predicted"),
        (judged(["cat", "cat"], [0.1, 0.2], [1]), "trust"),
    ):
        with pytest.raises(ValueError, match=rf"scores.{name} must hold one value"):
            monitor.update(wrong)
    assert monitor.to_json() == before


def test_a_file_goes_on_with_the_stream(tmp_path):
    path, stream = tmp_path / "monitor.json", RNG.normal(size=300)
    whole = PValueMonitor(CALIBRATION, random_state=3)
    whole.update(stream)
    for part in np.split(stream, [7, 150]):
        monitor = PValueMonitor.resume(path, CALIBRATION, random_state=3)
        monitor.update(part)
        monitor.save(path)
    assert path.read_text() == whole.to_json() == monitor.to_json()
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_other_monitors_are_rejected(tmp_path):
    path = tmp_path / "monitor.json"
    PValueMonitor(CALIBRATION).save(path)
    what = r"path must hold the monitor of these .*monitor\.json' has .* or others"
    for scores, alpha in ((CALIBRATION[:150], 0.01), (CALIBRATION, 0.05)):
        with pytest.raises(ValueError, match=what):
            PValueMonitor.resume(path, scores, alpha=alpha)
    with pytest.raises(ValueError, match=what):
        PValueMonitor.resume(path, CALIBRATION + 1)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"path must hold what PV.* does not: text"):
        PValueMonitor.resume(path, CALIBRATION)
    with pytest.raises(TypeError, match="path must be a str or a Path"):
        PValueMonitor.resume(3, CALIBRATION)
    with pytest.raises(FileNotFoundError, match="There is no such folder"):
        PValueMonitor(CALIBRATION).save(tmp_path / "none" / "monitor.json")


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "monitor.json"
    monitor = PValueMonitor(CALIBRATION)
    monitor.save(path)
    before = path.read_text()
    monitor.update([0.1])

    def half(path, text):
        path.write_bytes(text[:20].encode())
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OSError, match="no space left"):
        monitor.save(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_state_does_not_grow():
    monitor = PValueMonitor(CALIBRATION)
    monitor.update(RNG.normal(size=10))
    before = len(monitor.to_json())
    assert before < 1500
    monitor.update(RNG.normal(size=3000))
    assert len(monitor.to_json()) < before + 100


def test_scores_of_a_fitted_detector():
    X = RNG.normal(size=(300, 2))
    guard = ConformalDetector(IsolationForest(n_estimators=5), random_state=0).fit(X)
    monitor = PValueMonitor(guard)
    assert monitor.n_calibration_ == len(guard.calibration_scores_)
    by_scores = PValueMonitor(guard.calibration_scores_)
    assert monitor.to_json() == by_scores.to_json()
    assert PValueMonitor(make_pipeline(guard)).to_json() == by_scores.to_json()
    for other in (IsolationForest(), ConformalDetector(IsolationForest())):
        with pytest.raises(TypeError, match="must be scores, or a fitted detector"):
            PValueMonitor(other)


@pytest.mark.parametrize(
    ("scores", "match"),
    [
        ([0.1, np.nan], "scores must hold numbers and no NaN; got 2 values, 1 of them"),
        ([[0.1]], "scores must hold numbers, shape"),
        (["a"], "scores must hold numbers"),
    ],
)
def test_wrong_scores_leave_the_stream_as_it_was(scores, match):
    monitor = PValueMonitor(CALIBRATION)
    before = monitor.to_json()
    with pytest.raises(ValueError, match=match):
        monitor.update(scores)
    assert monitor.to_json() == before
    assert monitor.update([]).shape == (0,)
    with pytest.raises(ValueError, match="calibration_"):
        PValueMonitor(scores)


def test_wrong_arguments_are_rejected():
    with pytest.raises(ValueError, match="calibration_scores must hold at least one"):
        PValueMonitor([])
    with pytest.raises(ValueError, match="'alpha' parameter"):
        PValueMonitor([0.0], alpha=1)
    with pytest.raises(ValueError, match="'random_state' parameter"):
        PValueMonitor([0.0], random_state=-1)


def test_other_text_is_rejected():
    state = json.loads(PValueMonitor(CALIBRATION).to_json())
    later = json.dumps({**state, "format": 3})
    lacking = json.dumps({k: v for k, v in state.items() if k != "bets"})
    for text in ("", "{}", "[1]", later, lacking, None):
        with pytest.raises(ValueError, match="text must be what PValueMonitor"):
            PValueMonitor.from_json(text)
