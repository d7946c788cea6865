"""How both state machines move: look at the files, name the next step, do it, look again.

`next_step(project)` only looks. It answers with a step to be done, or with an event that says for whom the project
waits, or with None where there is nothing to do. `status` asks the same question and does nothing; that is why it can
never disagree with `advance`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, Notice, Problem, Waiting
from fedkit.learning.training import Stopped

__all__ = ["Next", "Step", "drive", "look"]


Step = Callable[[], list[Event]]
Next = Step | Waiting | Problem | None

_MANY = 1_000_000  # steps in one call: only a mistake of ours would need more


def look(email: str, project: str, role: str, next_step: Callable[[str], Next]) -> Next:
    """`next_step(project)`, with every error turned into a Problem, so that one project never stops another."""
    try:
        return next_step(project)
    except FedkitError as error:
        return Problem(email, project, role, error)
    except Exception as error:
        return Problem(email, project, role, _unexpected(error))


def drive(
    email: str, role: str, projects: Iterable[str], next_step: Callable[[str], Next]
) -> list[Event]:
    """Move every project as far as it goes now; returns what happened, and what each one waits for."""
    events: list[Event] = []
    for project in projects:
        for _ in range(_MANY):
            step = look(email, project, role, next_step)
            if step is None:
                break
            if isinstance(step, Event):
                events.append(step)
                break
            try:
                events += step()
            except Stopped:
                return [*events, Notice(email, project, "stopped in the middle of a round")]
            except FedkitError as error:
                events.append(Problem(email, project, role, error))
                break
            except Exception as error:
                events.append(Problem(email, project, role, _unexpected(error)))
                break
    return events


def _unexpected(error: Exception) -> FedkitError:
    return FedkitError(
        f"stopped on {type(error).__name__}: {error}",
        why="fedkit did not expect this; nothing was lost",
        remedy="look at what the message names, then run the same command again",
    )
