"""What a piece of work costs: seconds and memory."""

import time
from pathlib import Path

import numpy as np
import torch

_LINUX = Path("/proc/self")


class Meter:
    """Measures the time and the growth of the peak memory of a piece of work.

    Parameters
    ----------
    device : torch.device, default=None
        Where the model computes. On cuda the memory of that device is measured, else
        the resident memory of this process.

    Attributes
    ----------
    seconds : float
        Time that the work took.
    peak_memory : float
        By how many bytes it raised the peak above what was in use before; NaN where
        the system does not tell (other than Linux, without cuda).
    """

    def __init__(self, device=None):
        self.device = torch.device("cpu" if device is None else device)
        self.seconds = self.peak_memory = np.nan

    def __enter__(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            _reset_peak()
        self._before = self._memory("VmRSS")
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception):
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds = time.perf_counter() - self._start
        self.peak_memory = max(self._memory("VmHWM") - self._before, 0.0)

    def _memory(self, line):
        if self.device.type == "cuda":
            if line == "VmHWM":
                return float(torch.cuda.max_memory_allocated(self.device))
            return float(torch.cuda.memory_allocated(self.device))
        return _resident_memory(line)


def _reset_peak():
    """Let the peak of the resident memory start anew, where Linux allows it."""
    try:
        (_LINUX / "clear_refs").write_text("5")
    except OSError:
        return


def _resident_memory(line):
    """Read the resident memory in bytes, now (VmRSS) or at its peak (VmHWM)."""
    try:
        status = (_LINUX / "status").read_text()
    except OSError:
        return np.nan
    for entry in status.splitlines():
        if entry.startswith(f"{line}:"):
            return 1024.0 * int(entry.split()[1])
    return np.nan
