"""What a project cost on every road, and who could read what there: one real run of each, kept with the package.

Most engines are not installed where a lesson runs. So `recorded.json` has a row for each road that was really taken, with
the processor, the torch and the versions of that day; a road that was not taken has no row. `python -m benchmarks roads
--record` writes it. Notebook 12 shows it beside what it runs itself.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, write_json

if TYPE_CHECKING:
    from fedkit.config.fl_config import FLConfig
    from fedkit.data.shards import Shard

__all__ = [
    "INSTALL",
    "Death",
    "Machine",
    "RoadRun",
    "missing",
    "project_digest",
    "record",
    "recorded",
    "this_machine",
]


_FILE = Path(__file__).with_name("recorded.json")

INSTALL = {
    "flower": 'pip install "flwr[simulation]>=1.42,<1.43"',
    "nvflare": 'pip install "nvflare>=2.9,<2.10"',
    "pysyft": 'pip install "syft>=0.10,<0.11"',
    "syftbox": 'pip install syftbox==0.4.0 "click<8.2"',
    "syncthing": "apt-get install syncthing",
}
"""Road -> the line that installs its engine."""
_MODULES = {"flower": "flwr", "nvflare": "nvflare", "pysyft": "syft", "syftbox": "syftbox"}


@dataclass(frozen=True)
class Machine:
    """Where something ran, as far as its bits depend on it. date : YYYY-MM-DD.

    load : how many processes wanted a core, a core, in that minute; above 1, seconds say little. None where unknown.
    """

    processor: str
    torch: str
    date: str
    load: float | None = None

    def same_bits(self, other: Machine) -> bool:
        """Can both be expected to give the same bits? On one kind of processor, with one build of torch."""
        return (self.processor, self.torch) == (other.processor, other.torch)


@dataclass(frozen=True)
class Death:
    """A participant's process was killed in the middle of a project. who : its e-mail. absent : round -> who was not there.

    sha256 : of global models 0 to the last. own_sha256 : of fedkit's own network, the same absent, on that machine.
    seconds : from the first start to the end.
    """

    who: str
    absent: Mapping[int, tuple[str, ...]]
    sha256: tuple[str, ...]
    own_sha256: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class RoadRun:
    """One project on one road, once. road : as in `INSTALL`, or "own", "synced". engine : its name and version.

    project : its `project_digest`. sha256 : of the files of global models 0 to the last. seconds : wall clock, from the
    engine's start to the last model. bytes : that crossed. memory_mb : the most that all of its processes held together;
    None where it was not measured. sees : who -> kind of thing -> how many of them lay open on that party's disk at some
    time. of : kind -> how many there are in all. death : what became of the same project when somebody was killed, where
    that was tried.
    """

    road: str
    engine: str
    project: str
    sha256: tuple[str, ...]
    seconds: float
    bytes: int
    memory_mb: float | None
    sees: Mapping[str, Mapping[str, int]]
    of: Mapping[str, int]
    machine: Machine
    death: Death | None = field(default=None)


_RUNS = TypeAdapter(list[RoadRun])


def recorded(path: Path = _FILE) -> dict[str, RoadRun]:
    """The recorded run of each road that has one, by the road's name. Raises FedkitError if the file is none."""
    remedy = "restore it, or make it anew: python -m benchmarks roads --record"
    try:
        runs = _RUNS.validate_json(read_bytes(path, absent=remedy))
    except ValidationError as error:
        where = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        raise FedkitError(
            "is no list of recorded runs", file=path, field=where, remedy=remedy
        ) from error
    return {run.road: run for run in runs}


def record(runs: Iterable[RoadRun], path: Path = _FILE) -> None:
    """Keep these runs in the place of what was recorded of the same roads; what else was recorded stays."""
    kept = recorded(path) if path.is_file() else {}
    kept |= {run.road: run for run in runs}
    write_json(path, [asdict(run) for run in kept.values()], indent=1)


def missing() -> dict[str, str]:
    """The engines that are not installed here: road -> the line that installs its engine. Nothing is imported."""
    found = {road for road, module in _MODULES.items() if find_spec(module) is not None}
    found |= {"syncthing"} if shutil.which("syncthing") else set()
    return {road: line for road, line in INSTALL.items() if road not in found}


def project_digest(config: FLConfig, shards: Iterable[Shard], test: Shard) -> str:
    """SHA-256, in hex, of what decides a project's bits beside the machine: config, everybody's samples, the test set."""
    digest = hashlib.sha256(config.to_json().encode())
    for samples, labels in (*shards, test):
        digest.update(samples.contiguous().numpy().tobytes() + labels.numpy().tobytes())
    return digest.hexdigest()


def this_machine() -> Machine:
    """Its processor and torch, today's date and its load."""
    import torch

    waiting = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else None

    day = datetime.now(UTC)
    what = f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}"
    load = None if waiting is None else round(waiting, 1)
    return Machine(what, torch.__version__, f"{day:%Y-%m-%d}", load)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
