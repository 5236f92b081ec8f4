"""The cost of a piece of work: seconds and memory."""

import time
from pathlib import Path

import numpy as np
import torch

_LINUX = Path("/proc/self")


class Meter:
    """Measures a piece of work as a context manager.

    Afterwards ``seconds`` is the time it took and ``peak_memory`` by how many bytes it
    raised the peak above what was in use before: on a GPU of its memory, else of the
    resident memory of this process, which is NaN on systems other than Linux.
    """

    def __init__(self, device):
        self._device = torch.device(device)

    def __enter__(self):
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = float(torch.cuda.memory_allocated(self._device))
        else:
            self._before = _resident("VmRSS")
            try:
                (_LINUX / "clear_refs").write_text("5")  # resets the peak
            except OSError:
                self._before = np.nan
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception):
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            peak = float(torch.cuda.max_memory_allocated(self._device))
        else:
            peak = _resident("VmHWM")
        self.seconds = time.perf_counter() - self._start
        # maximum, not max: NaN stays NaN.
        self.peak_memory = float(np.maximum(peak - self._before, 0.0))


def _resident(line):
    """Return the resident memory in bytes, now (VmRSS) or at its peak (VmHWM)."""
    try:
        status = (_LINUX / "status").read_text()
    except OSError:
        return np.nan
    found = [entry for entry in status.splitlines() if entry.startswith(f"{line}:")]
    return 1024.0 * int(found[0].split()[1]) if found else np.nan
