"""What a check is made of: an attempt, three possible results, and words for what went wrong.

A check is a function of the learner's objects. It returns why the answer is right, or raises `Wrong` with what is
wrong, `Open` with what is still missing. Whatever else happens on the way (an exercise still open, an error or an endless
loop in the learner's code, see `attempt`) becomes a `Result`, which a notebook shows as an icon and words first, a colour
only beside them.
"""

from __future__ import annotations

import ast
import html
import inspect
import re
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass, field
from typing import Literal

from fedkit.experiments.notebooks import CHECK_MIME
from fedkit.teaching.check.attempt import (
    Endless,
    Open,
    Unfinished,
    Wrong,
    bounded,
    fits_call,
    guard,
    is_stub,
    little_memory,
    open_lines,
    unfinished,
)
from fedkit.teaching.check.words import in_words, kept, slips
from fedkit.teaching.notebook import publish, running_cell, running_source

__all__ = ["REGISTRY", "Check", "Result", "box", "check", "marked"]


State = Literal["not yet", "try again", "right"]

# state -> icon, words, colour of the edge (Okabe-Ito)
LOOKS = {
    "not yet": ("○", "Not yet", "#56B4E9"),
    "try again": ("↻", "Try again", "#D55E00"),
    "right": ("✓", "Right", "#009E73"),
}
REGISTRY: dict[str, Check] = {}


# ------------------------------------------------------------------------------- a check, its result


@dataclass(frozen=True)
class Result:
    """What a check says: the exercise's `name` and `title`, the `state`, the `message`."""

    name: str
    title: str
    state: State
    message: str
    _shown_in: list[int | None] = field(default_factory=list, repr=False, compare=False)

    @property
    def credit(self) -> int | None:
        """What ends a cell of nbgrader's that has points: None, which shows nothing, is all of them, and 0 is none."""
        return None if self.state == "right" else 0

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
    returns: bool = True
    takes: tuple[str, ...] = ()
    gaps: int = 1
    parts: bool = False

    def __call__(self, *answers: object) -> Result:
        # a value is there already, and what runs elsewhere is bounded there
        runs = any(callable(a) and not getattr(a, "elsewhere", False) for a in answers)
        # on stdout, since nbgrader takes any word on stderr for a failure
        with (
            bounded(self._still_running) if runs else nullcontext(),
            little_memory() if runs else nullcontext(),
            redirect_stderr(sys.stdout),
        ):
            state, message = self._verdict(answers)
        result = Result(self.name, self.title, state, message)
        result._ipython_display_()
        return result

    def _verdict(self, answers: tuple[object, ...]) -> tuple[State, str]:
        before = [kept(answer) for answer in answers]
        try:
            wanted = list(inspect.signature(self.judge).parameters)
            if len(answers) != len(wanted):
                if answers and all(map(unfinished, answers)):
                    return "not yet", self._open(answers)
                count = "one answer" if len(wanted) == 1 else f"{len(wanted)} answers"
                return "try again", f"Between the brackets of fk.check.{self.name} belongs {count}."
            still_open = [answer for answer in answers if unfinished(answer)]
            if still_open and not self.parts:
                return "not yet", self._open(answers)
            if self.takes:
                fits_call(answers[0], self.takes, f"fk.check.{self.name}({self._called(answers)})")
                _is_of_this_cell(answers[0])
            if self.gaps > 1 and len(open_lines(answers[0]) or ()) >= self.gaps:
                return "not yet", self.hint
            return "right", self.judge(*[guard(answer, self.returns) for answer in answers])
        except Open as part:
            return "not yet", f"{part} {self.hint}" if str(part) else self._open(answers)
        except Unfinished:
            return "not yet", self._open(answers)
        except (Exception, SystemExit, Endless) as error:
            stub = isinstance(error, NotImplementedError) and is_stub(error, answers)
            gap = any(open_lines(answer) for answer in answers)
            sure = isinstance(error, Endless) or (isinstance(error, Wrong) and error.sure)
            if stub or (gap and not sure):
                return "not yet", self._open(answers)  # what is left of it explains whatever failed
            said = str(error) if isinstance(error, Wrong) else in_words(error, answers)
            seen = [slip for a, was in zip(answers, before, strict=True) for slip in slips(a, was)]
            # a slip is the cause more often than not; how an error stopped comes before it
            return "try again", " ".join(
                [*seen, said] if isinstance(error, Wrong) else [said, *seen]
            )

    def _open(self, answers: Sequence[object]) -> str:
        """The hint, and before it what there is to say of a beginning."""
        if any(answer is None for answer in answers):
            return (
                "What came in is None, which is what print(...) and a function without return give back. "
                + self.hint
            )
        lines = [line for answer in answers for line in open_lines(answer) or []]
        if 0 < len(lines) < self.gaps:
            left = ", ".join(f"line {number}, {text}" for number, text in lines)
            return f"{self.gaps - len(lines)} of {self.gaps} is filled in; still open: {left}. {self.hint}"
        return self.hint

    def _called(self, answers: Sequence[object]) -> str:
        return str(getattr(answers[0], "__name__", self.name))

    def _still_running(self) -> None:
        """Beside the running cell, where the system does not let a check be stopped."""
        words = (
            "This check is still running. If a loop in your code has no end, interrupt the kernel (the square "
            "above the notebook, or the key I twice)."
        )
        shown = box(self.name, self.title, "not yet", words)
        publish({"text/html": shown, "text/plain": words})


