"""Settings for all tests."""

import faulthandler
import sys

import pytest
import torch
from counting import KEY, Counts


def pytest_addoption(parser):
    parser.addoption(
        "--counts",
        metavar="FILE",
        help="write what the catalogues tried and how it was answered",
    )


def pytest_configure(config):
    if path := config.getoption("--counts"):
        config.pluginmanager.register(Counts(path))


@pytest.fixture
def counted(record_property):
    """Return a function that counts one case: its kind, what was tried, the answer."""
    return lambda kind, case, answer: record_property(KEY, (kind, case, answer))


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Compute in one thread: for tiny tensors, more mostly wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def same_weights():
    """Draw the same weights in every run, also of networks that no test seeds."""
    torch.manual_seed(0)


@pytest.fixture
def guard():
    """End a test that hangs, and say where."""
    # Much longer than any test takes, on a busy machine too.
    faulthandler.dump_traceback_later(300, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()
