"""A learner's code, run with care: what is still open in it, how it stops, and a word where it never does.

Functions reach a check guarded: they may be called like the originals, and say "unfinished" in place of returning nothing.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import inspect
import io
import linecache
import re
import signal
import sys
import textwrap
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from fedkit.base.text import nearest

__all__ = [
    "PRINTED",
    "Endless",
    "Open",
    "Unfinished",
    "Wrong",
    "bounded",
    "fits_call",
    "guard",
    "in_words",
    "is_stub",
    "line_at_fault",
    "open_lines",
    "stray_name",
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


def _source(answer: object) -> str:
    return textwrap.dedent(inspect.getsource(answer))  # type: ignore[arg-type]


def _tree(answer: object) -> ast.Module | None:
    """The source of a function or class, taken apart; None where there is none that can be read."""
    if not (inspect.isroutine(answer) or inspect.isclass(answer)):
        return None
    try:
        return ast.parse(_source(answer))
    except (OSError, TypeError, SyntaxError, RecursionError):
        return None


def open_lines(answer: object) -> list[tuple[int, str]] | None:
    """(number, text) of each line of this function or class in which a `...` still stands; None without any source.

    The `...` of an index (`x[..., 0]`) is no gap.
    """
    tree = _tree(answer)
    if tree is None:
        return None
    lines, nodes = _source(answer).splitlines(), list(ast.walk(tree))
    slices = [node.slice for node in nodes if isinstance(node, ast.Subscript)]
    indexed = {id(leaf) for part in slices for leaf in ast.walk(part)}
    dots = [node for node in nodes if isinstance(node, ast.Constant) and node.value is ...]
    numbers = sorted({node.lineno for node in dots if id(node) not in indexed})
    return [(number, lines[number - 1].strip()) for number in numbers]


def stray_name(answer: object) -> str | None:
    """A name that the function sets and never uses, while it uses one like it that it never sets: a slip, in words."""
    tree = _tree(answer)
    if tree is None:
        return None
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    given = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    assigned = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    foreign = used - assigned - given - set(dir(builtins))
    for name in sorted(assigned - used - {"_"}):
        near = nearest(name, foreign)
        if near:
            return f"Your function sets {name} and never uses it; it uses {near}, which it does not set."
    return None


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
            f"The check calls your function with {len(takes)} values, ({wanted}); yours takes {_taken(signature)}."
        ) from None
    names = list(signature.parameters)[: len(takes)]
    if names != list(takes) and sorted(names) == sorted(takes):
        raise Wrong(
            f"Your function takes ({', '.join(names)}); the check gives it ({wanted}), in this order."
        )


def _taken(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})" if signature.parameters else "none"


# --------------------------------------------------------------------------------------- an error
def in_words(error: BaseException, answers: Sequence[object]) -> str:
    """How the learner's code stopped, and in which of its lines."""
    said = _said(error)
    for answer in answers:
        line = line_at_fault(error, answer)
        if line is None:
            continue
        if isinstance(error, Endless):
            return (
                f"Your code was still running after some seconds, so it was stopped ({line}). "
                "Does each loop in it come to an end?"
            )
        if isinstance(error, RecursionError):
            return f"Your function calls itself again and again, without an end ({line})."
        if isinstance(error, SystemExit):
            return f"Your code ends the whole program ({line}). `return` ends a function."
        return f"Your code stops with {said} ({line}).{_meant(error, answer)}"
    if isinstance(error, Endless):
        return "Your code was still running after some seconds, so it was stopped."
    return f"Your answer has another form than the check expects ({said})."


def _said(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # an error of the learner's own
        text = ""
    text = text if len(text) <= _LONG else text[:_LONG] + " ..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_LONG = 300


_MEANINGS = {
    r"unsupported operand type.*'list'": "A list is not one number: calculate with each of its items.",
    r"not implemented for '(Long|Int)'": "'Long' and 'Int' are whole numbers, such as labels. "
    "Do the arguments stand in the right order?",
}
"""What errors of Python and torch mean here, which don't say what a learner has done."""


def _meant(error: BaseException, answer: object) -> str:
    """The name that was written where another is used, or what a library's error means here."""
    for words, meaning in _MEANINGS.items():
        if not isinstance(error, NameError) and re.search(words, _said(error)):
            return f" {meaning}"
    code = _code(answer)
    if not isinstance(error, NameError) or code is None or not isinstance(error.name, str):
        return ""
    known = [*code.co_varnames, *code.co_names, *code.co_freevars]
    near = nearest(error.name, [name for name in known if name != error.name])
    if near and SequenceMatcher(None, error.name, near).ratio() >= _ALIKE:
        return f" Did you mean {near}?"
    return " No line of your function sets it." if error.name not in code.co_varnames else ""


_ALIKE = 0.7
"""From here on two names are one, misspelled: `order` and `model`, at 0.6, are two."""


def line_at_fault(error: BaseException, answer: object) -> str | None:
    """The innermost line of the learner's function that the error came through, in words."""
    code = _code(answer)
    if code is None:
        return None
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == code.co_filename:
            found = line
    if found is None:
        return None
    text = linecache.getline(code.co_filename, found).strip()
    where = f"line {found - code.co_firstlineno + 1} of {code.co_name}"
    return where + (f": {text[:_LONG]}" if text else "")


def _code(answer: object) -> types.CodeType | None:
    while isinstance(answer, functools.partial):
        answer = answer.func
    found = getattr(inspect.unwrap(answer) if callable(answer) else answer, "__code__", None)
    return found if isinstance(found, types.CodeType) else None


def _file(answer: object) -> str | None:
    code = _code(answer)
    return None if code is None else code.co_filename


# ---------------------------------------------------------------------------------------- the time
_CPU_S, _WALL_S = 4.0, 20.0
"""So long may a learner's code calculate, or wait. Of calculating, only its own counts: a busy machine is not its fault."""


@contextlib.contextmanager
def bounded(word: Callable[[], None], cpu: float = _CPU_S, wall: float = _WALL_S) -> Iterator[None]:
    """Raises Endless in the block when it lasts too long; where this can't be (Windows, other threads), calls `word` then.

    cpu, wall : in seconds. Ctrl-C works as ever.
    """
    if not (hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()):
        timer = threading.Timer(cpu, word)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
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
