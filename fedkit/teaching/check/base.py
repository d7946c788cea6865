"""What a check is made of: an attempt, three possible results, and words for what went wrong.

A check is a function of the learner's objects. It returns why the answer is right, or raises `Wrong` with what is
wrong. Whatever else happens on the way (an exercise still open, an error in the learner's code) becomes a `Result`, which
a notebook shows as an icon and words first, a colour only beside them.
"""

from __future__ import annotations

import ast
import functools
import html
import inspect
import linecache
import math
import textwrap
import traceback
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fedkit.experiments.notebooks import CHECK_MIME
from fedkit.teaching.notebook import publish, running_cell

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "REGISTRY",
    "Check",
    "Result",
    "Wrong",
    "box",
    "check",
    "near",
    "number",
    "tensor",
    "unfinished",
]


State = Literal["not yet", "try again", "right"]

# state -> icon, words, colour of the edge (Okabe-Ito)
LOOKS = {
    "not yet": ("○", "Not yet", "#56B4E9"),
    "try again": ("↻", "Try again", "#D55E00"),
    "right": ("✓", "Right", "#009E73"),
}
REGISTRY: dict[str, Check] = {}


# ------------------------------------------------------------------------------- a check, its result


class Wrong(Exception):
    """Raised by a check: says what is wrong with the answer, never how to put it right."""


class _Unfinished(Exception):
    """The exercise is still open."""


@dataclass(frozen=True)
class Result:
    """What a check says: the exercise's `name` and `title`, the `state`, the `message`."""

    name: str
    title: str
    state: State
    message: str
    _shown_in: list[int | None] = field(default_factory=list, repr=False, compare=False)

    def _ipython_display_(self) -> None:
        # the check shows its result; as the last expression of the same cell it must not appear twice
        _, cell = running_cell()
        if cell not in self._shown_in:
            self._shown_in.append(cell)
            kept = {"name": self.name, "state": self.state}
            shown = box(self.name, self.title, self.state, self.message)
            publish({CHECK_MIME: kept, "text/html": shown, "text/plain": str(self)})

    def __str__(self) -> str:
        """The same as the box, in plain text."""
        icon, words, _ = LOOKS[self.state]
        return f"{icon} {words} · {self.title}: {self.message}"


@dataclass(frozen=True)
class Check:
    """One exercise's check: call it with the learner's objects; it shows and returns a `Result`, and never raises."""

    name: str
    title: str
    hint: str
    judge: Callable[..., str]
    returns: bool

    def __call__(self, *answers: object) -> Result:
        state, message = self._verdict(answers)
        result = Result(self.name, self.title, state, message)
        result._ipython_display_()
        return result

    def _verdict(self, answers: tuple[object, ...]) -> tuple[State, str]:
        if any(unfinished(answer) for answer in answers):
            return "not yet", self.hint
        try:
            return "right", self.judge(*[_guard(answer, self.returns) for answer in answers])
        except (_Unfinished, NotImplementedError):
            return "not yet", self.hint
        except Exception as error:
            if any(has_gap(answer) for answer in answers):
                return "not yet", self.hint  # what is left of the stub explains whatever failed
            said = str(error) if isinstance(error, Wrong) else _in_words(error, answers)
            return "try again", said


def check(*, hint: str, returns: bool = True) -> Callable[[Callable[..., str]], Check]:
    """Make a check, found as `fk.check.<function name>`, from a function of the learner's objects.

    Parameters
    ----------
    hint : what is shown while the exercise is open; it points the way without being the solution.
    returns : False for an exercise whose function returns None on purpose.

    The function's docstring is the title. Learners' functions reach it guarded: they may be called like the originals.
    """

    def make(judge: Callable[..., str]) -> Check:
        name, lines = judge.__name__, (judge.__doc__ or judge.__name__).strip().splitlines()
        other = REGISTRY.get(name)
        if other is not None and other.judge.__module__ != judge.__module__:
            raise ValueError(f"check {name!r} stands in {other.judge.__module__} already")
        REGISTRY[name] = Check(name, lines[0].rstrip("."), hint, judge, returns)
        return REGISTRY[name]

    return make


