"""Deaths of a process, as sudden as a kill: at any moment, or before any change of the disk."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Killed(BaseException):
    """As a kill: no handler for errors sees it, and nothing after it is written."""


OPEN = os.open
SCRATCH = re.compile(r"\.fedkit-\w+\.tmp$")  # another name each time
CHANGES = ("replace", "rename", "unlink", "mkdir", "rmdir", "open")


@contextmanager
def cut_off(decide: Callable[[str], bool]) -> Iterator[None]:
    """Every change of the disk is asked about before it happens; where the answer is yes, the process "dies"."""
    dead = asking = False

    def guard(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal dead, asking
            path, there = str(args[0]), os.path.lexists(args[0])
            nothing = (
                (real is OPEN and not args[1] & os.O_CREAT)  # opened to be read
                or path.endswith(".lock")
                or (name == "unlink" and not there)
                or (name == "mkdir" and there)
            )
            if nothing or asking:  # dying here is dying before the next change
                return real(*args, **options)
            asking = True
            told = str(args[1]) if name == "replace" else SCRATCH.sub("*.tmp", path)
            dead = dead or decide(f"{name} {told}")
            asking = False
            if dead:  # whoever is dead writes nothing any more, in no `finally` either
                raise Killed
            return real(*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGES:
            patch.setattr(os, name, guard(name, getattr(os, name)))
        yield
