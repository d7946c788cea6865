"""Programs that a test starts on loopback and that end with it, whatever they have started themselves."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["Processes"]

_PATIENCE_S = 120.0


class Processes:
    """Started below `root`, each with a log in `root/logs` and nothing of this process's environment but what is given."""

    def __init__(self, root: Path, env: Mapping[str, str]) -> None:
        self.root, self.env = root, dict(env)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        (root / "logs").mkdir(parents=True, exist_ok=True)

    def start(self, name: str, *command: str | Path) -> None:
        """Start a program, in a session of its own."""
        with (self.root / "logs" / name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                env=self.env,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, name: str) -> None:
        """End a program as its person would."""
        self._running[name].terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._running[name].wait(10)

    def kill(self, name: str) -> None:
        """End a program, and all that it has started, at once."""
        process = self._running.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """End them all, the last one first."""
        for name in reversed(self._running):
            self.stop(name)
        for name in list(self._running):
            self.kill(name)

    def pids(self) -> list[int]:
        """Of those that were started and not killed."""
        return [process.pid for process in self._running.values()]

    def alive(self) -> bool:
        """Does every one of these run?"""
        return all(process.poll() is None for process in self._running.values())

    def wait(
        self,
        true: Callable[[], bool],
        what: str,
        moves: Callable[[], object] = bool,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """Call `moves` again and again, until something is true. Fails after `patience_s`, with what they said."""
        end = time.monotonic() + patience_s
        while not true():
            assert time.monotonic() < end, f"{what}: not within {patience_s} s; {self.said()}"
            moves()
            time.sleep(0.1)

    def said(self) -> str:
        """The last lines of every program."""
        logs = sorted((self.root / "logs").iterdir())
        return "\n".join(f"{path.name}: {path.read_text()[-600:]}" for path in logs)
