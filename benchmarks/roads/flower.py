"""Flower: a SuperLink and a SuperNode for each participant, each a process of its own, on loopback."""

from __future__ import annotations

from pathlib import Path

from benchmarks.roads.measure import Project, Result, measured, models_of, read_project
from fedkit.base.errors import FedkitError
from fedkit.base.files import write_dataset
from fedkit.base.tensors import state_bytes
from fedkit.data.shards import write_shard
from fedkit.federation.roads.flower import export_flower
from fedkit.federation.roads.flower_run import need_flower, run_app, superlink

PARTIES = {"its SuperLink": "flower"}
SEES = "whoever runs the SuperLink: every update and every global model"


def missing() -> str | None:
    """Why there is no Flower."""
    try:
        need_flower()
    except FedkitError as error:
        return str(error)
    return None


def run_on_flower(project_dir: Path, out: Path) -> Result:
    """The project as a Flower app; the global models go to `out`/models."""
    project = read_project(project_dir)
    settings = prepare(project, out)
    with measured() as cost, superlink(out / "flower", database=True) as link:
        for email in project.shards:
            link.supernode(email, out / "private" / email)
        run_app(out / "app", settings, at=link, limit_s=600)
    return cost.result(models_of(out / "models", project.config.rounds))


def prepare(project: Project, out: Path) -> dict[str, str]:
    """App, samples and test set under `out`; returns the settings that the app needs."""
    experiment = project.experiment
    out.mkdir(parents=True)
    export_flower(
        project.config, experiment.model.encode(), state_bytes(experiment.weights), out / "app"
    )
    for email, shard in project.shards.items():
        write_shard(out / "private" / email, shard, project.config.task)
    write_dataset(out / "test.pt", *project.test)
    settings = {"test-set": str(out / "test.pt"), "out": str(out / "models")}
    beside = out / f"app-{project.config.model_weight}"
    return settings | ({"weights": str(beside)} if beside.exists() else {})
