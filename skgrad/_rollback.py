"""Roll back an estimator's attributes if fit raises."""

from contextlib import contextmanager


@contextmanager
def restored_on_error(estimator):
    """Restore the attributes that an estimator had, if the block raises.

    The base classes enter it in ``fit``, around ``_fit``, so that an estimator whose
    fit fails is still the one that an earlier fit made. Attributes are rebound; what
    they hold must not be changed in place.
    """
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        # Restored before others are deleted, so that an interrupt between the two
        # loses no attribute.
        vars(estimator).update(before)
        for name in set(vars(estimator)) - set(before):
            del vars(estimator)[name]
        raise
