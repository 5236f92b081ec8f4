"""How many inputs a drift takes to be found, beside other tests, on CIFAR-10 (JPEG).

    python benchmarks/drift.py --data-dir DIR

ResNet-20 under a guard with the recommended detector. After 1,000 clean inputs a share
of the stream becomes images of TinyImageNet (32 x 32), Gaussian noise, or rotated by 45
to 90 degrees. The tests see the same streams, at one level over 4,000 inputs:

- `PValueMonitor`, which holds it over all time;
- the rejections in windows of 100, one after the other, above `rejection_band` with the
  level divided by the number of windows (Bonferroni);
- a one-sided Kolmogorov-Smirnov test of a sliding window against the calibration
  scores, asked every 5 inputs. How large it gets over a clean stream does not depend on
  the distribution, so its threshold is a quantile over uniform streams;
- the jumper martingale of MAPIE 1.6, written down for many streams at once. MAPIE's
  `OnlineMartingaleTest.update` takes labelled inputs and no p-values; here it gets
  those that MAPIE would compute, of each score among all scores before it, or, in place
  of them, those of the guard, among the calibration scores alone.

Each stream draws its own calibration scores from 7,000 scored test images (0 to 799 of
each class, less 100 to fit on) and continues with others of them, so both are
exchangeable; different streams share images. Anomalies are drawn from 3,000, rotated
ones are the images that they replace.
"""

import argparse
from bisect import bisect_left, bisect_right
from functools import partial
from pathlib import Path

import numpy as np
import torch
from recommended_settings import CifarResNet, load_network, perturbed, read_images

from skgrad import GuardedClassifier
from skgrad.detectors import conformal_p_values, conformal_threshold
from skgrad.guard import rejection_band
from skgrad.guard._urn_martingale import UrnMartingale, level_ranks
from skgrad.metrics import auroc

ALPHA = 0.01
SHARES = 0.05, 0.2, 0.5
WINDOW = 100  # of rejections
STEP = 5  # between two looks at a sliding window


def score_pools(root, n_fit, n_clean, n_other, seed=0):
    """Return the scores of a guard of each kind of input, fitted on clean ones.

    ``n_fit`` and ``n_clean`` count the images of each class.
    """
    weights = root / "weights/cifar10jpeg_resnet20.safetensors"
    model = load_network(CifarResNet, weights)
    folders = sorted((root / "cifar10-jpeg/test").iterdir())
    images = [
        read_images(folder, "0[0-7]*.jpg", "RGB", n_fit + n_clean, seed)
        for folder in folders
    ]
    guard = GuardedClassifier(model, random_state=seed)
    guard.fit(torch.cat([x[:n_fit] for x in images]))
    clean = torch.cat([x[n_fit:] for x in images])
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.5, 0.25, size=(n_other, 3, 32, 32)).clip(0, 1)
    tiny = root / "tiny-imagenet32-jpeg/val"
    pools = {
        "clean": clean,
        "TinyImageNet": read_images(tiny, "*/*.jpg", "RGB", n_other, seed),
        "Gaussian noise": torch.from_numpy(noise.astype("f4")),
        "rotated": perturbed(clean, seed)["rotated"],
    }
    return {kind: guard.score_samples(x) for kind, x in pools.items()}


def draw_streams(pools, kind, shares, n_calibration, n_streams, rng):
    """Return calibration scores and streams, shape (n_streams, ...) each.

    ``shares`` holds the share of anomalies at each time.
    """
    clean, length = pools["clean"], len(shares)
    calibration = np.empty((n_streams, n_calibration))
    streams = np.empty((n_streams, length))
    for row in range(n_streams):
        order = rng.permutation(len(clean))[: n_calibration + length]
        calibration[row] = np.sort(clean[order[:n_calibration]])
        images = order[n_calibration:]
        # A rotated image takes the place of the image itself.
        if kind != "rotated":
            others = rng.permutation(len(pools[kind]))
            others = np.resize(others, length)
        else:
            others = images
        anomalous = rng.random(length) < shares
        streams[row] = np.where(anomalous, pools[kind][others], clean[images])
    return calibration, streams


