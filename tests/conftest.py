"""Settings for all tests."""

import pytest
import torch


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
