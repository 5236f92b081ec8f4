"""Settings for all tests."""

import faulthandler
import os
import sys

# Before torch loads it: on some processors MKL rounds a row of a product differently in
# batches of other sizes, and many tests compare to the bit.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Compute in one thread: for tiny tensors, more threads mostly wait."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def same_weights():
    """Draw the same weights in every run, also of networks that no test seeds."""
    torch.manual_seed(0)


@pytest.fixture
def time_limit():
    """End a test that hangs, and print where it does."""
    # Five minutes are much more than any test takes, also on a busy machine.
    faulthandler.dump_traceback_later(300, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()
