"""What was computed last, kept in the memory of this process.

A search asks for the features of the same few arrays again and again. Their hashes, by
which they are found on disk, would cost more than the detectors that are searched;
comparing them with the last ones costs a tenth of that.
"""

import threading
from collections import OrderedDict

import numpy as np
from sklearn.utils import gen_batches


class Recent:
    """The latest results by inputs.

    Parameters
    ----------
    most_bytes : int
        The inputs kept take up no more; the oldest go first.
    """

    def __init__(self, most_bytes):
        self.most_bytes = most_bytes
        self._entries = OrderedDict()  # running number -> (key, inputs, result)
        self._number = 0
        self._lock = threading.Lock()

    def get(self, key, inputs):
        """Return the result for such inputs, or None if it is not kept."""
        if not _can_be_kept(inputs):
            return None
        with self._lock:
            entries = list(self._entries.items())
        for number, (of, known, result) in reversed(entries):
            if of == key and _same(known, inputs):
                with self._lock:
                    if number in self._entries:
                        self._entries.move_to_end(number)
                return result
        return None

    def keep(self, key, inputs, result):
        """Keep a result, with a copy of the inputs that it belongs to."""
        if not _can_be_kept(inputs) or inputs.nbytes > self.most_bytes:
            return
        entry = key, np.array(inputs, order="C"), result
        with self._lock:
            self._number += 1
            self._entries[self._number] = entry
            sizes = [known.nbytes for _, known, _ in self._entries.values()]
            excess = sum(sizes) - self.most_bytes
            for size in sizes:
                if excess <= 0:
                    break
                self._entries.popitem(last=False)
                excess -= size


def _can_be_kept(inputs):
    # A memmap may be larger than memory.
    is_array = isinstance(inputs, np.ndarray) and not isinstance(inputs, np.memmap)
    return is_array and inputs.dtype.kind in "biuf"


def _same(known, inputs):
    if known.dtype != inputs.dtype or known.shape != inputs.shape:
        return False
    # Folds of one search may differ late: some rows first, then all.
    some = slice(None, None, max(1, len(known) // 8))
    if not np.array_equal(known[some], inputs[some]):
        return False
    # Bits in pieces that stay in the processor's cache take half the time of values.
    known, inputs = (
        np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in (known, inputs)
    )
    return all(
        np.array_equal(known[piece], inputs[piece])
        for piece in gen_batches(known.size, 2**19)
    )
