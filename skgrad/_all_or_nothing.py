"""What a refusal leaves behind: nothing."""

from contextlib import contextmanager


@contextmanager
def all_or_nothing(estimator):
    """Undo what a fit that fails has set, so that an earlier fit still serves.

    Parameters
    ----------
    estimator : object
        Whose attributes are set within. What they hold is not changed in place.
    """
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        # In this order an interrupt here costs no attribute.
        vars(estimator).update(before)
        for name in set(vars(estimator)) - set(before):
            del vars(estimator)[name]
        raise
