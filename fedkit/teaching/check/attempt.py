"""A learner's code, run with care: what is still open in it, how it stops, and a word where it never does.

Functions reach a check guarded: they may be called like the originals, and say "unfinished" in place of returning nothing.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import io
import linecache
import signal
import sys
import textwrap
import threading
import time
import tokenize
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fedkit.base.text import how_many
from fedkit.base.timer import after

__all__ = [
    "PRINTED",
    "Endless",
    "Open",
    "Unfinished",
    "Wrong",
    "bounded",
    "code_of",
    "fits_call",
    "guard",
    "is_stub",
    "little_memory",
    "open_lines",
    "source_of",
    "tree_of",
    "unfinished",
]


class Wrong(Exception):
    """Raised by a check: says what is wrong with the answer, never how to put it right.

    sure : it is wrong whatever another part, which is still open, becomes.
    """

    def __init__(self, what: str, *, sure: bool = False) -> None:
        super().__init__(what)
        self.sure = sure


class Open(Exception):
    """Raised by a check: a part of the exercise is still open. Its text says which part is right already."""


class Unfinished(Exception):
    """The exercise is still open."""


class Endless(BaseException):
    """The learner's code was cut: no `except Exception` of its own should catch this."""


# ------------------------------------------------------------------------------------ still open?
def unfinished(value: object, depth: int = 0) -> bool:
    """Is this what a stub leaves behind: `...`, None, NotImplemented, or a collection with `...` in it?"""
    if value is None:
        return depth == 0
    if value is ... or value is NotImplemented:
        return True
    if depth > _DEEP or not isinstance(value, dict | list | tuple | set):
        return False
    items = value.values() if isinstance(value, dict) else value
    return any(unfinished(item, depth + 1) for item, _ in zip(items, range(_MANY), strict=False))


_DEEP, _MANY = 6, 10_000


def source_of(answer: object) -> str:
    """The source of a function or class, from its first column on."""
    return textwrap.dedent(inspect.getsource(answer))  # type: ignore[arg-type]


def tree_of(answer: object) -> ast.Module | None:
    """The source of a function or class, taken apart; None where there is none that can be read."""
    if not (inspect.isroutine(answer) or inspect.isclass(answer)):
        return None
    try:
        return ast.parse(source_of(answer))
    except (OSError, TypeError, ValueError, SyntaxError, RecursionError, tokenize.TokenError):
        return None


def code_of(answer: object) -> types.CodeType | None:
    """The code of a function, of what a partial calls, or of what a decorator is around."""
    while isinstance(answer, functools.partial):
        answer = answer.func
    found = getattr(inspect.unwrap(answer) if callable(answer) else answer, "__code__", None)
    return found if isinstance(found, types.CodeType) else None


def _file(answer: object) -> str | None:
    code = code_of(answer)
    return None if code is None else code.co_filename


def open_lines(answer: object) -> list[tuple[int, str]] | None:
    """(number, text) of each line of this function or class in which a `...` still stands; None without any source.

    The `...` of an index (`x[..., 0]`) is no gap.
    """
    tree = tree_of(answer)
    if tree is None:
        return None
    lines, nodes = source_of(answer).splitlines(), list(ast.walk(tree))
    slices = [node.slice for node in nodes if isinstance(node, ast.Subscript)]
    indexed = {id(leaf) for part in slices for leaf in ast.walk(part)}
    dots = [node for node in nodes if isinstance(node, ast.Constant) and node.value is ...]
    numbers = sorted({node.lineno for node in dots if id(node) not in indexed})
    return [(number, lines[number - 1].strip()) for number in numbers]


def _is_empty(answer: object) -> bool:
    """Is the body no more than `pass`, or a text?"""
    tree = tree_of(answer)
    body = getattr(tree.body[0], "body", None) if tree is not None and tree.body else None
    return isinstance(body, list) and all(
        isinstance(line, ast.Pass)
        or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for line in body
    )


def is_stub(error: NotImplementedError, answers: Sequence[object]) -> bool:
    """Did the learner's own `raise NotImplementedError` raise this? torch raises it too, for what it can't do."""
    frames = list(traceback.walk_tb(error.__traceback__))
    frame, line = frames[-1]
    if not any(frame.f_code.co_filename == _file(answer) for answer in answers):
        return False
    text = linecache.getline(frame.f_code.co_filename, line).strip()
    return text.startswith("raise") if text else not str(error)