def _is_of_this_cell(answer: object) -> None:
    """Raises Wrong where the running cell defines the function under another name, and hands in an older one."""
    cell, name = running_source(), getattr(answer, "__name__", "")
    try:
        body = ast.parse(cell or "").body
        takes = list(inspect.signature(answer).parameters)  # type: ignore[arg-type]
    except (SyntaxError, ValueError, TypeError, RecursionError):
        return
    defined = {line.name: line for line in body if isinstance(line, ast.FunctionDef)}
    if name in defined or not isinstance(answer, types.FunctionType):
        return
    for other, line in defined.items():
        if [argument.arg for argument in line.args.args] == takes:
            raise Wrong(
                f"This cell defines {other}, and hands in {name}, which a cell has made before. Which of the two is meant?"
            )


def check(
    *,
    hint: str,
    returns: bool = True,
    takes: str = "",
    gaps: int = 1,
    parts: bool = False,
) -> Callable[[Callable[..., str]], Check]:
    """Make a check, found as `fk.check.<function name>`, from a function of the learner's objects.

    Parameters
    ----------
    hint : what is shown while the exercise is open; it points the way without being the solution.
    returns : False for an exercise whose function returns None on purpose.
    takes : the names of what the learner's function, the first answer, is called with, in their order; "" for a value.
    gaps : how many lines of the learner's function are left open at first.
    parts : the judge gets answers of which only a part is there yet, and raises `Open` to say which part is right already.

    The function's docstring is the title. Learners' functions reach it guarded: they may be called like the originals.
    """

    def make(judge: Callable[..., str]) -> Check:
        name, lines = judge.__name__, (judge.__doc__ or judge.__name__).strip().splitlines()
        other = REGISTRY.get(name)
        if other is not None and other.judge.__module__ != judge.__module__:
            raise ValueError(f"check {name!r} stands in {other.judge.__module__} already")
        title, names = lines[0].rstrip("."), tuple(takes.split())
        REGISTRY[name] = Check(name, title, hint, judge, returns, names, gaps, parts)
        return REGISTRY[name]

    return make


# ------------------------------------------------------------------------------------ how it looks
def box(name: str, title: str, state: str, message: str) -> str:
    """The result as one HTML element; learners' own words in it are escaped."""
    icon, words, colour = LOOKS[state]
    label = html.escape(f"Check {name}: {words}")
    return (
        f'<div role="status" aria-label="{label}" '
        f'style="border-left: 4px solid {colour}; padding: 0.4em 0.8em; margin: 0.4em 0">'
        f'<span aria-hidden="true">{icon}</span> <strong>{words}</strong> · {html.escape(title)}<br>'
        f"{marked(message)}</div>"
    )


def marked(text: str) -> str:
    """A text as HTML: what stands between backticks is code, all else is escaped."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
