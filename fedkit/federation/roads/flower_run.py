"""Flower's own programs, started from here: a SuperLink and its SuperNodes on loopback, and a run whose failure is noticed.

`flwr run --stream` ends with 0 where the run has failed; `run_app` asks the SuperLink how it ended, and says why.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from fedkit.base.distribution import need
from fedkit.base.errors import FedkitError
from fedkit.base.files import write_bytes
from fedkit.base.text import one_line
from fedkit.config.fl_config import FLConfig

__all__ = [
    "QUIET",
    "WANTED",
    "SuperLink",
    "Tls",
    "main",
    "need_flower",
    "run_app",
    "simulate_app",
    "superlink",
]


QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # its name is of other systems; on each of them it is what keeps Ray on loopback
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
"""Environment variables with which Flower and Ray send nothing, install nothing and stay on this machine."""

WANTED = "flwr[simulation]>=1.42,<1.43"
_NAME = "fedkit"
_START_S = 120.0
_RUN = re.compile(r"Successfully started run (\d+)")


@dataclass(frozen=True)
class Tls:
    """A SuperLink's certificate: paths of PEM files. It is made out to `localhost` and signed by `root`."""

    root: Path
    certificate: Path
    key: Path


@dataclass
class SuperLink:
    """One on loopback, with the SuperNodes that were started at it. folder : logs, and Flower's own files."""

    folder: Path
    port: int
    environment: Mapping[str, str]
    tls: Tls | None = None
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def supernode(self, who: str, data: Path, key: Path | None = None) -> None:
        """Start a participant's. data : the folder with its samples. key : its private key, where keys are asked for."""
        secure = ["--insecure"] if self.tls is None else ["--root-certificates", self.tls.root]
        known = [] if key is None else ["--auth-supernode-private-key", key]
        where = ["--superlink", self.address, "--host", "127.0.0.1", "--port", _free_port()]
        about = ["--node-config", f'email="{who}" data="{data.as_posix()}"']
        self.start(
            who, "flower-supernode", *where, "--isolation", "subprocess", *secure, *known, *about
        )

    @property
    def address(self) -> str:
        """Host and port of everything: nodes, and `flwr run`."""
        return f"{'127.0.0.1' if self.tls is None else 'localhost'}:{self.port}"

    def register(self, key: Path) -> None:
        """Let the SuperNode with this public key in."""
        said = _flwr("supernode", "register", key, _NAME, environment=self.environment)
        if said.returncode:
            _fail("could not register a SuperNode", said.stdout + said.stderr)

    def kill(self, who: str) -> None:
        """End a SuperNode, and whatever it has started, as a power cut would."""
        _kill(self.processes.pop(who))

    def said(self) -> str:
        """The last lines of each process."""
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{p.stem}: {p.read_text('utf-8', 'replace')[-1500:]}" for p in logs)

    def start(self, name: str, program: str, *words: object) -> None:
        """Start one of Flower's programs; what it says goes to NAME.log."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [_program(program), *map(str, words)],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=True,
            )

    def end(self) -> None:
        """Ask all to end; whoever does not within twenty seconds is killed."""
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            _kill(process)  # and what it has started, in any case


@contextmanager
def superlink(
    folder: Path,
    *,
    simulated: int | None = None,
    tls: Tls | None = None,
    keys: bool = False,
    database: bool = False,
) -> Iterator[SuperLink]:
    """A SuperLink on loopback that ends with the `with` block, and its SuperNodes with it.

    folder : new. simulated : so many SuperNodes in one process, by Ray. tls : with certificates. keys : SuperNodes are
    known by keys that were registered. database : messages go through `folder`/superlink.db, so that it can be looked at,
    and not through memory. Raises FedkitError where Flower is not there, or does not start.
    """
    need_flower(simulation=simulated is not None)
    folder.mkdir(parents=True)
    home, port = folder / "flwr", _free_port()
    started = SuperLink(folder, port, environment(home), tls)
    secure: list[object] = ["--insecure"]
    told = "insecure = true\n"
    if tls is not None:
        secure = [
            "--ssl-certfile",
            tls.certificate,
            "--ssl-keyfile",
            tls.key,
            "--ssl-ca-certfile",
            tls.root,
        ]
        told = f"root-certificates = {json.dumps(tls.root.as_posix())}\n"
    text = f'[superlink]\ndefault = "{_NAME}"\n\n[superlink.{_NAME}]\naddress = "{started.address}"\n{told}'
    if simulated is not None:
        text += f"\n[superlink.{_NAME}.options]\nnum-supernodes = {simulated}\n"
        text += f"\n[superlink.{_NAME}.options.backend.client-resources]\nnum-cpus = 1\nnum-gpus = 0.0\n"
    write_bytes(home / "config.toml", text.encode())
    more = (["--simulation"] if simulated is not None else []) + (
        ["--enable-supernode-auth"] if keys else []
    )
    more += ["--database", str(folder / "superlink.db")] if database else []
    try:
        started.start("superlink", "flower-superlink", "--host", "127.0.0.1", "--port", port, "--isolation", "subprocess",
                      "--disable-runtime-dependency-installation", *secure, *more)  # fmt: skip
        _wait_for(started)
        yield started
    finally:
        started.end()


def run_app(
    app: Path, settings: Mapping[str, object], *, at: SuperLink | str, limit_s: float | None = None
) -> str:
    """Run an app to its end; returns what was said on the way.

    settings : its `--run-config`. at : a SuperLink of `superlink`, or a connection's name in Flower's config. Raises
    FedkitError where the run did not complete, with the reason from its log.
    """
    need_flower()
    name, around = (
        (_NAME, at.environment) if isinstance(at, SuperLink) else (at, os.environ | QUIET)
    )
    config = " ".join(f"{key}={json.dumps(value)}" for key, value in settings.items())
    words = ["run", app, name, "--stream", *(["--run-config", config] if config else [])]
    try:
        run = _flwr(*words, environment=around, limit_s=limit_s)
    except subprocess.TimeoutExpired:
        raise FedkitError(
            f"did not end within {limit_s:g} s",
            file=app,
            remedy="look at the SuperLink's log, or give it more time",
        ) from None
    said = run.stdout + run.stderr
    number = _RUN.search(said)
    if number is None:
        _fail("was not started", said)
    told = _flwr("list", name, "--run-id", number[1], "--format", "json", environment=around)
    try:
        status = str(json.loads(told.stdout)["runs"][0]["status"])
    except (ValueError, LookupError, TypeError):
        _fail(f"can't be asked how it ended ({told.stderr.strip()[-200:]})", said)
    if status != "finished:completed":
        _fail(f"ended as {status}", said + (at.said() if isinstance(at, SuperLink) else ""))
    return said


def main(app: Path) -> None:
    """What an exported app's run.py does: `python run.py --help`. Ends with 0 only where the run completed."""
    parser = argparse.ArgumentParser(description="Run this Flower app; 0 means that it completed.")
    parser.add_argument(
        "--simulate", metavar="FOLDER", type=Path, help="here, by Ray; data dirs lie in FOLDER"
    )
    parser.add_argument(
        "--connection", metavar="NAME", help="of a SuperLink, in Flower's config.toml"
    )
    parser.add_argument("--test-set", metavar="FILE", required=True, help="at the server")
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="at the server: for models and history.json"
    )
    parser.add_argument(
        "--weights", metavar="FILE", help="at the server, where they do not travel in the app"
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=float,
        help="seconds after which a round goes on without the rest",
    )
    asked = parser.parse_args()
    if (asked.simulate is None) == (asked.connection is None):
        parser.error("say either --simulate FOLDER or --connection NAME")
    settings = {
        "test-set": asked.test_set,
        "out": asked.out,
        "weights": asked.weights,
        "timeout": asked.timeout,
    }
    given = {key: value for key, value in settings.items() if value is not None}
    try:
        if asked.connection is not None:
            run_app(app, given, at=asked.connection)
        else:
            simulate_app(app, asked.simulate, given)
    except FedkitError as error:
        sys.exit(f"error: {error}")
    print("The run completed.")  # noqa: T201 (this is a program)