# ---------------------------------------------------------------------------------- a guarded call
def guard(answer: object, returns: bool) -> object:
    """A learner's function that says "unfinished" instead of returning nothing; anything else as it is."""
    if not isinstance(answer, types.FunctionType | types.MethodType | functools.partial):
        return answer
    budget = [_PRINTED]

    @functools.wraps(answer)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        heard = _Tee(sys.stdout, budget)
        with contextlib.redirect_stdout(heard):
            _running[0] += 1
            try:
                value = answer(*args, **kwargs)
            finally:
                _running[0] -= 1
        if value is None and _is_empty(answer):
            raise Unfinished
        if value is None and not returns:
            guarded.printed = heard.heard  # type: ignore[attr-defined]
            return None
        if value is None and open_lines(answer) == []:
            if heard.heard:
                raise Wrong(PRINTED)
            raise Wrong(
                "Your function gives nothing back (None). Does every way through it end in a return?"
            )
        if unfinished(value):
            raise Unfinished
        return value

    return guarded


_running = [0]
"""How many guarded calls have not come back."""

PRINTED = "Your function prints its answer and gives nothing back (None). `print` shows, `return` gives back."
_PRINTED = 2_000
"""So many characters of what a learner's function prints are shown: a check calls it many times."""


class _Tee(io.TextIOBase):
    """Passes on what is printed, as far as the budget goes."""

    def __init__(self, out: Any, budget: list[int]) -> None:
        self._out, self._budget, self.heard = out, budget, False

    def write(self, text: str) -> int:
        self.heard = self.heard or bool(text.strip())
        left = self._budget[0]
        if left > 0:
            self._budget[0] -= len(text)
            self._out.write(text if len(text) <= left else text[:left] + " [...]\n")
        return len(text)

    def flush(self) -> None:
        self._out.flush()


def fits_call(answer: object, takes: Sequence[str], called: str) -> None:
    """Raises Wrong unless the answer is a function that can be called with these arguments, in this order."""
    if not callable(answer):
        raise Wrong(
            f"The check wants the function itself, by its name and without brackets after it: {called}. "
            f"Yours is of type {type(answer).__name__}."
        )
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):
        return
    wanted = ", ".join(takes)
    try:
        signature.bind(*takes)
    except TypeError:
        raise Wrong(
            f"The check calls your function with {how_many(len(takes), 'value')}, ({wanted}); "
            f"yours takes {_taken(signature)}."
        ) from None
    names = list(signature.parameters)[: len(takes)]
    if names != list(takes) and sorted(names) == sorted(takes):
        raise Wrong(
            f"Your function takes ({', '.join(names)}); the check gives it ({wanted}), in this order."
        )


def _taken(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})" if signature.parameters else "none"


# ---------------------------------------------------------------------------------------- the time
_CPU_S, _WALL_S = 4.0, 20.0
"""So long may a learner's code calculate, or wait. Of calculating, only its own counts: a busy machine is not its fault."""


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """On Linux, a block that wants too much memory gets a MemoryError, and the kernel lives on."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = pages * resource.getpagesize() + _MORE_BYTES
        bounds = [most, *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
        resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), hard))
    except (ImportError, AttributeError, OSError, ValueError, IndexError):
        yield
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


_MORE_BYTES = 4 * 2**30


@contextlib.contextmanager
def bounded(word: Callable[[], None], cpu: float = _CPU_S, wall: float = _WALL_S) -> Iterator[None]:
    """Raises Endless in the block when it lasts too long; where this can't be (Windows, other threads), calls `word` then.

    cpu, wall : in seconds. Ctrl-C works as ever.
    """
    if not (hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()):
        with after(cpu, word):
            yield
        return
    began, calculated, times = time.monotonic(), time.thread_time(), [0]

    def look(_: int, frame: types.FrameType | None) -> None:
        if time.thread_time() - calculated < cpu and time.monotonic() - began < wall:
            return
        if times[0] and not _running[0]:  # it was cut, and the reply is being written
            return
        times[0] += 1
        if times[0] > 1:  # its own `except:` has caught the first: now each of its lines raises
            while frame is not None and not _ours(frame):
                frame.f_trace, frame = _cut, frame.f_back
            sys.settrace(_cut)
        raise Endless

    tracing, handler = sys.gettrace(), signal.signal(signal.SIGALRM, look)
    left, interval = signal.setitimer(signal.ITIMER_REAL, _EVERY_S, _EVERY_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
        if times[0] > 1:
            sys.settrace(tracing)
        if left:  # somebody's own alarm
            signal.setitimer(
                signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-3), interval
            )


_EVERY_S = 0.2


def _cut(frame: types.FrameType, event: str, _: Any) -> Any:
    """Traces the learner's code: each of its lines raises."""
    if _ours(frame) or not _running[0]:  # what writes the reply is none of it
        return None
    if event == "line":
        raise Endless
    return _cut


def _ours(frame: types.FrameType) -> bool:
    place = frame.f_code.co_filename
    return place.startswith(str(Path(__file__).parent)) or place == contextlib.__file__
