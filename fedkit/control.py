"""Driving a network of datasites: what the buttons do, as a plain object that knows nothing of widgets.

One `Control` a network (`Control.of(network)`), however many panels look at it. Work happens in one worker thread that
ends with the work; a pause takes effect before the next batch. Batch runs call the same methods and `wait()`. Notebook 05
uses it.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedkit import node
from fedkit.approval import Policy, approve_none
from fedkit.config import FLConfig
from fedkit.datasite import Datasite
from fedkit.errors import Busy, FedkitError
from fedkit.events import Event, render
from fedkit.faults import Faults
from fedkit.histories import find_project
from fedkit.network import Network
from fedkit.plan import change_settings, current_settings
from fedkit.records import History
from fedkit.rewind import rewind
from fedkit.standing import Row, standing

__all__ = ["Control", "Snapshot"]

_MANY_EVENTS = 500
_NO_HISTORY = History("")


@dataclass(frozen=True)
class Snapshot:
    """Everything a panel shows, at one moment.

    status : one line, what is being done or for whom the project waits. who, epoch, epochs : the participant that
    finished a local epoch last. settings : what holds from the next round on. error : what went wrong, else "".
    """

    busy: bool = False
    status: str = "nothing launched yet"
    rounds: int = 0
    who: str = ""
    epoch: int = 0
    epochs: int = 0
    history: History = _NO_HISTORY
    rows: tuple[Row, ...] = ()
    settings: FLConfig | None = None
    events: tuple[Event, ...] = ()
    error: str = ""


class Control:
    """What a person can do with a network. Every method is safe to call from any thread.

    approve : answers requests for approval while it runs (default: nobody but a person at the desk).
    """

    def __init__(self, network: Network, approve: Policy = approve_none) -> None:
        self.network = network
        self.approve = approve
        self.faults = Faults()
        self._lock = threading.RLock()
        self._listeners: list[Callable[[Snapshot], None]] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._at = threading.local()
        self._now = Snapshot()
        with contextlib.suppress(Busy):  # what lies in launch/ becomes a project; no round begins
            node.advance(self._home, until_round=0)
            network.sync()
        self.refresh()

    @classmethod
    def of(cls, network: Network, approve: Policy | None = None) -> Control:
        """The one control of this network, made when it is first asked for."""
        control = _CONTROLS.get(network.root)
        if control is None or control.network is not network:
            if control is not None:  # its network was made anew in the same folder
                control.close()
            control = _CONTROLS[network.root] = cls(network)
        if approve is not None:
            control.approve = approve
        return control

    @property
    def now(self) -> Snapshot:
        """The latest snapshot."""
        with self._lock:
            return self._now

    def subscribe(self, listener: Callable[[Snapshot], None]) -> Callable[[], None]:
        """Call `listener` with every new snapshot, from whichever thread makes it; returns what ends that."""
        with self._lock:
            self._listeners.append(listener)

        def end() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return end

    def run_round(self) -> None:
        """Start one more round; returns at once."""
        self._start(lambda: self._run(self._rounds_done() + 1), "starts a round")

    def run_all(self) -> None:
        """Start whatever rounds are left; returns at once."""
        self._start(lambda: self._run(None), "runs on")

    def pause(self) -> None:
        """Stop before the next batch. The round that is cut off is trained anew, to the same bits."""
        self._stop.set()

    def reset(self, to_round: int = 0) -> None:
        """Back to the moment after round `to_round`, by default to the start; returns at once."""
        self._start(lambda: rewind(self.network, to_round), f"goes back to round {to_round}")

    def change(self, **settings: Any) -> None:
        """Change learning_rate, epoch or participants_per_round from the next round on. Raises FedkitError."""
        change_settings(self._home, self._history().project, **settings)
        self.refresh()

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

    def refresh(self) -> Snapshot:
        """Look at the files again and tell everybody."""
        try:
            self._tell(**self._look())
        except FedkitError as error:
            self._tell(error=str(error))
        return self.now

    @property
    def _home(self) -> Datasite:
        return self.network[self.network.aggregator]

    def _history(self) -> History:
        return self.network.history()

    def _rounds_done(self) -> int:
        return len(self._history()) if self.network.projects() else 0

    def _start(self, work: Callable[[], object], status: str) -> None:
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return  # one worker a network: the button was pressed twice
            self._stop.clear()
            self._thread = threading.Thread(target=self._work, args=[work], daemon=True)
            self._tell(busy=True, status=status, error="", who="", epoch=0)
            self._thread.start()

    def _work(self, work: Callable[[], object]) -> None:
        error = ""
        try:
            work()
        except FedkitError as problem:
            error = str(problem)
        except Exception as problem:  # nothing may vanish with the thread
            error = f"stopped on {type(problem).__name__}: {problem}"
        finally:
            self._tell(**(self._look() | {"busy": False, "error": error}))

    def _run(self, until_round: int | None) -> None:
        history = self.network.run(
            approve=self.approve,
            until_round=until_round,
            stop=self._stop.is_set,
            on_event=self._on_event,
            on_epoch=self._on_epoch,
            actor=self._act,
            expecting=self.faults.expecting,
        )
        self._tell(events=self._remember(*history.waiting))

    def _act(self, site: Datasite, go: Callable[[], list[Event]]) -> list[Event]:
        self._at.email = site.email
        return self.faults.act(site, go)

    def _on_event(self, event: Event) -> None:
        self._tell(events=self._remember(event), status=render(event), **self._look(status=False))

    def _on_epoch(self, project: str, n: int, epoch: int, epochs: int, loss: float) -> None:
        who = getattr(self._at, "email", self.network.aggregator)
        status = f"round {n}: {who} trains, local epoch {epoch} of {epochs}, loss {loss:.3f}"
        self._tell(who=who, epoch=epoch, epochs=epochs, status=status)

    def _remember(self, *events: Event) -> tuple[Event, ...]:
        return (*self.now.events, *events)[-_MANY_EVENTS:]

    def _tell(self, **changes: Any) -> None:
        with self._lock:
            self._now = replace(self._now, **changes)
            now, listeners = self._now, list(self._listeners)
        for listener in listeners:
            listener(now)

    def _look(self, status: bool = True) -> dict[str, Any]:
        """What the files say: history, one row a participant, the settings and, if asked, the status line."""
        if not self.network.projects():
            return {"rows": standing(self.network, _NO_HISTORY)}
        history = self._history()
        place = find_project(self._home)
        settings = current_settings(place, FLConfig.load(place.config))
        found = {
            "history": history,
            "rounds": history.total_rounds,
            "rows": standing(self.network, history),
            "settings": settings,
        }
        return found | ({"status": _status(history)} if status else {})


def _status(history: History) -> str:
    if history.done:
        return f"done: {history.total_rounds} rounds"
    return f"paused after round {len(history)} of {history.total_rounds}"


_CONTROLS: weakref.WeakValueDictionary[Path, Control] = weakref.WeakValueDictionary()
