"""Things that go wrong, done for real: on the files that cross, on the process that trains, on the permissions.

`Faults.act` stands between the network and a participant (`Network.advance(actor=...)`). Notebook 05 sets one fault at
a time and looks at what the aggregator makes of it: refused with a reason, left out because the quorum was reached, resumed
to the same bits, or accepted without notice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, Notice, UpdateShared
from fedkit.base.files import is_file, read_bytes, read_state, remove, write_bytes, write_state
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import ClientProject
from fedkit.datasite.permissions import write_permissions
from fedkit.datasite.tree import entries
from fedkit.rounds.hostile import CHANGES
from fedkit.teaching.failures.doomed_process import run_child

__all__ = ["KINDS", "Fault", "Faults"]


KINDS = {
    "absent": "does nothing from this round on",
    "slow": "starts each round late, by so many seconds",
    "killed": "its process is killed (SIGKILL) in the middle of training, once",
    "truncated": "only half of its update's file arrives",
    "wrong shape": "its update belongs to another model",
    "NaN": "its update holds NaN",
    "sign-flipped": "its update points the other way: global model - change",
    "scaled": "its change is multiplied by a factor",
    "replayed": "it sends its update of the round before again",
    "revoked": "it takes the aggregator's right to write into its mailbox away",
    "disk full": "its disk takes no file above 64 KiB any more",
}
"""What can go wrong at a participant, and what it means."""

_SPOILS = {"truncated", "replayed", *CHANGES}


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong at one participant, from round `from_round` on.

    seconds : for "slow". factor : for "scaled".
    """

    kind: str
    from_round: int = 1
    seconds: float = 2.0
    factor: float = 10.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FedkitError(
                f"{self.kind!r} is no fault", field="kind", remedy=f"one of {', '.join(KINDS)}"
            )


