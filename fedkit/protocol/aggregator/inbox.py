"""An aggregator's inboxes: which updates of a round are there and sound, which are refused, and who has sent nothing.

Nothing that lies there is trusted: not its size, not what it claims to be, not its numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedkit.base.errors import Unreadable
from fedkit.base.files import read_bytes, read_json, read_state, sha256_bytes
from fedkit.base.tensors import load_state
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject
from fedkit.datasite.round_plan import RoundPlan
from fedkit.learning.models import check_state
from fedkit.learning.training import local_steps
from fedkit.learning.update import Update
from fedkit.protocol.strategy_payload import read_extra

__all__ = ["HALF_WRITTEN_S", "Collected", "collect", "stated_seconds"]


HALF_WRITTEN_S = 10.0
"""For this long, a file that can't be read may still be on its way."""

_MARGIN = 2**20
_REAL_BATCH = 64


@dataclass(frozen=True)
class Collected:
    """What lies in the inboxes for a round: sound updates, refusals with their reasons, and who has sent nothing."""

    updates: tuple[Update, ...]
    hashes: Mapping[str, str]
    refused: Mapping[str, str]
    missing: tuple[str, ...]


def collect(
    site: Datasite,
    place: AggregatorProject,
    config: FLConfig,
    plan: RoundPlan,
    patient: bool = True,
) -> Collected:
    """Look at the inbox of everybody who trains in this round; nothing in it is trusted."""
    n = plan.round
    reference = read_state(place.global_model(n - 1))
    limit = 2 * sum(t.numel() * t.element_size() for t in reference.values()) + _MARGIN
    updates, hashes, refused, missing = [], {}, {}, []
    for email in plan.participants:
        path = place.update(email, n)
        try:
            data = read_bytes(path, root=site.data_dir, max_bytes=limit)
            state = load_state(data, path, max_bytes=limit)
            wrong = check_state(reference, state)
            extra = {} if wrong else read_extra(site, place, config, reference, email, n)
        except FileNotFoundError:
            missing.append(email)
            continue
        except Unreadable as error:
            if patient and _may_be_half_written(path, error):
                missing.append(email)
            else:
                refused[email] = error.what
            continue
        if wrong:
            refused[email] = wrong
            continue
        hashes[email] = sha256_bytes(data)
        said = _what_it_says(site, place, config, email, plan)
        updates.append(Update(email, n, state, *said, extra))
    return Collected(tuple(updates), hashes, refused, tuple(missing))


def _may_be_half_written(path: Path, error: Unreadable) -> bool:
    try:
        young = time.time() - path.lstat().st_mtime < HALF_WRITTEN_S
    except OSError:
        return True
    return young and error.what.startswith(("can't be read as tensors", "comes without"))


def _what_it_says(
    site: Datasite, place: AggregatorProject, config: FLConfig, email: str, plan: RoundPlan
) -> tuple[int | None, float | None, int | None]:
    """(samples, loss, steps) as the participant states them, None where it doesn't or where they make no sense.

    Who says its samples and not its steps is the real app: they follow from the epochs and its batches of 64.
    """
    info = read_json(place.update_info(email, plan.round), root=site.data_dir)
    info = info if isinstance(info, dict) else {}
    state = read_json(site.client(email).project(config.project_name).state, root=site.data_dir)
    size = read_json(place.inbox(email) / "dataset_size.json", root=site.data_dir)
    stated = [info.get("num_samples")]
    stated += [
        part.get(key)
        for part, key in ((state, "num_samples"), (size, "dataset_size"))
        if isinstance(part, dict)
    ]
    samples = next((s for s in stated if _is_count(s)), None)
    steps = info.get("steps")
    if not _is_count(steps):
        steps = local_steps(samples, plan.epoch, _REAL_BATCH) if samples else None
    return samples, _number(info.get("loss")), steps


def stated_seconds(site: Datasite, place: AggregatorProject, email: str, n: int) -> float | None:
    """How long a participant trained, as it says; None where it doesn't or where that makes no sense."""
    info = read_json(place.update_info(email, n), root=site.data_dir)
    return _number(info.get("seconds")) if isinstance(info, dict) else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9


def _number(value: Any) -> float | None:
    """A finite number, or None: JSON from elsewhere may hold NaN, and whole numbers beyond any float."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