def simulate_app(
    app: Path, data: Path, settings: Mapping[str, object], *, limit_s: float | None = None
) -> str:
    """Run an app on this machine by Ray, one SuperNode a participant; nothing is opened beyond loopback.

    data : a folder with a data dir for each participant, as `fedkit run --out DIR` makes it in DIR/network. Raises
    FedkitError where the run did not complete.
    """
    (config,) = app.glob("*/fl_config.json")
    paths = {
        key: str(Path(str(settings[key])).absolute())
        for key in ("test-set", "out", "weights")
        if key in settings
    }
    given = {**settings, **paths, "data": str(data.absolute())}
    with tempfile.TemporaryDirectory() as folder:
        people = FLConfig.load(config).participants
        with superlink(Path(folder) / "link", simulated=len(people)) as link:
            return run_app(app, given, at=link, limit_s=limit_s)


def need_flower(simulation: bool = False) -> None:
    """Raises FedkitError, with the line that installs it, where Flower (or Ray, for a simulation) is not there."""
    need("an app for Flower", "flwr", *(["ray"] if simulation else []))
    if shutil.which(_program("flower-superlink")) is None:
        raise FedkitError(
            "is installed, but its programs are not found",
            field="flower",
            remedy="activate the environment that it is installed in, or install it into this one",
        )


def environment(home: Path) -> dict[str, str]:
    """In which Flower's programs run: quiet, on this Python and this fedkit, without proxies, its own files in `home`."""
    # loopback is asked directly
    kept = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    here = str(Path(__file__).resolve().parents[3])
    path = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return (
        kept
        | QUIET
        | {
            "FLWR_HOME": str(home),
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": os.pathsep.join(path),
        }
    )


def _free_port() -> int:
    """A port of loopback that nobody has at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(started: SuperLink) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and started.processes["superlink"].poll() is None:
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", started.port)) == 0:
                return
        time.sleep(0.1)
    _fail("can't be reached: no SuperLink has come up", started.said())


def _kill(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):  # it leads a group of its own
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait(20)


def _program(name: str) -> str:
    beside = Path(sys.executable).with_name(f"{name}.exe" if os.name == "nt" else name)
    return str(beside) if beside.exists() else name


def _flwr(
    *words: object, environment: Mapping[str, str], limit_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [_program("flwr"), *map(str, words)],
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=limit_s,
        check=False,
    )


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_OURS = re.compile(r"FedkitError: (.+)")
_THEIRS = re.compile(r"\b\w*(?:Error|Exception)\b: .+")


def _fail(what: str, said: str) -> NoReturn:
    """The last sentence of ours in a log is the reason; else the last exception in it, else its last lines."""
    said = _COLOURS.sub("", said)
    ours, theirs = _OURS.findall(said), _THEIRS.findall(said)
    lines = [line for line in said.splitlines() if line.strip()]
    why = (ours or theirs or [" / ".join(lines[-3:]) or "Nothing was said"])[-1]
    remedy = "look at the logs of the SuperLink and the SuperNodes, then run again"
    raise FedkitError(
        what, field="flwr run", why=one_line(why)[:600], remedy=None if ours else remedy
    )
