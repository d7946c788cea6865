"""What became of every update: averaged, refused, absent, late, resumed; from the aggregator's records and the faults' log.

Notebook 05 predicts a fate, sets a fault, and reads here what fedkit made of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from fedkit.protocol.aggregator.inbox import Collected
from fedkit.rounds.history import History, RoundRecord

__all__ = ["SIGNS", "Fate", "fates"]


SIGNS = {
    "averaged": "✓",
    "late": "◷",
    "resumed": "↻",
    "unnoticed": "≈",
    "refused": "✗",
    "absent": "–",
    "awaited": "…",
    "not asked": "·",
}
"""Every fate and its sign, so that colour is never the only one."""

_ACCEPTED = {
    "slow": ("late", "came late; the round waited for it"),
    "killed": ("resumed", "killed in the middle of training, then trained anew to the same bits"),
    "sign-flipped": ("unnoticed", "sign-flipped, and averaged: nothing in its form is wrong"),
    "scaled": ("unnoticed", "scaled, and averaged: nothing in its form is wrong"),
    "replayed": ("unnoticed", "an old update, averaged again: nothing in its form is wrong"),
}
_MISSING = {
    "absent": "did nothing",
    "slow": "came too late",
    "truncated": "its file was cut off",
    "revoked": "let no global model in",
    "disk full": "could not write its files",
    "killed": "its process was killed",
}


@dataclass(frozen=True)
class Fate:
    """What became of one participant's update in one round.

    word : one of `SIGNS`. why : a clause, "" where all went as it should.
    """

    participant: str
    round: int
    word: str
    why: str = ""

    @property
    def sign(self) -> str:
        """One character that stands for the word."""
        return SIGNS[self.word]


def fates(
    history: History,
    participants: Sequence[str],
    log: Iterable[tuple[str, int, str]] = (),
    now: Collected | None = None,
    asked: Collection[str] = (),
) -> tuple[Fate, ...]:
    """One fate for every participant and round, in the order of rounds.

    log : what was done to whom in which round (`Faults.log`). now : what lies in the inboxes for the round under way, None
    where no round has begun; asked : who is to train in it.
    """
    happened, found = list(log), []
    for record in history:
        found += [_fate(record, who, _kind(happened, who, record.round)) for who in participants]
    if now is not None:
        n = len(history) + 1
        found += [_so_far(now, who, n, asked, _kind(happened, who, n)) for who in participants]
    return tuple(found)


def _kind(log: Iterable[tuple[str, int, str]], email: str, n: int) -> str:
    """What was done to this participant in round n; a door that was closed stays closed in later rounds."""
    mine = [(m, kind) for who, m, kind in log if who == email and m <= n]
    return next((kind for m, kind in reversed(mine) if m == n or kind == "revoked"), "")


def _so_far(now: Collected, email: str, n: int, asked: Collection[str], kind: str) -> Fate:
    if email not in asked:
        return Fate(email, n, "not asked", "others were drawn for this round")
    if email in now.refused:
        return Fate(email, n, "refused", f"{now.refused[email]}; the round waits for a sound one")
    if email in now.missing:
        return Fate(email, n, "awaited", _MISSING.get(kind, ""))
    return Fate(email, n, "awaited", "its update is there; the round waits for others")


def _fate(record: RoundRecord, email: str, kind: str) -> Fate:
    n, came = record.round, [part.participant for part in record.contributions]
    if email in came:
        word, why = _ACCEPTED.get(kind, ("averaged", ""))
        return Fate(email, n, word, why)
    if email in record.refused:
        return Fate(email, n, "refused", record.refused[email])
    if email in record.absent:
        why = _MISSING.get(kind, "")
        quorum = f"the round ended with the {len(came)} that came"
        return Fate(email, n, "absent", f"{why}; {quorum}" if why else quorum)
    return Fate(email, n, "not asked", "others were drawn for this round")