class Faults:
    """The faults that are set, by participant; `log` has what was done: (participant, round, what).

    stop : asked while a participant's process is on its way to its end; where it says yes, that process ends at once.
    """

    def __init__(self, stop: Callable[[], bool] = lambda: False) -> None:
        self.log: list[tuple[str, int, str]] = []
        self.stop = stop
        self._set: dict[str, Fault] = {}
        self._once: set[tuple[str, int, str]] = set()
        self._revoked: set[str] = set()
        self._spoilt: dict[str, tuple[int, str]] = {}
        self._late: dict[tuple[str, int], float] = {}
        self._lock = threading.Lock()

    def set(self, email: str, fault: Fault) -> None:
        """Let `fault` happen at this participant, instead of whatever was set before."""
        with self._lock:
            self._set[email] = fault
            self._arm(email)

    def clear(self, email: str | None = None) -> None:
        """All is well again, at one participant or at all of them. What was taken away or sent wrong in the round under
        way is put right with the next pass."""
        with self._lock:
            for key in [email] if email else list(self._set):
                self._set.pop(key, None)

    def rewind(self, to_round: int) -> None:
        """Forget what was done after this round: the project went back there. What is set will happen again."""
        with self._lock:
            self.log[:] = [entry for entry in self.log if entry[1] <= to_round]
            for memory in (self._once, self._late, self._revoked, self._spoilt):
                memory.clear()

    def _arm(self, email: str) -> None:
        self._once = {key for key in self._once if key[0] != email}
        self._late = {key: until for key, until in self._late.items() if key[0] != email}

    def current(self) -> dict[str, Fault]:
        """The faults that are set."""
        with self._lock:
            return dict(self._set)

    def expecting(self) -> bool:
        """Is somebody slow who will come yet?"""
        with self._lock:
            late = [self._late.get(key) for key in self._late if key[0] in self._set]
        return any(until is not None and until > time.monotonic() for until in late)

    def act(self, site: Datasite, go: Callable[[], list[Event]]) -> list[Event]:
        """Move one participant, as its fault lets it."""
        fault = self.current().get(site.email)
        place = _under_way(site)
        if place is None:
            return go()
        round_number = _round_of(place)
        self._heal(site, place, fault, round_number)
        if fault is None or round_number < fault.from_round:
            return go()
        if fault.kind == "absent":
            self._note(site.email, round_number, "absent")
            return []
        if round_number > _config(place).rounds:  # nothing is left but to finish
            return go()
        if fault.kind == "slow" and self._still_asleep(site.email, round_number, fault.seconds):
            return []
        if fault.kind in ("killed", "disk full"):
            return self._in_a_child(site, place, fault, round_number, go)
        if fault.kind == "revoked" and site.email not in self._revoked:
            self._revoked.add(site.email)
            write_permissions(place.agg_weights, site.email, read=[_config(place).aggregator])
            self._note(site.email, round_number, "revoked")
        events = go()
        for event in events:
            if isinstance(event, UpdateShared):
                self._tamper(site, place, fault, event.round)
        return events

    def _note(self, email: str, round_number: int, what: str) -> None:
        with self._lock:
            if (email, round_number, what) not in self.log:
                self.log.append((email, round_number, what))

    def _first(self, email: str, round_number: int, what: str) -> bool:
        with self._lock:
            known = (email, round_number, what) in self._once
            self._once.add((email, round_number, what))
            return not known

    def _heal(self, site: Datasite, place: ClientProject, fault: Fault | None, n: int) -> None:
        """Put right what an earlier fault has left behind in round n."""
        kind = fault.kind if fault is not None and n >= fault.from_round else None
        aggregator = _config(place).aggregator
        with self._lock:
            revoked = kind != "revoked" and site.email in self._revoked
            spoilt = self._spoilt.get(site.email, (0, ""))
            if revoked:
                self._revoked.discard(site.email)
        if revoked:
            write_permissions(place.agg_weights, site.email, write=[aggregator])
        if spoilt[0] == n and spoilt[1] != kind:
            project = site.aggregator(aggregator).project(place.path.name)
            remove(project.update(site.email, n))  # its client then shares the sound one
            with self._lock:
                self._spoilt.pop(site.email)

    def _still_asleep(self, email: str, round_number: int, seconds: float) -> bool:
        with self._lock:
            until = self._late.setdefault((email, round_number), time.monotonic() + seconds)
        self._note(email, round_number, "slow")
        return time.monotonic() < until

    def _in_a_child(
        self,
        site: Datasite,
        place: ClientProject,
        fault: Fault,
        round_number: int,
        go: Callable[[], list[Event]],
    ) -> list[Event]:
        """Let a process of its own move the participant, and take that process, or its disk, away."""
        if is_file(place.trained(round_number)) or not is_file(
            place.global_model(round_number - 1)
        ):
            return go()
        if not self._first(site.email, round_number, fault.kind):
            return go() if fault.kind == "killed" else []
        if fault.kind == "killed" and not self._first(site.email, 0, "killed"):
            return go()
        said = run_child(site, fault.kind, self.stop)
        if said is None:  # the fault goes on later, with its participant
            with self._lock:
                self._arm(site.email)
            return []
        self._note(site.email, round_number, fault.kind)
        text = f"round {round_number}: {fault.kind}: {said}"
        return [Notice(site.email, place.path.name, text)]

    def _tamper(self, site: Datasite, place: ClientProject, fault: Fault, n: int) -> None:
        """Change the copy of the update that is about to cross."""
        if fault.kind not in _SPOILS:
            return
        config = _config(place)
        path = site.aggregator(config.aggregator).project(config.project_name).update(site.email, n)
        if not is_file(path):  # a masked one lies elsewhere, and is signed
            return
        if fault.kind == "truncated":
            data = read_bytes(path)
            write_bytes(path, data[: len(data) // 2])
        elif fault.kind == "replayed":
            earlier = place.trained(n - 1) if n > 1 else place.global_model(0)
            write_bytes(path, read_bytes(earlier))
        else:
            change = CHANGES[fault.kind]
            before, after = read_state(place.global_model(n - 1)), read_state(path)
            write_state(path, change(before, after, fault.factor))
        self._note(site.email, n, fault.kind)
        with self._lock:
            self._spoilt[site.email] = (n, fault.kind)


def _under_way(site: Datasite) -> ClientProject | None:
    """The one project that is running here and has a mailbox, if any."""
    for path in entries(site.client().running):
        if is_file(path / "fl_config.json") and (path / "agg_weights").is_dir():
            return ClientProject(path)
    return None


def _round_of(place: ClientProject) -> int:
    """The round that comes next here: one more than the newest global model."""
    n = 0
    while is_file(place.global_model(n)):
        n += 1
    return max(n, 1)


def _config(place: ClientProject) -> FLConfig:
    return FLConfig.load(place.config)
