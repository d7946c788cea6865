"""A call that comes when a block takes too long."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["after"]


@contextmanager
def after(seconds: float, call: Callable[[], object]) -> Iterator[None]:
    """Call it from a thread of its own where the block is not over after so many seconds; the block goes on."""
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
