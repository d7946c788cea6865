"""The process in which a learner's definitions run: it computes what it is asked for, and can do nothing else.

It has no check in it to be tampered with. It runs the course's own cells that the definitions stand on, closes the cage
around itself, and from then on defines and calls what the judge asks for.

Run as `python -m fedkit.teaching.grade.learner MEMORY`, with the judge's pickles on stdin and frames on stdout.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import pickle
import sys
from pathlib import Path
from typing import Any

from fedkit.teaching.check.words import line_at_fault
from fedkit.teaching.grade.cage import enter
from fedkit.teaching.grade.wire import changeable, pack, write_frame

__all__ = ["Desk", "run_course"]


class Desk:
    """What the judge asks for, done: `define` statements and answer with values, `call` a function that was one of them."""

    def __init__(self, context: list[str]) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.functions: list[Any] = []
        run_course(context, self.names)

    def define(
        self, exercise: str, statements: list[str], answers: list[str], blob: bytearray
    ) -> Any:
        """Run statements on top of the course's own, and give the value of each answer."""
        names = dict(self.names)
        try:
            for number, text in enumerate(statements):
                _run(f"{exercise}_{number}", text, names)
            values = [eval(compile(text, f"{exercise}_answer", "eval"), names) for text in answers]
        except BaseException as error:  # SystemExit too
            return ["raised", type(error).__name__, _said(error), ""]
        return ["values", [pack(value, blob, self._keep) for value in values]]

    def call(
        self, number: int, arguments: tuple[Any, ...], named: dict[str, Any], blob: bytearray
    ) -> Any:
        """Call a function; what it changed in its arguments goes back with what it returned."""
        import torch

        function = self.functions[number]
        before = [_state(part) for part in changeable(arguments)]
        try:
            value = function(*arguments, **named)
        except BaseException as error:
            return [
                "raised",
                type(error).__name__,
                _said(error),
                line_at_fault(error, function) or "",
            ]
        changed = [
            [place, pack(now, blob, self._keep)]
            for place, (part, old) in enumerate(zip(changeable(arguments), before, strict=False))
            if not _same(now := _state(part), old)
        ]
        slopes: list[Any] | None = None
        if isinstance(value, torch.Tensor) and value.requires_grad and value.numel() == 1:
            leaves = [p for p in changeable(arguments) if getattr(p, "requires_grad", False)]
            if leaves:
                found = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
                slopes = [pack(slope, blob, self._keep) for slope in found]
        return ["returned", pack(value, blob, self._keep), changed, slopes]

    def _keep(self, function: Any) -> Any:
        self.functions.append(function)
        code = function.__code__
        return ["function", len(self.functions) - 1, code.co_filename, code.co_name]


def run_course(texts: list[str], names: dict[str, Any]) -> str:
    """Run the course's own statements; one that fails stops no other. Returns what the first of these said, or nothing."""
    trouble = ""
    for number, text in enumerate(texts):
        try:
            _run(f"course_{number}", text, names)
        except Exception as error:
            trouble = trouble or f"{type(error).__name__}: {error}"
    return trouble


def _run(name: str, text: str, names: dict[str, Any]) -> None:
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), names)


def _said(error: BaseException) -> str:
    try:
        return str(error)[:500]
    except Exception:
        return ""


def _state(part: Any) -> Any:
    import torch

    if isinstance(part, torch.Generator):
        return part.get_state()
    return part.detach().clone() if isinstance(part, torch.Tensor) else part.copy()


def _same(now: Any, old: Any) -> bool:
    import numpy as np
    import torch

    if isinstance(now, torch.Tensor):
        return now.shape == old.shape and now.dtype == old.dtype and torch.equal(now, old)
    return np.array_equal(now, old)


def main(memory: int) -> None:
    """Answer the judge until it closes the line."""
    asked, answer = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    # what is printed is kept nowhere, without end or not
    with (
        Path(os.devnull).open("w", encoding="utf-8", errors="replace") as gone,
        contextlib.redirect_stdout(gone),
        contextlib.redirect_stderr(gone),
    ):
        import torch  # before the cage, as is whatever the course's cells import

        torch.set_num_threads(1)
        try:
            desk = Desk(pickle.load(asked))
        except BaseException as error:
            write_frame(answer, ["raised", type(error).__name__, _said(error), ""])
            return
        write_frame(answer, ["ready", enter(memory)])
        while True:
            try:
                what, *given = pickle.load(asked)
            except EOFError:
                return
            blob, sys.stdout = bytearray(), gone
            try:
                reply = getattr(desk, what)(*given, blob)
            except BaseException as error:
                blob, reply = bytearray(), ["raised", type(error).__name__, _said(error), ""]
            write_frame(answer, reply, bytes(blob))


if __name__ == "__main__":
    main(int(sys.argv[1]))
