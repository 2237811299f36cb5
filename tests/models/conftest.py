import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small layers spend their time waiting for the second thread: 3 s a pass instead of 0.03 on busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
