"""Driving a network of datasites: what the buttons do, as a plain object that knows nothing of widgets.

One `Control` a network (`Control.of(network)`), however many panels look at it. Work happens in a thread that ends with
the work; a second one tells the panels, ten times a second at most, and ends with it too. A pause takes effect before the
next batch. Batch runs call the same methods and `wait()`. Notebook 05 uses it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedkit.base.errors import Busy, FedkitError
from fedkit.base.events import Event, render
from fedkit.datasite.datasite import Datasite
from fedkit.datasite.round_plan import change_settings
from fedkit.federation.network import Go, Network
from fedkit.federation.rewind import rewind
from fedkit.protocol import advance as node
from fedkit.protocol.approval import Policy, approve_none
from fedkit.teaching.control.sane import check_sane
from fedkit.teaching.control.snapshot import Snapshot, look
from fedkit.teaching.failures.faults import Faults

__all__ = ["Control", "Snapshot"]


_MANY_EVENTS = 500
_TELL_EVERY_S = 0.1
_PART = 20  # telling the panels may take one part in so many of the time, so that training keeps the rest


class Control:
    """What a person can do with a network. Every method is safe to call from any thread.

    approve : answers requests for approval while it runs (default: nobody but a person at the desk).
    """

    def __init__(self, network: Network, approve: Policy = approve_none) -> None:
        self.network = network
        self.approve = approve
        self._stop = threading.Event()
        self.faults = Faults(self._stop.is_set)
        self._listeners: list[Callable[[Snapshot], None]] = []
        self._thread: threading.Thread | None = None
        self._at = threading.local()
        self._stops: tuple[Event, ...] = ()  # what a run waits for that has ended by itself
        self._stale = True  # do the files say more than the snapshot?
        self._now = self._told = Snapshot()
        self._gone = ""  # why its network is not to be moved any more
        self._lock = threading.RLock()  # held for moments, and never while a panel is told
        self._looking, self._telling = threading.RLock(), threading.RLock()
        self.refresh()

    @classmethod
    def of(cls, network: Network, approve: Policy | None = None) -> Control:
        """The one control of this network, made when it is first asked for."""
        if network in _RETIRED:  # an old panel asks
            return _RETIRED[network]
        control = _CONTROLS.get(network.root)
        if control is None or control.network is not network:
            if control is not None:
                control.retire(
                    "Its network was made anew: run the cell that shows this panel again."
                )
            control = _CONTROLS[network.root] = cls(network)
        if approve is not None:
            control.approve = approve
        return control

    @classmethod
    def watching(cls, site: Datasite) -> Control | None:
        """The control whose network this datasite belongs to, if there is one."""
        homes = {s.data_dir: c for c in list(_CONTROLS.values()) for s in c.network.sites.values()}
        return homes.get(site.data_dir)

    @classmethod
    def retire_below(cls, folder: Path) -> None:
        """Let go of every network under a folder that is about to be emptied."""
        inside = [root for root in _CONTROLS if root.is_relative_to(folder.absolute())]
        for root in inside:
            _CONTROLS.pop(root).retire(
                "Its folder was emptied: run the notebook's cells again, from the one with fk.workspace."
            )

    @property
    def now(self) -> Snapshot:
        """The latest snapshot."""
        with self._lock:
            return self._now

    def subscribe(self, listener: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call `listener` with every new snapshot, from whichever thread makes it; returns what ends that."""
        with self._lock:
            self._listeners.append(listener)
        return lambda: self._forget(listener)

    def _forget(self, listener: Callable[[Snapshot], None]) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._listeners.remove(listener)

    def run_round(self) -> None:
        """Start one more round; returns at once."""
        self._start(lambda: self._run(len(self.network.history()) + 1), "starts a round")

    def run_all(self) -> None:
        """Start whatever rounds are left; returns at once."""
        self._start(lambda: self._run(None), "runs on")

    def pause(self) -> None:
        """Stop before the next batch. The round that is cut off is trained anew, to the same bits."""
        if self.now.busy:
            self._stop.set()
            self._update(status="stops before the next batch")
            self._tell()

    def reset(self, to_round: int = 0) -> None:
        """Back to the moment after round `to_round`, by default to the start; returns at once."""
        where = f"the end of round {to_round}" if to_round else "the start"
        self._start(lambda: self._rewind(to_round), f"goes back to {where}")

    def go_to(self, n: int) -> Snapshot:
        """To the moment after round n, from wherever the buttons have left it: back, or on, round by round. Waits.

        Going back to the start forgets the settings that were changed. Raises FedkitError where it comes to a stop before.
        """
        self.pause()
        now = self.wait()
        if len(now.history) >= n:
            self.reset(n)
            now = self.wait()
        done = len(now.history)
        while not now.error and done < n:
            self.run_round()
            now = self.wait()
            if len(now.history) == done:
                break
            done += 1
        if now.error or done != n:
            raise FedkitError(
                f"round {n} is out of reach: {now.error or now.status}",
                remedy="do what is waited for, at the desk or in the cells above, then run this cell again",
            )
        return now

    def change(self, **settings: Any) -> None:
        """Change learning_rate, epoch or participants_per_round from the next round on. Raises FedkitError, also for a
        value outside of its sane range (`fedkit.teaching.control.sane`): nothing is changed then."""
        self._must_be_there()
        check_sane(**settings)
        change_settings(self._home, self.network.history().project, **settings)
        self._look()
        self._tell()

    def wait(self, timeout_s: float | None = None) -> Snapshot:
        """Until the work that was started has ended; then the snapshot. Batch runs press a button and wait."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return self.now

    def close(self) -> None:
        """Stop what runs and forget all listeners; no thread is left behind."""
        self.pause()
        self.wait()
        with self._lock:
            self._listeners.clear()

    def retire(self, why: str) -> None:
        """Stop what runs; from now on its panels say why they move nothing, and nothing in its folder is touched."""
        self.pause()
        self.wait()
        self._gone = why
        _RETIRED[self.network] = self
        self._update(error=why)
        self._tell()

    def _must_be_there(self) -> None:
        if self._gone:
            raise FedkitError(self._gone.rstrip("."), remedy="look for it in the newest output")

    def refresh(self) -> Snapshot:
        """Look at the files again and tell everybody, after a person has put something there; no round begins."""
        with self._lock:
            if not self._now.busy and not self._gone:  # else the work that is under way carries it
                self._stops = ()
                self._stop.clear()
                with contextlib.suppress(Busy):  # then another process moves it
                    self.network.sync()
                    node.advance(self._home, until_round=0, stop=lambda: True)
                    self.network.sync()
        self._look()
        self._tell()
        return self.now

    @property
    def followed(self) -> bool:
        """Does anybody listen?"""
        return bool(self._listeners)

    @property
    def _home(self) -> Datasite:
        return self.network[self.network.aggregator]

    def _start(self, work: Callable[[], object], status: str) -> None:
        with self._lock:
            if self._now.busy or self._gone:
                return  # one worker a network: the button was pressed twice
            self._stop.clear()
            self._stops = ()
            self._thread = threading.Thread(target=self._attend, args=[work], daemon=True)
            self._update(busy=True, status=status, error="", who="", epoch=0, epochs=0)
            self._thread.start()
        self._tell()

    def _attend(self, work: Callable[[], object]) -> None:
        """Let a thread work, tell the panels how it gets on, and say how it ended."""
        worker = threading.Thread(target=self._work, args=[work], daemon=True)
        worker.start()
        pause = _TELL_EVERY_S
        while worker.is_alive():
            worker.join(pause)
            began = time.perf_counter()
            if self._stale and worker.is_alive():
                self._look()
            if self._now is not self._told:
                self._tell()
            pause = max(_TELL_EVERY_S, _PART * (time.perf_counter() - began))
        self._look(ended=True)
        self._tell()

    def _work(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as problem:  # nothing may vanish with the thread
            known = "" if isinstance(problem, FedkitError) else f"{type(problem).__name__}: "
            self._update(error=f"{'stopped on ' if known else ''}{known}{problem}")

    def _run(self, until_round: int | None) -> None:
        history = self.network.run(
            approve=self.approve,
            until_round=until_round,
            stop=self._stop.is_set,
            on_event=self._on_event,
            on_epoch=self._on_epoch,
            actor=self._act,
        )
        if not self._stop.is_set():
            self._stops = history.waiting

    def _rewind(self, to_round: int) -> None:
        rewind(self.network, to_round)
        self.faults.rewind(to_round)
        self._update(events=())

    def _act(self, site: Datasite, go: Go) -> list[Event] | None:
        self._at.email = site.email
        return [] if self._stop.is_set() else self.faults.act(site, go)

    def _on_event(self, event: Event) -> None:
        said = render(event).removeprefix(f"[{event.email}] ").removeprefix(f"{event.project}: ")
        with self._lock:
            events = (*self._now.events, event)[-_MANY_EVENTS:]
            self._stale = True
            self._update(events=events, status=f"{event.email}: {said}")

    def _on_epoch(self, project: str, n: int, epoch: int, epochs: int, loss: float) -> None:
        who = getattr(self._at, "email", self.network.aggregator)
        status = f"round {n}: {who} trains, local epoch {epoch} of {epochs}, loss {loss:.3f}"
        if not self._stop.is_set():
            self._update(who=who, epoch=epoch, epochs=epochs, status=status)

    def _update(self, **changes: Any) -> None:
        with self._lock:
            self._now = replace(self._now, **changes)

    def _tell(self) -> None:
        with self._telling:
            for listener in list(self._listeners):
                self._told = self.now
                try:
                    listener(self._told)
                except Exception as problem:  # a broken panel stops neither the work nor the others
                    self._forget(listener)
                    self._update(error=f"a panel stopped on {type(problem).__name__}: {problem}")

    def _look(self, ended: bool = False) -> None:
        """Put into the snapshot what the files say; the status line too, where nothing moves (any more)."""
        with self._looking:  # else an older look could overwrite what a newer one has found
            busy = self.now.busy and not ended
            self._stale = False
            if self._gone:
                return
            try:
                found = look(self.network, self.faults, self._stops, busy, self._stop.is_set())
            except (FedkitError, OSError) as problem:
                # while it works, a project moves from one folder to another; the next look finds it
                self._stale = busy
                found = {} if busy else {"error": str(problem)}
            over = {"busy": False, "who": "", "epoch": 0, "epochs": 0}  # nobody trains any more
            self._update(**found, **(over if ended else {}))


_CONTROLS: dict[Path, Control] = {}
_RETIRED: dict[Network, Control] = {}
