"""Shapley values of few or many players, from the worth of chosen coalitions."""

from math import factorial

import numpy as np

# With up to so many players all coalitions are taken: 32 of 5.
MOST_EXACT = 5


def make_plans(n_players, n_plans, random_state):
    """Choose coalitions, and how their worths add up to Shapley values.

    Each plan gives an unbiased estimate by itself. It holds the members of each
    coalition (n_coalitions, n_players) and weights (n_players, n_coalitions): values =
    weights @ worths.
    """
    if n_players <= MOST_EXACT:
        return [_all_coalitions(n_players)] * n_plans
    return [
        _antithetic_orders(random_state.permutation(n_players)) for _ in range(n_plans)
    ]


def _all_coalitions(n_players):
    """Return all coalitions, which give the exact values."""
    numbers = np.arange(2**n_players)
    members = (numbers[:, None] >> np.arange(n_players)) % 2 == 1
    sizes = members.sum(axis=1)
    # |A|! (G - |A| - 1)! / G!, the share of the orders in which A comes first and then
    # the player, by the size of A.
    shares = [
        factorial(size) * factorial(n_players - size - 1) / factorial(n_players)
        for size in range(n_players)
    ]
    joined = np.array([0.0, *shares])[sizes]  # as A with the player
    missed = np.array([*shares, 0.0])[sizes]  # as A without the player
    return members, np.where(members, joined[:, None], -missed[:, None]).T


def _antithetic_orders(order):
    """Return the coalitions of an order and of its reverse, with their weights.

    A player that joins early in one order joins late in the other, which removes most
    of the noise.
    """
    n_players = len(order)
    place = np.argsort(order)
    sizes = np.arange(n_players + 1)[:, None]
    forward = place < sizes
    # The empty and the full coalition are those of the forward order.
    backward = n_players - 1 - place < sizes[1:-1]
    weights = np.zeros((n_players, 2 * n_players))
    players = np.arange(n_players)
    # The rows that hold the coalitions of the first 0, 1, ... players, in either order.
    forward_rows = np.arange(n_players + 1)
    backward_rows = np.r_[0, n_players + 1 : 2 * n_players, n_players]
    for rows, at in (
        (forward_rows, place),
        (backward_rows, n_players - 1 - place),
    ):
        weights[players, rows[at + 1]] += 0.5
        weights[players, rows[at]] -= 0.5
    return np.concatenate([forward, backward]), weights
