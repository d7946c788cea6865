"""PySyft 0.10: a client for each datasite, over a folder that plays the drive; encrypted, with no server at all.

The first time, an environment is made under `runs/`, which downloads PySyft.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.roads.measure import Result, measured, read_project
from fedkit.base.files import write_bytes, write_dataset, write_state
from fedkit.data.shards import write_shard

PARTIES = {"its drive": "drive"}
SEES = "the drive: who met whom, and ciphertext; the aggregator every update, nobody else"


def missing() -> str | None:
    """Why PySyft can't be run here."""
    if sys.platform == "win32":
        return "PySyft 0.10 needs fcntl, which Windows has not"
    try:
        from tests.support.pysyft_network import pysyft_python

        pysyft_python()
    except BaseException as error:  # pytest's skip is none of Exception
        return f"PySyft 0.10 can't be installed: {error!s:.200}"
    return None


def run_on_pysyft(project_dir: Path, out: Path) -> Result:
    """The project between processes of `fedkit client --transport pysyft`; bytes: what lies on the drive afterwards."""
    from tests.support.pysyft_network import PySyftProcesses  # and so pytest

    project = read_project(project_dir)
    config, experiment = project.config, project.experiment
    out.mkdir(parents=True)
    net = PySyftProcesses(out, config.participants, config.aggregator)
    home = net.sites[config.aggregator]
    for email, shard in project.shards.items():
        write_shard(net.sites[email].private_client, shard, config.task)
    write_dataset(home.private_aggregator / config.test_dataset, *project.test)
    launch = home.aggregator().launch
    write_bytes(launch / config.model_arch, experiment.model.encode())
    write_state(launch / config.model_weight, experiment.weights)
    config.save(launch / "fl_config.json")
    with measured() as cost, net:
        net.until_done(config.project_name, patience_s=800.0)
    place = home.aggregator().project(config.project_name, "done")
    models = [place.global_model(n) for n in range(config.rounds + 1)]
    return cost.result(models, net.crossed())
