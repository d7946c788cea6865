"""How both state machines move: look at the files, name the next step, do it, look again.

A machine is a list of phases in order. Each phase looks at the files and answers with a step to be done (or with several,
such as one file to each of a hundred participants), with an event that says for whom the project waits, or with None: not
mine. The next step is what the first phase answers. `status` asks the same phases and does nothing; that is why it can
never disagree with `advance`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from fedkit.base.errors import FedkitError, Stopped
from fedkit.base.events import Event, Notice, Problem, Waiting

__all__ = ["Next", "Phase", "Step", "drive", "first_answer", "look"]


Step = Callable[[], list[Event]]
"""Does what was named and returns what happened; a Waiting among it says that it can't be done yet."""

Next = Step | Sequence[Step] | Waiting | Problem | None

Here = TypeVar("Here")
Phase = Callable[[Here], Next]
"""Looks at a project and answers, or returns None: not mine."""

_MANY = 1_000_000  # steps in one call: only a mistake of ours would need more


def first_answer(phases: Sequence[Phase[Here]], here: Here) -> Next:
    """What the first phase says that has something to say."""
    return next((answer for phase in phases if (answer := phase(here)) is not None), None)


def look(email: str, project: str, role: str, next_step: Callable[[str], Next]) -> Next:
    """`next_step(project)`, with every error turned into a Problem, so that one project never stops another."""
    try:
        return next_step(project)
    except Exception as error:
        return Problem(email, project, role, _told(error))


def drive(
    email: str, role: str, projects: Iterable[str], next_step: Callable[[str], Next]
) -> list[Event]:
    """Move every project as far as it goes now; returns what happened, and what each one waits for."""
    events: list[Event] = []
    for project in projects:
        for _ in range(_MANY):
            answer = look(email, project, role, next_step)
            if answer is None:
                break
            if isinstance(answer, Event):
                events.append(answer)
                break
            happened: list[Event] = []
            try:
                for step in [answer] if callable(answer) else answer:
                    happened += step()
                    if _halts(happened):
                        break
            except Stopped:
                notice = Notice(email, project, "stopped in the middle of a round")
                return [*events, *happened, notice]
            except Exception as error:
                happened.append(Problem(email, project, role, _told(error)))
            events += happened
            if _halts(happened):
                break
    return events


def _halts(happened: Sequence[Event]) -> bool:
    return any(isinstance(event, Problem | Waiting) for event in happened)


def _told(error: Exception) -> FedkitError:
    if isinstance(error, FedkitError):
        return error
    return FedkitError(
        f"stopped on {type(error).__name__}: {error}",
        why="fedkit did not expect this; nothing was lost",
        remedy="look at what the message names, then run the same command again",
    )
