"""Names of detectors and anomalies as people type them."""

import re


def find_name(wanted, names):
    """Return the name in tables that is meant, None if there is none.

    Parameters
    ----------
    wanted : str
        The name, such as "C&W", "c-w" or "max_softmax": only letters and digits count.
    names : dict of str to str
        Names in tables by names for a command line.
    """
    wanted = _letters(wanted)
    for slug, shown in names.items():
        if wanted in (_letters(slug), _letters(shown)):
            return shown
    return None


def _letters(name):
    return re.sub("[^a-z0-9]", "", str(name).lower())
