"""False alarms and delays of PValueMonitor, on synthetic scores.

    python benchmarks/monitor.py

Scores are normal; anomalies score lower by 2 or 4 standard deviations. The level is the
share of in-distribution streams that ever raise an alarm, the delay how many inputs a
drift takes to be found. "Fixed chances" bets the same, but takes the rates of the
calibration scores as known.
"""

import argparse

import numpy as np

from skgrad.guard._urn_martingale import UrnMartingale, level_ranks

ALPHA = 0.01


class FixedChances(UrnMartingale):
    """The martingale that one would write first: p-values taken as independent."""

    def chances(self):
        """Return the chances that the calibration set suggests."""
        return self.ranks / (self.n_calibration + 1)


def alarm_times(martingale, n_calibration, shares, shift, n_streams, rng):
    """Return when each stream raises its alarm; infinite where it does not.

    ``shares`` holds the share of anomalies at each time.
    """
    ranks = level_ranks(n_calibration)
    calibration = np.sort(rng.normal(size=(n_streams, n_calibration)))
    boundaries = calibration[:, ranks - 1]
    game = martingale(ranks, n_calibration, (n_streams,))
    times = np.full(n_streams, np.inf)
    for number, share in enumerate(shares, 1):
        scores = rng.normal(size=n_streams)
        scores -= shift * (rng.random(n_streams) < share)
        game.step(scores[:, None] < boundaries)
        found = np.isinf(times) & (game.log_wealth >= -np.log(ALPHA))
        times[found] = number
        if np.isfinite(times).all():
            break
    return times


def main(words=None):
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few short streams")
    quick = parser.parse_args(words).quick
    n_streams, length = (50, 300) if quick else (1000, 10_000)
    n_drifts, most = (20, 300) if quick else (200, 3000)
    rng = np.random.default_rng(0)
    print("| calibration scores | false alarms | with fixed chances |")
    print("|---|---|---|")
    for m in (100, 500, 2000):
        rates = [
            np.isfinite(alarm_times(kind, m, np.zeros(length), 0, n_streams, rng))
            for kind in (UrnMartingale, FixedChances)
        ]
        cells = " | ".join(f"{100 * found.mean():.1f} %" for found in rates)
        print(f"| {m} | {cells} |")
    print("\n| calibration scores | drift after | shift | anomalies | found | delay |")
    print("|---|---|---|---|---|---|")
    for m in (100, 500, 2000):
        for start in (0, 20 if quick else 2000):
            for shift in (4, 2):
                for share in (0.05, 0.2, 0.5):
                    shares = np.repeat([0.0, share], [start, most])
                    times = alarm_times(UrnMartingale, m, shares, shift, n_drifts, rng)
                    delays = np.sort(times[times > start] - start)
                    found = np.isfinite(delays).mean()
                    low, middle, high = (
                        delays[int(q * len(delays))] for q in (0.1, 0.5, 0.9)
                    )
                    line = (
                        f"| {m} | {start} | {shift} | {100 * share:.0f} % "
                        f"| {100 * found:.0f} % "
                        f"| {middle:.0f} ({low:.0f} to {high:.0f}) |"
                    )
                    print(line.replace("inf", "never"))


if __name__ == "__main__":
    main()
