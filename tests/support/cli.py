"""The command line as tests drive it: in this process, in one of its own, interrupted in the middle."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from typer.testing import CliRunner

from fedkit.cli.main import app
from fedkit.cli.serve import Server
from tests.support import ROOT
from tests.support.helpers import ALICE

FEDKIT = [sys.executable, "-m", "fedkit.cli.main"]
PATIENCE_S = 60.0  # of a test that fails


def fedkit(*args: object, code: int = 0, stdin: str | None = None) -> str:
    """Run a command in this process, hold its exit code against `code`, return all that it said."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def write_env(folder: Path, port: int = 8080, **changes: str) -> Path:
    values = {
        "EMAIL": ALICE,
        "DATA_DIR": str(folder / "data"),
        "CONFIG_PATH": str(folder / "settings" / "config.json"),
        "PORT": str(port),
    }
    text = "".join(f"{key}={value}\n" for key, value in (values | changes).items())
    (folder / ".env").write_text(text)
    return folder / ".env"


# ------------------------------------------------------------------------------ the running client
class Running:
    """A `fedkit client` in a process of its own, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log

    def until(self, text: str) -> str:
        """Wait until it has said `text`; returns all that it said."""
        return self.wait(lambda: text in self.said(), f"it did not say {text!r}")

    def said(self) -> str:
        return self.log.read_text()

    def wait(self, true: Callable[[], bool], why: str) -> str:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if true():
                return self.said()
            time.sleep(0.02)
        raise AssertionError(f"{why}, but: {self.said()}")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def running(folder: Path, *args: object) -> Iterator[Running]:
    log = folder / "client.log"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*FEDKIT, *map(str, args)],
            stdout=stream,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        try:
            yield Running(process, log)
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def interrupting(number: int, when: Callable[[], bool]) -> Iterator[None]:
    """Send this very process a signal as soon as `when`, and again until the block ends."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.02):
            if when():
                os.kill(os.getpid(), number)
                over.wait(0.3)

    before = signal.signal(number, lambda *_: None)  # one that comes late must not end the tests
    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(number, before)


# ------------------------------------------------------------------------------ the local page
def ask(
    server: Server, path: str, method: str = "GET", host: str | None = "localhost"
) -> tuple[int, dict[str, str], bytes]:
    """One request, its path and Host as they are: nothing tidies them up on the way."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    connection.close()
    return found
