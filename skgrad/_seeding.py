"""Seed the random state of estimators."""

from numbers import Integral

import numpy as np
from sklearn.svm import OneClassSVM


def seed_estimator(estimator, random_state, *, overwrite=False):
    """Set the ``random_state`` of an estimator and of the estimators inside it.

    Parameters
    ----------
    estimator : estimator
        It is changed in place.
    random_state : int or RandomState
        An int is set everywhere; a RandomState draws one seed for each parameter.
    overwrite : bool, default=False
        Whether to replace values that are set already, not only None.

    Returns
    -------
    estimator
        The estimator itself.
    """
    # Sorted, so that the draws do not depend on the order of the parameters.
    names = [
        name
        for name, value in sorted(estimator.get_params(deep=True).items())
        if name.split("__")[-1] == "random_state" and (overwrite or value is None)
    ]
    # A FrozenEstimator has no such parameter and no set_params that returns it.
    if names:
        estimator.set_params(**{name: _draw(random_state) for name in names})
    # OneClassSVM draws from numpy's global generator without this attribute, which its
    # constructor does not take. The fit does not depend on the value.
    for part in (estimator, *estimator.get_params(deep=True).values()):
        if isinstance(part, OneClassSVM):
            part.random_state = 0
    return estimator


def _draw(random_state):
    if isinstance(random_state, Integral):
        return random_state
    return random_state.randint(np.iinfo(np.int32).max)
