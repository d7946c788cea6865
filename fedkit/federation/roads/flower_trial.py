"""A network's project over Flower, here: the same models, what its SuperLink could read, and a SuperNode that dies.

Notebook 12 calls it where Flower is installed, and `python -m benchmarks roads --record` wherever something is recorded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedkit.base.files import read_bytes, read_object, sha256_bytes
from fedkit.config.fl_config import FLConfig
from fedkit.federation.network import Network
from fedkit.federation.roads.disks import Thing, watched
from fedkit.federation.roads.flower import export_flower
from fedkit.federation.roads.flower_run import SuperLink, run_app, superlink

__all__ = ["FlowerTrial", "over_flower"]


_LIMIT_S = 1200.0
_LOOK_S = 0.05


@dataclass(frozen=True)
class FlowerTrial:
    """What came of it. sha256 : of the files of global models 0 to the last. absent : round -> who was not there.

    seconds : from starting the SuperLink to its end. seen : what lay open on the SuperLink's disk at some time.
    """

    sha256: tuple[str, ...]
    absent: Mapping[int, tuple[str, ...]]
    seconds: float
    seen: set[Thing]


def over_flower(
    network: Network,
    project: str,
    out: Path,
    *,
    traces: Mapping[Thing, bytes] | None = None,
    dies: tuple[str, int] | None = None,
    patience_s: float = 600.0,
) -> FlowerTrial:
    """Take a project that is done at home over a SuperLink and a SuperNode for each participant, on loopback.

    out : a new folder. traces : what to look for on the SuperLink's disk. dies : whose SuperNode is killed, and after
    which round's global model. patience_s : how long a round waits for who does not answer. Raises FedkitError where
    Flower is not installed, the project has no place in a Flower app, or the run fails.
    """
    place = network[network.aggregator].aggregator().project(project, "done")
    config = FLConfig.load(place.config)
    out = out.absolute()
    source, weights = (
        read_bytes(path) for path in (place.path / config.model_arch, place.global_model(0))
    )
    export_flower(config, source, weights, out / "app")
    models, disk = out / "models", out / "superlink"
    test_set = network[config.aggregator].private_aggregator / config.test_dataset
    settings: dict[str, object] = {"test-set": test_set.as_posix(), "out": models.as_posix()}
    beside = out / f"app-{config.model_weight}"
    settings |= {"timeout": patience_s} | (
        {"weights": beside.as_posix()} if beside.exists() else {}
    )
    began = time.monotonic()
    with watched({"": disk}, traces or {}) as seen, superlink(disk, database=True) as link:
        for email in config.participants:
            link.supernode(email, network[email].private_client)
        with _death(link, models, dies):
            run_app(out / "app", settings, at=link, limit_s=_LIMIT_S)
    rounds = read_object(models / "history.json")["rounds"]
    took_part = {r["round"]: {c["participant"] for c in r["contributions"]} for r in rounds}
    absent = {
        n: tuple(who for who in config.participants if who not in there)
        for n, there in took_part.items()
    }
    files = [models / f"agg_model_round_{n}.pt" for n in range(config.rounds + 1)]
    return FlowerTrial(
        tuple(sha256_bytes(read_bytes(path)) for path in files),
        {n: gone for n, gone in absent.items() if gone},
        time.monotonic() - began,
        seen[""],
    )


@contextmanager
def _death(link: SuperLink, models: Path, dies: tuple[str, int] | None) -> Iterator[None]:
    """While the block runs: kill somebody's SuperNode as soon as a global model is there."""
    ended = threading.Event()

    def wait_and_kill(who: str, n: int) -> None:
        while not ended.wait(_LOOK_S):
            if (models / f"agg_model_round_{n}.pt").is_file():
                link.kill(who)
                return

    thread = threading.Thread(target=wait_and_kill, args=dies, daemon=True) if dies else None
    if thread is not None:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread is not None:
            thread.join()
