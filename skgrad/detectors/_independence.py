"""A check that scores of one call do not depend on one another."""

import warnings

import numpy as np

N_ALONE = 5


def check_scores_alone(score, few, name, *, n_copies):
    """Raise if a detector scores a few rows differently alone and together.

    ``score`` takes rows and returns a number for each, ``name`` is what messages call
    the detector. Together are the rows and ``n_copies`` copies of the first.
    """
    many = np.concatenate([few, np.repeat(few[:1], n_copies, axis=0)])
    # Some divide by a spread, which one input or copies of it do not have.
    with warnings.catch_warnings(action="ignore"):
        together = score(many)[: len(few)]
        try:
            alone = np.concatenate([score(few[i : i + 1]) for i in range(len(few))])
        except Exception as error:
            raise ValueError(
                f"detector must score one input alone; {name} cannot: "
                f"{type(error).__name__}: {error}"
            ) from error
    # More than rounding in single precision. One row of several may lie on a border,
    # where rounding decides.
    rounding = 1e-4 * np.nan_to_num(np.abs(together)).max()
    same = np.isclose(alone, together, rtol=0, atol=rounding, equal_nan=True)
    if np.mean(same) <= 0.5:
        raise ValueError(
            f"detector must score each input by itself; the score that {name} gives to "
            "an input depends on the others of the call. No threshold keeps its rate "
            "then, and anomalies that come together hide one another. Use a detector "
            "that compares inputs with its training data alone."
        )