# Each test returns how many inputs each stream takes to an alarm, infinite without one.


def first(above, times):
    """Return the first of the times at which each row is True."""
    found = np.append(np.asarray(times, dtype=float), np.inf)
    padded = np.pad(above, ((0, 0), (0, 1)), constant_values=True)
    return found[padded.argmax(axis=1)]


def monitor(calibration, streams):
    """Ask `PValueMonitor`, of all streams at once."""
    n_streams, length = streams.shape
    ranks = level_ranks(calibration.shape[1])
    levels = calibration[:, ranks - 1]
    game = UrnMartingale(ranks, calibration.shape[1], (n_streams,))
    path = np.empty((n_streams, length))
    for time in range(length):
        game.step(streams[:, time, None] < levels)
        path[:, time] = game.log_wealth
    return first(path >= -np.log(ALPHA), np.arange(1, length + 1))


def rejections(calibration, streams):
    """Count the rejected inputs of one window after the other."""
    n_windows = streams.shape[1] // WINDOW
    sides = {"confidence": 1 - 2 * ALPHA / n_windows}  # the upper one counts
    band = rejection_band(WINDOW, calibration.shape[1], **sides)
    thresholds = [conformal_threshold(scores, 0.05) for scores in calibration]
    rejected = streams[:, : n_windows * WINDOW] < np.array(thresholds)[:, None]
    counts = rejected.reshape(len(streams), n_windows, WINDOW).sum(axis=2)
    return first(counts > band.high, WINDOW * np.arange(1, n_windows + 1))


def smirnov(calibration, streams, window):
    """Return the one-sided statistics of a sliding window, and their times.

    By how much the window's distribution function exceeds that of the calibration
    scores at most.
    """
    n_streams, length = streams.shape
    m = calibration.shape[1]
    cells = [
        np.searchsorted(*pair, side="right")
        for pair in zip(calibration, streams, strict=True)
    ]
    rows = np.arange(n_streams)[:, None]
    cells, counts = np.array(cells), np.zeros((n_streams, m + 1))
    usual = np.arange(m + 1) / m
    times, largest = np.arange(window, length + 1, STEP), []
    np.add.at(counts, (rows, cells[:, :window]), 1)
    for time in times:
        if time > window:
            np.add.at(counts, (rows, cells[:, time - STEP : time]), 1)
            gone = slice(time - STEP - window, time - window)
            np.subtract.at(counts, (rows, cells[:, gone]), 1)
        excess = counts.cumsum(axis=1) / window - usual
        largest.append(excess.max(axis=1))
    return np.transpose(largest), times


