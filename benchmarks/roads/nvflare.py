"""NVFlare: its simulator, a process for the server and one for each site."""

from __future__ import annotations

from pathlib import Path

from benchmarks.roads.measure import Result, measured, models_of, read_project
from fedkit.base.errors import FedkitError
from fedkit.base.files import write_dataset
from fedkit.base.tensors import state_bytes
from fedkit.data.shards import write_shard
from fedkit.federation.roads.nvflare import export_nvflare
from fedkit.federation.roads.nvflare_job import need_nvflare, simulate_job

SEES = "whoever runs the server: every update and every global model"


def missing() -> str | None:
    """Why there is no NVFlare."""
    try:
        need_nvflare()
    except FedkitError as error:
        return str(error)
    return None


def run_on_nvflare(project_dir: Path, out: Path) -> Result:
    """The project as an NVFlare job, simulated; the global models go to `out`/models."""
    project = read_project(project_dir)
    config, experiment = project.config, project.experiment
    weights = state_bytes(experiment.weights)
    export_nvflare(config, experiment.model.encode(), weights, out / "job")
    for email, shard in project.shards.items():
        write_shard(out / "network" / email / "private" / "fl_client", shard, config.task)
    write_dataset(out / "test.pt", *project.test)
    with measured() as cost:
        simulate_job(out / "job", out / "network", out / "test.pt", out / "models")
    return cost.result(models_of(out / "models", config.rounds))
