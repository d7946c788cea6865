"""A sweep's cells on a cluster: Dask's workers, each with a worker of ours inside, so that a cell is what it is at home.

Dask carries parameters there and results back. Each of its threads keeps one process of `workers.py`: one thread of
arithmetic, the same limits, and a cell that crashes takes down its process, not the cluster's, which never loads torch.
Before a cell runs, the package there is held against the one that planned the sweep, and the sweep's model.py travels with
the cell; a data folder has to lie under the same path everywhere, and its digest is checked where it is read.

Dask rather than Ray, measured on two loopback workers: Ray's start takes 10 times as long (8.1 s, not 0.8), it holds 5.4
times the memory while idle (620 MB) and 1.5 times at work, and 9 times the disk; an empty task takes a quarter of the time
(0.6 ms, not 2.4), which no cell notices: both took 0.03 s for a small one.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fedkit.base.distribution import need
from fedkit.base.errors import FedkitError
from fedkit.base.files import read_bytes, write_bytes
from fedkit.experiments.local_code import code_version
from fedkit.experiments.workers import Outcome, Worker

__all__ = ["ENGINES", "run_cell", "run_on_cluster"]


ENGINES = ("dask",)
"""What `--engine` may name."""

_AHEAD = 2
"""So many cells wait at the cluster for each of its threads: none is idle, and few are left behind by a stop."""

_LOOK_S = 60.0
"""After so many seconds without a result it is asked whether the cluster still has workers."""

_GONE_S = 120
"""A cluster that is without workers for so many seconds has none."""

_mine = threading.local()


def run_on_cluster(
    todo: Sequence[Mapping[str, Any]],
    *,
    address: str | None,
    jobs: int,
    limit_s: float | None,
    code: str,
    on_start: Callable[[int], object],
    on_result: Callable[[int, Outcome], object],
) -> None:
    """Run trials (by their parameters) on a Dask cluster; `on_start` and `on_result` are called from this thread.

    address : of a scheduler, such as "tcp://10.0.0.1:8786"; None: one with `jobs` workers on this machine's loopback, which
    ends with this call. code : the package's `code_version`. Raises FedkitError where Dask is not installed or no scheduler
    answers. Cells that are under way when this is stopped end on a foreign cluster without anybody.
    """
    distributed = _distributed()
    with _client(distributed, address, jobs) as client:
        threads = _threads(client, address)
        versions = f"{code} {version('torch')}"
        waiting, under_way = iter(range(len(todo))), dict[Any, int]()
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def submit(number: int) -> None:
            on_start(number)
            values = dict(todo[number])
            future = client.submit(run_cell, values, _model(values), limit_s, versions, pure=False)
            under_way[future] = number
            future.add_done_callback(ended.put)

        try:
            for number in itertools.islice(waiting, _AHEAD * threads):
                submit(number)
            while under_way:
                try:
                    future = ended.get(timeout=_LOOK_S)
                except queue.Empty:
                    _threads(client, address)  # somebody is still there
                    continue
                on_result(under_way.pop(future), _outcome(future))
                for number in itertools.islice(waiting, 1):
                    submit(number)
        finally:
            with contextlib.suppress(Exception):  # a connection that is gone has nothing to cancel
                client.cancel(list(under_way))


def run_cell(
    values: dict[str, Any], model: str | None, limit_s: float | None, code: str
) -> dict[str, Any]:
    """A cell at the cluster's end: what became of it, as `Outcome` takes it.

    model : text of the model.py that it names. code : the package's `code_version` and torch's version, of the sweep.
    """
    wanted, torch = code.split()
    if _code_here() != wanted or version("torch") != torch:
        why = f"this worker has another fedkit or torch ({_code_here()[:12]}, {version('torch')}) than the sweep "
        why += f"({wanted[:12]}, {torch}): install the same on every machine"
        return {"status": "failed", "seconds": 0.0, "error": why}
    if not hasattr(_mine, "worker"):
        _mine.worker = Worker()
    if model is None:
        return dict(vars(_mine.worker.run(values, limit_s)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.py"
        write_bytes(path, model.encode())
        outcome = dict(vars(_mine.worker.run(values | {"model": str(path)}, limit_s)))
    if outcome["error"] is not None:  # the path is of that machine
        outcome["error"] = outcome["error"].replace(str(path), str(values["model"]))
    return outcome


@cache
def _code_here() -> str:
    return code_version()


def _model(values: Mapping[str, Any]) -> str | None:
    """The text of the model.py that a cell names, None where it takes one of fedkit's own."""
    name = str(values.get("model", "tutorial"))
    if name in ("tutorial", "2nn"):
        return None
    return read_bytes(Path(name), max_bytes=2**20).decode("utf-8", errors="replace")


def _outcome(future: Any) -> Outcome:
    try:
        return Outcome(**future.result())
    except Exception as error:  # a worker that is gone, a cluster that has gone on without us
        return Outcome(
            "failed", 0.0, f"the cluster lost it ({type(error).__name__}: {error!s:.300})"
        )


def _distributed() -> Any:
    need("`--engine dask`", "distributed")
    import distributed

    return distributed


def _threads(client: Any, address: str | None) -> int:
    """How many threads the cluster's workers have; the first may take its time. Raises FedkitError where none comes."""
    try:
        client.wait_for_workers(1, timeout=_GONE_S)
        return max(1, int(sum(client.nthreads().values())))
    except Exception as error:  # also whatever a connection that is gone raises
        raise FedkitError(
            f"has no worker ({type(error).__name__})",
            field=f"--engine-address {address}" if address else "--engine dask",
            remedy="start `dask worker ADDRESS` on each machine; then the same command goes on where it stopped",
        ) from error


def _client(distributed: Any, address: str | None, jobs: int) -> Any:
    if address is not None:
        try:
            return distributed.Client(address, timeout="15s", set_as_default=False)
        except (OSError, ValueError) as error:
            raise FedkitError(
                f"can't be reached ({error!s:.200})",
                field=f"--engine-address {address}",
                remedy="start `dask scheduler` there, and `dask worker ADDRESS` on each machine",
            ) from error
    cluster = distributed.LocalCluster(
        n_workers=jobs,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=50,
    )
    try:
        return _Own(cluster, distributed.Client(cluster, timeout=_GONE_S, set_as_default=False))
    except BaseException:
        cluster.close()
        raise


class _Own:
    """A client whose cluster ends with it."""

    def __init__(self, cluster: Any, client: Any) -> None:
        self.cluster, self.client = cluster, client

    def __enter__(self) -> Any:
        return self.client

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.cluster.close()
