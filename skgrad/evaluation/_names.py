"""Names of detectors and anomalies as people type them."""

import re


def find_name(wanted, names):
    """Return the one of the names that is meant, None if there is none.

    Only letters and digits count: "C&W", "c-w" and "cw" are the same.
    """
    return next((name for name in names if _letters(name) == _letters(wanted)), None)


def _letters(name):
    return re.sub("[^a-z0-9]", "", str(name).lower())
