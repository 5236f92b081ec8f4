"""Names as people type them."""

import re


def letters(name):
    """Return the small letters and digits of a name: C&W and c-w are the same."""
    return re.sub("[^a-z0-9]", "", str(name).lower())


def find_shown(wanted, kinds):
    """Return the name in tables that is meant, however it is written.

    Parameters
    ----------
    wanted : str
        What `letters` leaves of the name.
    kinds : dict of str to str
        Names in tables by the words that people type.

    Returns
    -------
    str or None
        A value of `kinds`; None if none is meant.
    """
    for slug, shown in kinds.items():
        if wanted in (letters(slug), letters(shown)):
            return shown
    return None