def smirnov_limit(n_calibration, length, window, n_streams, rng):
    """Return what a share of ALPHA of clean streams exceeds at most, of any kind."""
    highest = []
    for _ in range(n_streams // 500):
        scores = rng.random((500, n_calibration + length))
        calibration = np.sort(scores[:, :n_calibration])
        found, _ = smirnov(calibration, scores[:, n_calibration:], window)
        highest.append(found.max(axis=1))
    return np.quantile(np.concatenate(highest), 1 - ALPHA, method="higher")


def kolmogorov_smirnov(calibration, streams, window, limit):
    """Compare a sliding window with the calibration scores."""
    found, times = smirnov(calibration, streams, window)
    return first(found > limit, times)


def jumper(p_values):
    """Return MAPIE's jumper martingale of each row, with its default jumps of 1 %."""
    experts, jump = np.array([-1.0, 0.0, 1.0]), 0.01
    wealth = np.full((len(p_values), 3), 1 / 3)
    path = np.empty(p_values.shape)
    for time, p in enumerate(p_values.T):
        total = wealth.sum(axis=1, keepdims=True)
        mixed = (1 - jump) * wealth + jump / 3 * total
        wealth = mixed * (1 + experts * (p[:, None] - 0.5))
        path[:, time] = wealth.sum(axis=1)
    return path


def p_values_among_past(scores, known, rng):
    """Return MAPIE's p-value of each score, among all before it; ties are drawn."""
    past, p_values = sorted(known), []
    for score in scores:
        n_lower, n_most = bisect_left(past, score), bisect_right(past, score)
        ties = rng.random() * (n_most - n_lower + 1)
        p_values.append((n_lower + ties) / (len(past) + 1))
        past.insert(n_most, score)
    return np.array(p_values)


def mapie(calibration, streams, fixed=False, seed=0):
    """Ask MAPIE's martingale; ``fixed`` gives it the guard's p-values."""
    among = conformal_p_values
    if not fixed:
        among = partial(p_values_among_past, rng=np.random.default_rng(seed))
    pairs = zip(streams, calibration, strict=True)
    above = jumper(np.array([among(*pair) for pair in pairs])) > 1 / ALPHA
    return first(above, np.arange(1, streams.shape[1] + 1))


def tests_of(n_calibration, length, n_simulated, rng):
    """Return the tests by name, at one level over streams of this length."""
    tests = {"PValueMonitor": monitor, f"rejections, {WINDOW}": rejections}
    for window in (100, 500):
        limit = smirnov_limit(n_calibration, length, window, n_simulated, rng)
        options = {"window": window, "limit": limit}
        tests[f"KS, {window}"] = partial(kolmogorov_smirnov, **options)
    tests["MAPIE"] = mapie
    tests["MAPIE, guard's p-values"] = partial(mapie, fixed=True)
    return tests


def area(pools, kind):
    """Return how often a clean input scores higher than another one, in percent."""
    pair = pools["clean"], pools[kind]
    truth = np.repeat([1, -1], [len(scores) for scores in pair])
    return 100 * auroc(truth, np.concatenate(pair))


def cell(times, start):
    """Return median and quartiles of the delay after the drift began."""
    delays = np.sort(times[times > start] - start)
    if not len(delays):
        return "-"
    low, middle, high = (delays[int(q * len(delays))] for q in (0.25, 0.5, 0.75))
    found = np.isfinite(delays).mean()
    share = "" if found == 1 else f"; {found:.0%}"
    text = f"{middle:.0f} ({low:.0f} to {high:.0f}){share}"
    return text.replace("inf", "never")


def main(words=None):
    """Print the table of false alarms and delays."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="as in recommended_settings.py")
    parser.add_argument("--calibration", type=int, default=500, help="scores")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="few normal scores")
    options = parser.parse_args(words)
    rng, m = np.random.default_rng(0), options.calibration
    if options.quick:
        start, most, n_streams, n_level, n_simulated = 100, 400, 10, 20, 500
        drawn = {"clean": 0, "TinyImageNet": -2, "Gaussian noise": -4, "rotated": -3}
        pools = {kind: rng.normal(shift, size=2000) for kind, shift in drawn.items()}
    else:
        if options.data_dir is None:
            parser.error("--data-dir is needed, or --quick")
        start, most, n_streams, n_level = 1000, 3000, options.streams, 1000
        n_simulated = 10_000
        pools = score_pools(options.data_dir, 100, 700, 3000)
    found = [f"{kind} {area(pools, kind):.1f}" for kind in list(pools)[1:]]
    print(f"AUROC of the detector, in percent: {', '.join(found)}\n", flush=True)
    tests = tests_of(m, start + most, n_simulated, rng)
    columns = [f"{kind}, {100 * s:.0f} %" for kind in list(pools)[1:] for s in SHARES]
    print(f"| {' | '.join(['test', 'false alarms', *columns])} |")
    print("|---" * (2 + len(columns)) + "|")
    draw = partial(draw_streams, pools, n_calibration=m, rng=rng)
    clean = draw("clean", np.zeros(start + most), n_streams=n_level)
    drifts = [
        draw(kind, np.repeat([0, share], [start, most]), n_streams=n_streams)
        for kind in list(pools)[1:]
        for share in SHARES
    ]
    for name, test in tests.items():
        alarms = 100 * np.isfinite(test(*clean)).mean()
        cells = [cell(test(*streams), start) for streams in drifts]
        print(f"| {' | '.join([name, f'{alarms:.1f} %', *cells])} |", flush=True)


if __name__ == "__main__":
    main()
