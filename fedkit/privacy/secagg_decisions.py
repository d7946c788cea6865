"""One round of secure aggregation at the aggregator: what was decided, who gets to see it, and for whom a step waits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fedkit.base.events import Event, SecureStep, Waiting
from fedkit.base.files import is_file, read_json, write_json
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import AggregatorProject
from fedkit.datasite.permissions import has_permission_file
from fedkit.datasite.round_plan import RoundPlan
from fedkit.machine import Next
from fedkit.privacy.secagg.bonawitz import Group
from fedkit.privacy.secagg_inbox import Seen
from fedkit.privacy.secagg_wire import list_path
from fedkit.rounds import PATIENCE_S, started

__all__ = ["AggregatorRound"]

_ROLE = "aggregator"
_SAID = {
    "keys": "publish {} keys",
    "shares": "deal {} shares",
    "masked": "send {} masked update",
    "agreed": "sign who is in",
    "revealed": "reveal {} shares",
}
_DECIDED = {
    "roster": "the keys of {} participants are in",
    "dealt": "the shares of {} participants are in",
    "survivors": "the masked updates of {} participants are in",
    "agreement": "{} participants have signed who is in",
}
_BEFORE = {"shares": "roster", "masked": "dealt", "agreed": "survivors", "revealed": "agreement"}


@dataclass(frozen=True)
class AggregatorRound:
    """One round at the aggregator."""

    site: Datasite
    place: AggregatorProject
    config: FLConfig
    plan: RoundPlan
    group: Group
    patient: bool

    def list_of(self, name: str) -> Path:
        """Where a decision is kept."""
        return self.place.path / "rounds" / f"secagg_{self.plan.round}_{name}.json"

    def decided(self, name: str) -> dict[str, Any] | None:
        """What was decided, None if nothing was yet."""
        values = read_json(self.list_of(name))
        return values if isinstance(values, dict) else None

    def decide(self, name: str, values: Mapping[str, Any]) -> list[Event]:
        """From now on it is so: who is in, and what all of them get to see."""
        write_json(self.list_of(name), dict(values))
        text = _DECIDED[name].format(len(values))
        return [SecureStep(self.site.email, self.config.project_name, self.plan.round, text)]

    def send(self, name: str, values: Mapping[str, Mapping[str, Any]]) -> Next:
        """Put a list into the mailbox of everybody who is to get it and hasn't."""
        missing = {}
        for email, value in values.items():
            mailbox = self.site.client(email).project(self.config.project_name)
            path = list_path(mailbox, self.plan.round, name)
            if has_permission_file(mailbox.agg_weights) and not is_file(path):
                missing[path] = value
        return partial(self._write, missing) if missing else None

    def _write(self, lists: Mapping[Path, Mapping[str, Any]]) -> list[Event]:
        for path, value in lists.items():
            write_json(path, dict(value), root=self.site.data_dir)
        return []

    def wait(self, step: str, seen: Seen) -> Waiting | None:
        """None if this step may end now, else for whom it waits."""
        config, t, there = self.config, self.group.threshold, len(seen.messages)
        late = [*seen.missing, *seen.refused]
        if there >= t and (not late or step in ("agreed", "revealed")):
            return None
        needed = max(t, min(config.quorum, there + len(late)))
        timeout = config.round_timeout_s or (PATIENCE_S if config.min_participants else None)
        left = None if timeout is None else self._since(step) + timeout - time.time()
        over = not self.patient or (left is not None and left <= 0)
        if there >= needed and over and config.min_participants is not None:
            return None
        if step in ("agreed", "revealed"):
            needed = t
        remedies = [f"{email}: {reason}" for email, reason in seen.refused.items()]
        remedies += [
            f"{email}: its client has sent an update without a mask, and does not know secure aggregation"
            for email in seen.missing
            if is_file(self.place.update(email, self.plan.round))
        ]
        remedies.append(f"{there} of at least {needed} are there")
        if there < needed and step != "keys":
            remedies.append("until then, every update stays hidden")
        what = _SAID[step].format("its" if len(late) == 1 else "their")
        seconds = left if left is not None and left > 0 and there >= needed else None
        return Waiting(
            self.site.email,
            config.project_name,
            _ROLE,
            ", ".join(late) or self.site.email,
            f"{what} (round {self.plan.round}, secure aggregation)",
            "; ".join(remedies),
            seconds,
        )

    def _since(self, step: str) -> float:
        """When the participants could begin with this step."""
        if step == "keys":
            return started(self.site, self.place, self.config, self.plan.round)
        return self.list_of(_BEFORE[step]).stat().st_mtime
