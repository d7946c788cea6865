"""One kind of error for everything a person can put right: it says what, where, why and what to do."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Busy", "FedkitError", "Stopped", "Unreadable"]


class FedkitError(Exception):
    """Something a person can put right.

    Parameters
    ----------
    what : what happened, in one clause.
    file : the file it is about, if any.
    field : the field inside that file, if any.
    why : the cause, where it is not plain from `what`.
    remedy : what to do next.
    """

    def __init__(
        self,
        what: str,
        *,
        file: Path | str | None = None,
        field: str | None = None,
        why: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.file = None if file is None else Path(file)
        self.field = field
        self.why = why
        self.remedy = remedy
        super().__init__(what)

    def about(self, file: Path) -> FedkitError:
        """The same error, of this file; the reason stays with the first one."""
        return FedkitError(self.what, file=file, field=self.field, remedy=self.remedy)

    def __str__(self) -> str:
        where = [str(self.file)] if self.file is not None else []
        where += [self.field] if self.field else []
        head = ": ".join([*where, self.what])
        why = f". {self.why}" if self.why else ""
        remedy = f" -> {self.remedy}" if self.remedy else ""
        return f"{head}{why}{remedy}"

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the line, and no way through fedkit's own code."""
        names = (kind.__name__ for kind in type(self).__mro__)
        return [f"{next(name for name in names if not name.startswith('_'))}: {self}"]


class Unreadable(FedkitError):
    """A file is there, but its content can't be used (truncated, of another kind, or unsafe)."""


class Forged(Unreadable):
    """A file is there, but nobody can say that its sender wrote it; who that is, is not to blame, and may send it again."""


class Busy(FedkitError):
    """Another process is at work there right now; what was asked for can be done when it has finished."""


class Stopped(Exception):
    """Somebody asked the training to stop; the round is trained anew, to the same bits, when it goes on."""
