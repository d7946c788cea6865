"""For how long anybody waits for anybody: every rule of quorum, patience, time-outs and lingering.

| who waits | for | until | here |
|---|---|---|---|
| aggregator, before round 1 | who is ready | all are; with `"approval": "quorum"`, the quorum is | `needed_ready` |
| aggregator, in a round | sound updates | all are there; or the quorum is, and time is up | `round_may_end` |
| aggregator, in a masked step | sound messages | all are there; or t and the quorum, and time is up | `step_may_end` |
| the same, in the last two steps | sound messages | t are there: all that counts was sent | `step_may_end` |
| aggregator, at the end | those out of sight | they have the last model, or `linger_s` is over | `lingers` |
| the same, on SyftBox | those in sight | they have it, and so move to `done/`; or the same | `lingers` |
| participant, at the end | a real app's aggregator | it has finished too, or `linger_s` is over | `lingers` |
| both | a file that can't be read | it can, or is older than 10 s | `may_be_half_written` |

Time is up `round_timeout_s` seconds after the round was planned (a masked step's: after the list before it was decided),
`PATIENCE_S` where the config sets none but a quorum; and at once where the caller knows that nothing more comes.
The quorum is `min_participants`, or all. A round of fewer than that many people needs all of those.

| what decides | who can influence it |
|---|---|
| the time of a round or a step | the aggregator alone: the age of its own plan, or of its own decision |
| who is missing | each participant for itself: by sending, late, or not at all |
| the quorum | nobody: it stands in the config that everybody approved |
| whether a bad file is on its way | its writer, for 10 s after each rewriting; never the round's time |
| lingering | who wrote the last global model, for `linger_s` |
"""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from fedkit.base.errors import Unreadable
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.round_plan import RoundPlan

__all__ = [
    "HALF_WRITTEN_S",
    "PATIENCE_S",
    "age",
    "lingers",
    "may_be_half_written",
    "needed_ready",
    "quorum_of",
    "round_may_end",
    "step_may_end",
    "step_needs",
    "time_left",
]


PATIENCE_S = 60.0
"""How long a round with a quorum waits for the others where the config sets no time-out."""

HALF_WRITTEN_S = 10.0
"""For this long, a file that can't be read may still be on its way."""

TOLD = ("agreed", "revealed")
"""The steps of a masked round after which everybody has sent all that counts: t answers are enough."""


def needed_ready(config: FLConfig) -> int:
    """How many participants must be ready before the first round."""
    return config.quorum if config.approval == "quorum" else len(config.participants)


def quorum_of(config: FLConfig, plan: RoundPlan) -> int:
    """How many updates a round needs at least."""
    return min(config.quorum, len(plan.participants))


@lru_cache(maxsize=4096)
def _first_seen(path: Path, version: int) -> tuple[float, float]:
    """How old this version of a file was when this process first looked, and when that was by the steady clock."""
    return max(0.0, time.time() - version / 1e9), time.monotonic()


def age(path: Path, theirs: bool = False) -> float:
    """Seconds since a file was written. The wall clock tells what was before the first look; who sets it later, or dates
    a file ahead, makes nobody wait longer. theirs : another machine may have dated it, so only what passes here counts."""
    before, seen = _first_seen(path, path.lstat().st_mtime_ns)
    return (0.0 if theirs else before) + time.monotonic() - seen


def time_left(config: FLConfig, began: Path) -> float | None:
    """Seconds for which a round, or a step of it, waits for everybody; None for ever.

    began : the aggregator's own file with which it began, its plan or its last decision. What participants can write is
    never asked: who could date it could turn the clock.
    """
    timeout = config.round_timeout_s or (PATIENCE_S if config.min_participants else None)
    return None if timeout is None else timeout - age(began)


def is_up(left: float | None, patient: bool) -> bool:
    """Is the time up?"""
    return not patient or (left is not None and left <= 0)


def round_may_end(
    there: int, missing: Collection[str], quorum: int, left: float | None, patient: bool
) -> bool:
    """May a round end with `there` sound updates? missing : who has sent nothing yet."""
    if there < quorum:
        return False
    return not missing or (there > 0 and is_up(left, patient))


def step_needs(config: FLConfig, t: int, there: int, late: int) -> int:
    """How many messages a step of a masked round needs once its time is up. t : the threshold."""
    return max(t, min(config.quorum, there + late))


def step_may_end(
    config: FLConfig, step: str, t: int, there: int, late: int, left: float | None, patient: bool
) -> bool:
    """May a step of a masked round end with `there` sound messages? late : how many have sent none, or a bad one."""
    if there >= t and (not late or step in TOLD):
        return True
    enough = there >= step_needs(config, t, there, late)
    return enough and is_up(left, patient) and config.min_participants is not None


def lingers(config: FLConfig, last_model: Path, theirs: bool = False) -> float:
    """Seconds for which a finished project stays in place, from when its last global model was there; 0 or less: over."""
    return config.linger_s - age(last_model, theirs)


def may_be_half_written(path: Path, error: Unreadable, theirs: bool = False) -> bool:
    """May a file that can't be read still be on its way?"""
    try:
        young = age(path, theirs) < HALF_WRITTEN_S
    except OSError:
        return True
    return young and error.what.startswith(("can't be read as tensors", "comes without"))
