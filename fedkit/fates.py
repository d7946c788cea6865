"""What became of each participant in each round: averaged, refused, absent, late, killed and back, or tampered with.

The aggregator's records say whose update counted; the log of `fedkit.faults` says what was done to it before. Together they
are a table, which notebook 05 looks at as `fk.plots.round_timeline` and the failure lab as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fedkit.records import History, RoundRecord

__all__ = ["SIGNS", "Fate", "LogEntry", "everybody", "fates"]

LogEntry = tuple[str, int, str]
"""What `Faults.log` holds: (participant, round, kind of fault)."""

SIGNS = {
    "averaged": "✓",
    "late": "◷",
    "resumed": "↻",
    "tampered": "‼",
    "refused": "✗",
    "absent": "–",
    "not asked": "·",
}
"""Every fate with the sign that stands for it where a word has no room."""

_TAMPERED = ("sign-flipped", "scaled", "replayed", "truncated", "wrong shape", "NaN")
_WHY_ABSENT = {
    "slow": "too late",
    "killed": "killed",
    "disk full": "disk full",
    "revoked": "cut off: right revoked",
}
_LASTING = ("revoked",)  # logged once, in force from then on


@dataclass(frozen=True)
class Fate:
    """One participant in one round.

    kind : a key of `SIGNS`. text : the same in a few words, with what was done or why, such as "refused: holds NaN".
    """

    kind: str
    text: str

    @property
    def sign(self) -> str:
        """One letter for it."""
        return SIGNS[self.kind]

    @property
    def counted(self) -> bool:
        """Is the update part of the average?"""
        return self.kind in ("averaged", "late", "resumed", "tampered")


def fates(
    history: History, participants: Sequence[str] | None = None, log: Iterable[LogEntry] = ()
) -> dict[str, tuple[Fate, ...]]:
    """Participant -> its fates, the first is round 1's; as many as there are evaluated rounds.

    participants : the rows and their order; None takes everybody whom a record names, alphabetically.
    log : `Faults.log`; without it only the aggregator's view is told, which can't know who was tampered with.
    """
    done = list(log)
    return {
        email: tuple(_fate(email, record, done) for record in history)
        for email in (everybody(history) if participants is None else participants)
    }


def everybody(history: History) -> list[str]:
    """Whom the records name, in alphabetical order."""
    named = {
        email
        for r in history
        for email in (*(part.participant for part in r.contributions), *r.refused, *r.absent)
    }
    return sorted(named)


def _fate(email: str, record: RoundRecord, log: list[LogEntry]) -> Fate:
    done = [what for who, n, what in log if who == email and n == record.round]
    if any(part.participant == email for part in record.contributions):
        return _counted(done)
    if email in record.refused:
        return Fate("refused", f"refused: {record.refused[email]}")
    if email not in record.absent:
        return Fate("not asked", "not asked")
    since = [w for who, n, w in log if who == email and n < record.round and w in _LASTING]
    why = next((_WHY_ABSENT[what] for what in [*done, *since] if what in _WHY_ABSENT), "absent")
    return Fate("absent", why)


def _counted(done: list[str]) -> Fate:
    changed = [what for what in done if what in _TAMPERED]
    if changed:
        return Fate("tampered", f"averaged, though {changed[0]}")
    if "killed" in done:
        return Fate("resumed", "averaged: killed, resumed")
    return Fate("late", "averaged: late") if "slow" in done else Fate("averaged", "averaged")
