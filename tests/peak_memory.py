"""How much memory a call holds."""

import tracemalloc


def peak_of(function, *args, **options):
    """Return the most bytes that Python and numpy held during a call."""
    tracemalloc.start()
    try:
        function(*args, **options)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
