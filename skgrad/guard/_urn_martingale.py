"""A test martingale on ranks among calibration scores and the stream itself."""

import numpy as np

# A bet is on one kind of drift: that a share of the stream scores below a level. Levels
# are shares of in-distribution inputs. Anomalies that lie apart show soonest at the
# lowest level, a drift of all inputs at the highest.
LEVELS = 0.002, 0.01, 0.05, 0.2
SHARES = np.array([0.03, 0.1, 0.3])
# Half of the wealth waits at first. After t inputs the fraction PATIENCE / (PATIENCE +
# t) of that half still does, so that drifts that begin late are bet on as well.
PATIENCE = 1000.0


class UrnMartingale:
    """The wealth of a gambler who bets that too many scores lie below some levels.

    All arrays may have leading axes, one entry for each of several streams.
    """

    def __init__(self, ranks, n_calibration, shape=()):
        self.ranks, self.n_calibration = np.asarray(ranks), n_calibration
        self.n_seen = 0
        self.counts = np.zeros((*shape, len(ranks)), dtype=np.int64)
        n_bets = len(ranks) * len(SHARES)
        self.cash = np.full(shape, 0.5)
        self.bets = np.full((*shape, len(ranks), len(SHARES)), 0.5 / n_bets)
        self.log_wealth = np.zeros(shape)

    def chances(self):
        """Return how likely the next score is below each level, given all the past.

        The ranks of exchangeable scores follow Polya's urn: each of the m + 1 gaps
        between calibration scores holds one ball, and one more for each score seen.
        """
        return (self.ranks + self.counts) / (self.n_calibration + 1 + self.n_seen)

    def step(self, below):
        """Play one round; ``below`` says of each level if the score lies below it."""
        moved = self.cash / (PATIENCE + self.n_seen + 1)
        self.cash = self.cash - moved
        size = np.prod(self.bets.shape[-2:])
        stakes = self.bets + moved[..., None, None] / size
        odds = (1 / self.chances() - 1)[..., None]
        # Both factors average to 1 under these chances, so no bet is favourable.
        gains = np.where(below[..., None], 1 + SHARES * odds, 1 - SHARES)
        bets = stakes * gains
        wealth = self.cash + bets.sum(axis=(-2, -1))
        # As shares of the wealth, so that no number grows without limit.
        self.cash, self.bets = self.cash / wealth, bets / wealth[..., None, None]
        self.log_wealth = self.log_wealth + np.log(wealth)
        self.counts = self.counts + below
        self.n_seen += 1


def level_ranks(n_calibration):
    """Return the ranks of the calibration scores that serve as levels, from 1."""
    ranks = np.rint(np.multiply(LEVELS, n_calibration + 1)).astype(np.int64)
    return np.unique(np.clip(ranks, 1, n_calibration))
