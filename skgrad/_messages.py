"""What messages have in common: values cut short, names listed, names near a wrong one.

Warnings point to the line of the user's code that led to them.
"""

import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

# Frames of these are passed on the way to the user's own code.
_INSIDE = {"skgrad", "sklearn", "joblib", "contextlib"}


def brief(value: Any, most: int = 100) -> str:
    """Write a value for a message: in one line, and no more than its beginning."""
    return cut(repr(value), most)


def cut(text: str, most: int) -> str:
    """Bring a text into one line of at most so many characters."""
    line = re.sub(r"\s*\n\s*", " ", text).strip()
    return line if len(line) <= most else f"{line[: most - 3].rstrip()}..."


def call_it(value: Any) -> str:
    """Return the way out, after a space, for a class where an instance is due."""
    return f" Give an instance, {value.__name__}()." if isinstance(value, type) else ""


def listed(names: Sequence[Any], most: int = 40) -> str:
    """Write names or numbers out for a message, the first of them if they are many."""
    first = ", ".join(map(repr, names[:most]))
    return f"{first} and {len(names) - most} more" if len(names) > most else first


def did_you_mean(
    name: Any, known: Iterable[str], *, most: int = 3, cutoff: float = 0.6
) -> str:
    """Return a sentence of the known names that are near, after a space; or ``""``.

    Case is ignored. At most ``most`` names are given, of a similarity of ``cutoff`` or
    more, as in `difflib.get_close_matches`.
    """
    small = {one.lower(): one for one in known}
    close = get_close_matches(str(name).lower(), small, n=most, cutoff=cutoff)
    if not close:
        return ""
    *first, last = (repr(small[one]) for one in close)
    return f" Did you mean {', '.join(first)}{' or ' if first else ''}{last}?"


@contextmanager
def naming(parameter: str) -> Iterator[None]:
    """Add to errors which parameter of the caller the ``X`` of the message is.

    For calls of estimators of others, which know their own ``X`` alone. Checks of our
    own take the name as an argument.
    """
    try:
        yield
    except Exception as error:
        if parameter != "X":
            error.add_note(f"The X of this message is {parameter}.")
        raise


def warn(message: str, category: type[Warning]) -> None:
    """Warn, and name the line outside skgrad and scikit-learn that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_globals.get("__name__", "").partition(".")[0] in _INSIDE:
        if frame.f_back is None:
            break
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
