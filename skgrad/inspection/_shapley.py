"""Shapley values of few or many players, from the worth of chosen coalitions."""

from math import factorial

import numpy as np

# Up to so many players all coalitions are looked at: 32 of 5.
MOST_EXACT = 5


def make_plans(n_players, n_plans, random_state):
    """Choose coalitions, and how their worths add up to Shapley values.

    Parameters
    ----------
    n_players : int
        Number of players, G.
    n_plans : int
        Number of plans; each gives an unbiased estimate by itself.
    random_state : RandomState
        Draws the orders in which the players come in.

    Returns
    -------
    list of (ndarray of bool of shape (n_coalitions, G), ndarray of shape \
            (G, n_coalitions))
        Of each plan who takes part, and the weights: values = weights @ worths.
    """
    if n_players <= MOST_EXACT:
        return [_all_coalitions(n_players)] * n_plans
    return [
        _there_and_back(random_state.permutation(n_players)) for _ in range(n_plans)
    ]


def _all_coalitions(n_players):
    """Return all coalitions, by which the values are exact."""
    numbers = np.arange(2**n_players)
    taking_part = (numbers[:, None] >> np.arange(n_players)) % 2 == 1
    sizes = taking_part.sum(axis=1)
    ways = [
        factorial(size) * factorial(n_players - size - 1) / factorial(n_players)
        for size in range(n_players)
    ]
    joined = np.array([0.0, *ways])[sizes]  # by the last who came
    missed = np.array([*ways, 0.0])[sizes]
    return taking_part, np.where(taking_part, joined[:, None], -missed[:, None]).T


def _there_and_back(order):
    """Return the coalitions of one order and of its reverse.

    What comes early in one comes late in the other, which halves most of the noise.
    """
    n_players = len(order)
    place = np.argsort(order)
    sizes = np.arange(n_players + 1)[:, None]
    forward = place < sizes
    backward = n_players - 1 - place < sizes[1:-1]  # the ends are those of forward
    weights = np.zeros((n_players, 2 * n_players))
    players = np.arange(n_players)
    # Which rows hold the first 0, 1, ... players to come, either way.
    there = np.arange(n_players + 1)
    back = np.r_[0, n_players + 1 : 2 * n_players, n_players]
    for rows, at in ((there, place), (back, n_players - 1 - place)):
        weights[players, rows[at + 1]] += 0.5
        weights[players, rows[at]] -= 0.5
    return np.concatenate([forward, backward]), weights
