"""Things that go wrong, done for real: on the files that cross, on the process that trains, on the permissions.

`Faults.act` moves a participant (`Network.run(actor=...)`); the network knows of no fault. Notebook 05 sets one at a time
and looks at what the aggregator makes of it: refused with a reason, left out because the quorum was reached, resumed to the
same bits, or accepted without notice.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from fedkit.base.errors import FedkitError
from fedkit.base.events import Event, Notice, UpdateShared
from fedkit.base.files import is_file, remove
from fedkit.config.fl_config import FLConfig
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.paths import ClientProject
from fedkit.datasite.permissions import write_permissions
from fedkit.datasite.tree import entries
from fedkit.federation.network import Go
from fedkit.protocol.project import AtParticipant
from fedkit.rounds.hostile import CHANGES, changed
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
_MOMENT_S = 0.05  # a slow participant is asked again after so long


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


@dataclass
class _Memory:
    """What was done to one participant: what is to be put right later, and what is not to be done twice.

    taken : rounds in which its process, or its disk, was taken away; 0 where once is enough. starts : round -> when a slow
    one begins with it. spoilt : round and kind of the update that it sent wrong.
    """

    taken: set[int] = field(default_factory=set)
    starts: dict[int, float] = field(default_factory=dict)
    revoked: bool = False
    spoilt: tuple[int, str] = (0, "")

    def arm(self) -> None:
        """Let its fault happen, again if need be."""
        self.taken.clear()
        self.starts.clear()


class Faults:
    """The faults that are set, by participant; `log` has what was done: (participant, round, what).

    stop : asked while a participant's process is on its way to its end; where it says yes, that process ends at once.
    """

    def __init__(self, stop: Callable[[], bool] = lambda: False) -> None:
        self.log: list[tuple[str, int, str]] = []
        self.stop = stop
        self._set: dict[str, Fault] = {}
        # each participant is moved by one thread at a time; what others do to these is done in one step
        self._memory: dict[str, _Memory] = defaultdict(_Memory)

    def set(self, email: str, fault: Fault) -> None:
        """Let `fault` happen at this participant, instead of whatever was set before."""
        self._set[email] = fault
        self._memory[email].arm()

    def clear(self, email: str | None = None) -> None:
        """All is well again, at one participant or at all of them. What was taken away or sent wrong in the round under
        way is put right with the next pass."""
        for key in [email] if email else list(self._set):
            self._set.pop(key, None)

    def rewind(self, to_round: int) -> None:
        """Forget what was done after this round: the project went back there. What is set will happen again."""
        self.log[:] = [entry for entry in self.log if entry[1] <= to_round]
        self._memory.clear()

    def current(self) -> dict[str, Fault]:
        """The faults that are set."""
        return dict(self._set)

    def act(self, site: Datasite, go: Go) -> list[Event] | None:
        """Move one participant, as its fault lets it; None while it is slow."""
        at = _under_way(site)
        if at is None:
            return go()
        n, memory, fault = _round_of(at.place), self._memory[site.email], self._set.get(site.email)
        if fault is not None and n < fault.from_round:
            fault = None
        _heal(at, n, memory, fault.kind if fault is not None else "")
        if fault is None:
            return go()
        if fault.kind == "absent":
            self._note(site.email, n, "absent")
            return []
        if n > at.config.rounds:  # nothing is left but to finish
            return go()
        if fault.kind == "slow":
            start = memory.starts.setdefault(n, time.monotonic() + fault.seconds)
            self._note(site.email, n, "slow")
            left = start - time.monotonic()
            if left > 0:
                time.sleep(min(left, _MOMENT_S))
                return None
        if fault.kind in ("killed", "disk full"):
            return self._in_a_child(at, n, fault.kind, go)
        if fault.kind == "revoked" and not memory.revoked:
            memory.revoked = True
            write_permissions(at.place.agg_weights, site.email, read=[at.config.aggregator])
            self._note(site.email, n, "revoked")
        events = go()
        for event in events:
            if isinstance(event, UpdateShared) and _spoil(at, fault, event.round):
                self._note(site.email, event.round, fault.kind)
                memory.spoilt = (event.round, fault.kind)
        return events

    def _note(self, email: str, n: int, what: str) -> None:
        if (email, n, what) not in self.log:
            self.log.append((email, n, what))

    def _in_a_child(self, at: AtParticipant, n: int, kind: str, go: Go) -> list[Event]:
        """Let a process of its own move the participant, and take that process, or its disk, away."""
        if is_file(at.place.trained(n)) or not is_file(at.place.global_model(n - 1)):
            return go()
        email, when = at.site.email, 0 if kind == "killed" else n
        if when in self._memory[email].taken:
            return go() if kind == "killed" else []
        self._memory[email].taken.add(when)
        said = run_child(at.site, kind, self.stop)
        if said is None:  # the fault goes on later, with its participant
            self._memory[email].arm()
            return []
        self._note(email, n, kind)
        return [Notice(email, at.name, f"round {n}: {kind}: {said}")]


def _under_way(site: Datasite) -> AtParticipant | None:
    """The one project that is running here and has a mailbox, if any."""
    for path in entries(site.client().running):
        if is_file(path / "fl_config.json") and (path / "agg_weights").is_dir():
            return AtParticipant(site, FLConfig.load(path / "fl_config.json"))
    return None


def _round_of(place: ClientProject) -> int:
    """The round that comes next here: one more than the newest global model."""
    n = 0
    while is_file(place.global_model(n)):
        n += 1
    return max(n, 1)


def _heal(at: AtParticipant, n: int, memory: _Memory, kind: str) -> None:
    """Put right what an earlier fault has left behind in round n. kind : of the fault that holds now, if any."""
    if memory.revoked and kind != "revoked":
        memory.revoked = False
        write_permissions(at.place.agg_weights, at.site.email, write=[at.config.aggregator])
    if memory.spoilt[0] == n and memory.spoilt[1] != kind:
        remove(at.box.update(at.site.email, n))  # its client then shares the sound one
        memory.spoilt = (0, "")


def _spoil(at: AtParticipant, fault: Fault, n: int) -> bool:
    """Change the copy of the update of round n that is about to cross; False where there is none to be changed."""
    sent, place = at.box.update(at.site.email, n), at.place
    if fault.kind not in _SPOILS or not is_file(sent):
        return False  # a masked one lies elsewhere, and is signed
    if fault.kind == "truncated":
        data = at.read(sent)
        at.write(sent, data[: len(data) // 2])
    elif fault.kind == "replayed":
        at.copy(place.trained(n - 1) if n > 1 else place.global_model(0), sent)
    else:
        before, after = at.read_state(place.global_model(n - 1)), at.read_state(sent)
        at.write_state(sent, changed(fault.kind, before, after, fault.factor))
    return True
