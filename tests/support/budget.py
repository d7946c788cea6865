"""Bounds on what a step may cost: CPU time of this process, against hangs, and memory of Python."""

from __future__ import annotations

import gc
import itertools
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

_TURN = itertools.count()


@contextmanager
def budget(cpu_s: float, memory: int, trace: bool | None = None) -> Iterator[None]:
    """No more CPU time of this process, and no more memory of Python, than this.

    trace : is memory looked at? By default now and then, as tracing takes longer than what is traced.
    """
    if trace is None:
        trace = next(_TURN) % 10 == 0
    if trace:
        tracemalloc.start()
    gc.disable()  # what earlier tests left is not counted
    began = time.process_time()
    try:
        yield
    finally:
        took = time.process_time() - began
        gc.enable()
        peak = tracemalloc.get_traced_memory()[1] if trace else 0
        if trace:
            tracemalloc.stop()
    assert took < cpu_s * (5 if trace else 1), f"{took:.3f} s"
    assert peak < memory, f"{peak:,} bytes"