# ------------------------------------------------------------------------- what an answer should be
def number(answer: object) -> float:
    """The answer as a finite float; a scalar tensor or array will do. Raises Wrong for anything else."""
    try:
        if isinstance(answer, str | bool):
            raise TypeError
        value = float(answer)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(
            f"The answer should be one number; yours is of type {type(answer).__name__}."
        ) from None
    if not math.isfinite(value):
        raise Wrong(f"The answer should be a finite number; yours is {value}.")
    return value


def near(answer: object, target: float, *, within: float, wrong: str) -> None:
    """Raises `Wrong(wrong)` unless the answer is a number at most `within` away from `target` (same unit)."""
    if abs(number(answer) - target) > within:
        raise Wrong(wrong)


def tensor(answer: object, *, wrong: str) -> Tensor:
    """The answer as a tensor; a numpy array or a list of numbers will do. Raises `Wrong(wrong)` for anything else."""
    import numpy as np  # here, since most checks need neither
    import torch

    if isinstance(answer, torch.Tensor):
        return answer
    if not (isinstance(answer, list | tuple) or hasattr(answer, "__array__")):
        raise Wrong(wrong)
    try:
        return torch.as_tensor(np.array(answer, order="C"))
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(wrong) from None


# ------------------------------------------------------------------- a learner's code, looked at
def _guard(answer: object, returns: bool) -> object:
    """A learner's function that says "unfinished" instead of returning nothing; anything else as it is."""
    if not isinstance(answer, types.FunctionType | types.MethodType | functools.partial):
        return answer

    @functools.wraps(answer)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        value = answer(*args, **kwargs)
        if value is None and not returns:
            return None
        if value is None and has_gap(answer) is False:
            raise Wrong(
                "Your function gives nothing back (None). Does every way through it end in a return?"
            )
        if unfinished(value):
            raise _Unfinished
        return value

    return guarded


def _in_words(error: Exception, answers: tuple[object, ...]) -> str:
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    for answer in answers:
        line = line_at_fault(error, answer)
        if line is not None:
            return f"Your code stops with {said} ({line})."
    return f"Your answer has another form than the check expects ({said})."


def unfinished(value: object) -> bool:
    """Is this what a stub leaves behind: `...`, None, NotImplemented, or a collection with `...` in it?"""
    return value is None or value is NotImplemented or _holds_dots(value)


def has_gap(answer: object) -> bool | None:
    """Does a `...` still stand in the source of this function or class? None: it has no source that can be read.

    The `...` of an index (`x[..., 0]`) is no gap.
    """
    if not (inspect.isroutine(answer) or inspect.isclass(answer)):
        return None
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(answer)))
    except (OSError, TypeError, SyntaxError):
        return None
    nodes = list(ast.walk(tree))
    slices = [node.slice for node in nodes if isinstance(node, ast.Subscript)]
    indexed = {id(leaf) for part in slices for leaf in ast.walk(part)}
    dots = [node for node in nodes if isinstance(node, ast.Constant) and node.value is ...]
    return any(id(node) not in indexed for node in dots)


def _holds_dots(value: object) -> bool:
    if isinstance(value, dict):
        return any(_holds_dots(item) for item in value.values())
    if isinstance(value, list | tuple | set):
        return any(_holds_dots(item) for item in value)
    return value is ...


def line_at_fault(error: BaseException, answer: object) -> str | None:
    """The innermost line of the learner's function that the error came through, in words."""
    code = getattr(inspect.unwrap(answer) if callable(answer) else answer, "__code__", None)
    if code is None:
        return None
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_code.co_filename == code.co_filename:
            text = linecache.getline(code.co_filename, line).strip()
            inside = line - code.co_firstlineno + 1
            return f"line {inside} of {code.co_name}" + (f": {text}" if text else "")
    return None


# ------------------------------------------------------------------------------------ how it looks
def box(name: str, title: str, state: str, message: str) -> str:
    """The result as one HTML element; learners' own words in it are escaped."""
    icon, words, colour = LOOKS[state]
    label = html.escape(f"Check {name}: {words}")
    return (
        f'<div role="status" aria-label="{label}" '
        f'style="border-left: 4px solid {colour}; padding: 0.4em 0.8em; margin: 0.4em 0">'
        f'<span aria-hidden="true">{icon}</span> <strong>{words}</strong> · {html.escape(title)}<br>'
        f"{html.escape(message)}</div>"
    )
