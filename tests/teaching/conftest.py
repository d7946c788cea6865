"""What tests of the course's own rooms ask for."""

import threading
from collections.abc import Iterator

import pytest


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """After the test, the threads are those that were there before."""
    before = set(threading.enumerate())
    yield
    assert [t for t in threading.enumerate() if t not in before] == []
