"""Workers for runs in memory: processes that live as long as the sweep, each with one thread for arithmetic.

A process that dies (out of memory, a crash in C) fails the one run that it had, and a new one takes its place. A worker
whose sweep is gone, however it ended, ends itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from fedkit.base.errors import FedkitError
from fedkit.experiments.side_by_side import same_python, side_by_side

__all__ = ["Outcome", "Worker", "run_trials"]


@dataclass(frozen=True)
class Outcome:
    """What became of one run: "done", "failed" or "timed out", wall seconds, what it recorded."""

    status: str
    seconds: float
    error: str | None = None
    recorded: dict[str, Any] = field(default_factory=dict)


def run_trials(
    todo: Sequence[Mapping[str, Any]],
    *,
    jobs: int,
    limit_s: float | None,
    on_start: Callable[[int], object],
    on_result: Callable[[int, Outcome], object],
) -> None:
    """Run trials (by their parameters) in `jobs` processes; `on_result` is called from this thread, `on_start` is not."""
    crew = [Worker() for _ in range(min(jobs, len(todo)))]
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in crew:
        idle.put(worker)

    def run(number: int) -> Outcome:
        worker = idle.get()
        try:
            on_start(number)
            return worker.run(todo[number], limit_s)
        finally:
            idle.put(worker)

    def end() -> None:
        for worker in crew:
            worker.stop()

    try:
        side_by_side([partial(run, n) for n in range(len(todo))], len(crew), on_result, end)
    finally:
        end()
        for worker in crew:
            worker.close()


class Worker:
    """One process, started when it is first needed; what it says beside its answers goes to a log."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the worker)
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, values: Mapping[str, Any], limit_s: float | None) -> Outcome:
        """Run one trial, and say what became of it, however it ended. limit_s : seconds after which it is stopped."""
        process = self._start()
        began = time.monotonic()
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        clock = threading.Timer(limit_s or threading.TIMEOUT_MAX, stop)
        clock.start()
        answer = ""
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(OSError):  # it is gone: there will be no answer
                process.stdin.write(json.dumps(dict(values)) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
        finally:
            clock.cancel()
        if answer:
            return Outcome(**json.loads(answer))
        seconds = time.monotonic() - began
        if late.is_set():
            return Outcome("timed out", seconds, f"stopped after {limit_s:g} s")
        return Outcome("failed", seconds, self._last_words(process))

    def stop(self) -> None:
        """End the process now; nothing starts any more. From any thread."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """After `stop`: wait for the end, and give back what it held."""
        self._log.close()
        if self._process is not None:
            self._process.communicate()

    def _start(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise RuntimeError("the sweep has been stopped")
            fresh = self._process is None or self._process.poll() is not None
            if self._process is None or fresh:
                if self._process is not None:
                    self._process.communicate()
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "fedkit.experiments.workers"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    encoding="utf-8",
                    env=os.environ | same_python(),
                )
            process = self._process
        if fresh and process.stdout is not None:
            process.stdout.readline()  # it says when it is ready: loading torch is no run's time
        return process

    def _last_words(self, process: subprocess.Popen[str]) -> str:
        process.wait()
        self._log.seek(0)
        last = self._log.read().decode("utf-8", errors="replace").strip().splitlines()[-3:]
        return "\n".join([f"its process ended with exit code {process.returncode}", *last])


def work() -> None:
    """The worker's side: a line of JSON in, one out, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too; who started it decides
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a model prints is no answer
    asked: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            asked.put(line)
        os._exit(0)  # the sweep is gone, and a run under way is nobody's

    threading.Thread(target=listen, daemon=True).start()
    # here: who starts workers, at a cluster say, need not hold torch
    from fedkit.experiments.trial import check_trial, run_trial

    answers.write("ready\n")
    answers.flush()
    while True:
        answers.write(
            json.dumps(
                _outcome(json.loads(asked.get()), lambda values: run_trial(check_trial(values)))
            )
            + "\n"
        )
        answers.flush()


def _outcome(
    values: dict[str, Any], run: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    began = time.monotonic()
    try:
        said = {"status": "done", "recorded": run(values)}
    except FedkitError as error:
        said = {"status": "failed", "error": str(error)}
    except Exception as error:  # whatever a model does
        said = {"status": "failed", "error": f"{type(error).__name__}: {error}"}
    return {**said, "seconds": time.monotonic() - began}


if __name__ == "__main__":
    work()
